use super::super::board::{Breakers, CommandResult};
use super::super::measure::{Purpose, Scene, Served};
use super::super::upstream::Fault;
use super::*;
use cofferdam_core::level::Level;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

fn board() -> Board {
    Board {
        step: 3,
        is_by_hand: false,
        is_paused: false,
        elapsed: Duration::from_secs(14),
        total: Duration::from_secs(40),
        level: Level::Enhanced,
        fault: Fault::Broken,
        command: commands::set_level("127.0.0.1:40123", Level::Enhanced),
        result: CommandResult::Applied { instances: 4, of: 4, took: Duration::from_millis(3), revision: 12 },
        breakers: Breakers { open: 3, half_open: 1, closed: 0 },
    }
}

fn meter() -> Meter {
    let scene = Scene { level: Level::Enhanced, fault: Fault::Broken, purpose: Purpose::Step(3) };
    let meter = Meter::new(scene, Duration::from_secs(6));
    for _ in 0..130 {
        for _ in 0..40 {
            drop(meter.arrives(Group::Unprotected));
        }
        for (group, served) in [(Group::Unprotected, Served::Nobody), (Group::Protected, Served::Static)] {
            meter.call_ends(group, meter.call_begins(), served);
        }
        meter.tick();
    }
    meter
}

fn drawn(width: u16, height: u16, board: &Board, palette: Palette) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let meter = meter();
    terminal.draw(|frame| draw(frame, board, &meter, palette)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content.chunks(usize::from(buffer.area.width));
    let rows = rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    rows.collect::<Vec<_>>().join("\n")
}

#[tokio::test(start_paused = true)]
async fn all_of_it_fits_eighty_by_twenty_four() {
    let screen = text(&drawn(80, 24, &board(), Palette::new(false)));
    for part in [
        "level enhanced  payments is broken",
        "14 s of 40 s",
        "calm › breaks › basic › enhanced › heals › full › recovers",
        "answered  0.0 %",
        "answered  100.0 %",
        "upstream  160 calls/s",
        "open 3 half-open 1",
        "served by static 100 %",
        "answered, 30 s",
        "calls/s upstream, to 160",
        "█",
        STEPS[3].note.lines().nth(1).unwrap(),
        "SetIsolationLevel",
        "revision 12 applied on 4 of 4 instances in 3.0 ms",
        KEYS,
    ] {
        assert!(screen.contains(part), "{part:?} is not on\n{screen}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_script_that_waits_says_how_to_go_on() {
    let waiting = Board { is_by_hand: true, is_paused: true, ..board() };
    let screen = text(&drawn(80, 24, &waiting, Palette::new(false)));
    assert!(screen.contains("paused  14 s of 40 s") && screen.contains("p goes on"), "{screen}");
}

#[tokio::test(start_paused = true)]
async fn without_colour_nothing_has_one() {
    let buffer = drawn(80, 24, &board(), Palette::new(true));
    assert!(buffer.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    let buffer = drawn(80, 24, &board(), Palette::new(false));
    assert!(buffer.content.iter().any(|cell| cell.fg == Color::Red));
}

#[tokio::test(start_paused = true)]
async fn no_size_is_too_small_to_draw() {
    for (width, height) in [(1, 1), (7, 3), (80, 5), (20, 24), (200, 60)] {
        drawn(width, height, &board(), Palette::new(false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_too_small_is_told_what_it_takes() {
    let screen = text(&drawn(60, 12, &board(), Palette::new(true)));
    assert!(screen.contains("needs 76 x 23") && screen.contains("has 60 x 12"), "{screen}");
    // No window is small enough to break it.
    for (width, height) in [(1, 1), (76, 22), (75, 23), (3, 200)] {
        drawn(width, height, &board(), Palette::new(true));
    }
    assert!(text(&drawn(76, 23, &board(), Palette::new(true))).contains(KEYS));
}
