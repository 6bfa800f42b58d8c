use super::*;
use cofferdam_proto::v1;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

fn row(name: &str, breaker: v1::BreakerState, health: v1::HealthStatus) -> Row {
    Row {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        level: "enhanced".to_owned(),
        breaker,
        health,
        instances: 4,
        applied: 4,
        ..Row::default()
    }
}

fn busy(name: &str, calls_per_second: f64, errors: u32) -> Row {
    let p99 = prost_types::Duration { seconds: 0, nanos: 19_000_000 };
    let calls = v1::CallStats {
        calls_per_second,
        attempt_error_bp: Some(errors),
        served: Some(v1::ServedShares { static_bp: 800, ..Default::default() }),
        call_latency: Some(v1::LatencyStats { count: 9, p99: Some(p99), ..Default::default() }),
        ..Default::default()
    };
    Row { calls: Some(calls), ..row(name, v1::BreakerState::Closed, v1::HealthStatus::Healthy) }
}

fn snapshot() -> Snapshot {
    let open = Row { open: 3, ..row("stripe", v1::BreakerState::Open, v1::HealthStatus::CircuitOpen) };
    let half = Row { open: 1, ..row("s3", v1::BreakerState::HalfOpen, v1::HealthStatus::Healthy) };
    let held = Row { held: 4, ..row("mail", v1::BreakerState::Closed, v1::HealthStatus::Healthy) };
    let none =
        Row { level: "basic".to_owned(), ..row("geo", v1::BreakerState::Unspecified, v1::HealthStatus::Degraded) };
    let long = busy("a-service-with-a-name-that-is-far-too-long-for-the-column", 0.5, 0);
    Snapshot {
        rows: vec![busy("orders-db", 310.0, 10), long, none, held, half, busy("auth", 41.0, 250), open],
        instances: 9,
        notes: Vec::new(),
    }
}

fn view() -> View {
    let mut view = View::new("http://127.0.0.1:7420".to_owned(), false, true);
    view.take(Ok(snapshot()), Instant::now());
    view
}

fn buffer(view: &mut View, width: u16, height: u16, after: Duration) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view.draw(frame, Instant::now() + after)).unwrap();
    terminal.backend().buffer().clone()
}

fn drawn(view: &mut View, width: u16, height: u16) -> String {
    let buffer = buffer(view, width, height, Duration::from_secs(1));
    let rows = buffer.content.chunks(usize::from(width));
    rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned() + "\n")
        .collect()
}

fn press(view: &mut View, keys: &str) -> Outcome {
    let mut outcome = Outcome::Nothing;
    for char in keys.chars() {
        outcome = view.press(if char == '\n' { Key::Enter } else { Key::Char(char) });
    }
    outcome
}

#[tokio::test(start_paused = true)]
async fn what_is_worst_stands_first_and_all_fits_eighty_columns() {
    let expected = "\
cofferdam top  http://127.0.0.1:7420  1s old, 7 services, 1 open, 9 instances
worst first
SERVICE            LEVEL     STATE           CALLS/S   ERR%    P99 FALLB%   SYNC
stripe             enhanced  open 3/4              -      -      -      -    4/4
s3                 enhanced  half-open 1/4         -      -      -      -    4/4
geo                basic     degraded              -      -      -      -    4/4
mail               enhanced  closed held           -      -      -      -    4/4
auth               enhanced  closed               41    2.5   19ms    8.0    4/4
orders-db          enhanced  closed              310    0.1   19ms    8.0    4/4
a-service~e-column enhanced  closed              0.5    0.0   19ms    8.0    4/4


arrows choose  / names  s sort  l level  t trip  r reset  q quit
";
    assert_eq!(drawn(&mut view(), 80, 13), expected);
}

/// Before, names that begin alike could not be told apart.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_cut_shows_its_end_and_is_whole_where_it_is_chosen() {
    let mut view = view();
    let name = "a-service-with-a-name-that-is-far-too-long-for-the-column";
    assert!(!drawn(&mut view, 80, 13).contains(name));
    view.press(Key::End);
    let drawn = drawn(&mut view, 80, 13);
    assert!(
        drawn.contains(&format!("\nworst first, on {name}\n")) && drawn.contains("\na-service~e-column "),
        "{drawn}"
    );
    assert_eq!((cut_name("orders-db", 9).as_str(), cut_name("orders-db", 8).as_str()), ("orders-db", "orde~-db"));
}

#[tokio::test(start_paused = true)]
async fn a_change_is_asked_about_before_it_is_made() {
    let mut view = view();
    view.press(Key::Down);
    press(&mut view, "t");
    assert!(drawn(&mut view, 80, 12).ends_with("trip the breakers of s3? y/n\n"));
    assert_eq!(press(&mut view, "n"), Outcome::Nothing);
    assert!(drawn(&mut view, 80, 12).contains("\nnothing was changed\n"));
    let place = ("default".to_owned(), "s3".to_owned());
    assert_eq!(press(&mut view, "ty"), Outcome::Do(Order { place: place.clone(), what: What::Trip }));
    assert_eq!(press(&mut view, "r\n"), Outcome::Do(Order { place: place.clone(), what: What::Reset }));
    press(&mut view, "l");
    assert!(drawn(&mut view, 80, 12).ends_with("s3  level: 0 none  1 basic  2 enhanced  3 full  a auto  esc back\n"));
    press(&mut view, "3");
    assert!(drawn(&mut view, 80, 12).ends_with("set level full for s3? y/n\n"));
    assert_eq!(press(&mut view, "y"), Outcome::Do(Order { place, what: What::Level(Level::Full.into()) }));
    assert_eq!(press(&mut view, "l9"), Outcome::Nothing, "there is no such level");
    assert_eq!(press(&mut view, "q"), Outcome::Quit);
    assert_eq!(view.press(Key::Quit), Outcome::Quit);
}

#[tokio::test(start_paused = true)]
async fn the_chosen_service_stays_chosen_while_rows_move() {
    let mut view = view();
    view.press(Key::Down);
    let mut healed = snapshot();
    healed.rows.retain(|row| row.name != "stripe");
    view.take(Ok(healed), Instant::now());
    press(&mut view, "t");
    assert!(drawn(&mut view, 80, 12).ends_with("trip the breakers of s3? y/n\n"));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_services_are_scrolled_through() {
    let mut view = view();
    let rows = (0..10_000).map(|n| busy(&format!("service-{n:05}"), 1.0, 0)).collect();
    view.take(Ok(Snapshot { rows, ..Snapshot::default() }), Instant::now());
    press(&mut view, "s");
    view.press(Key::End);
    let end = drawn(&mut view, 80, 24);
    assert!(end.contains("service-09999") && end.contains("service-09981") && !end.contains("service-09980"), "{end}");
    view.press(Key::PageUp);
    assert!(drawn(&mut view, 80, 24).contains("service-09980"));
    press(&mut view, "/01234");
    assert!(drawn(&mut view, 80, 24).ends_with("/01234_  enter done  esc all\n"));
    press(&mut view, "\n");
    let found = drawn(&mut view, 80, 24);
    assert!(found.contains("by name, names with 01234\n") && found.contains("service-01234"), "{found}");
    assert!(!found.contains("service-01235"), "{found}");
    press(&mut view, "/x\n");
    assert!(drawn(&mut view, 80, 24).contains("no service has such a name"));
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_away_is_said_with_the_age_of_what_is_shown() {
    let mut view = View::new("http://127.0.0.1:7420".to_owned(), false, false);
    assert!(drawn(&mut view, 80, 12).contains("  asking, "));
    view.take(Ok(snapshot()), Instant::now());
    view.take(Err("no manager answers at http://127.0.0.1:7420: refused".to_owned()), Instant::now());
    let old = buffer(&mut view, 80, 12, Duration::from_secs(75));
    let text: String = old.content.iter().map(ratatui::buffer::Cell::symbol).collect();
    assert!(text.contains("1m15s old") && text.contains("no manager answers") && text.contains("stripe"), "{text}");
    assert!(old.content.iter().any(|cell| cell.fg == Color::Red));
    view.take(Ok(snapshot()), Instant::now());
    assert!(!drawn(&mut view, 80, 12).contains("no manager answers"), "it is back");
}

#[tokio::test(start_paused = true)]
async fn without_colour_nothing_has_one_and_no_size_breaks_it() {
    let coloured =
        |buffer: &Buffer| buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
    assert!(!coloured(&buffer(&mut view(), 80, 24, Duration::ZERO)));
    for (width, height) in [(1, 1), (7, 3), (80, 5), (20, 24), (200, 60), (3, 200)] {
        drawn(&mut view(), width, height);
    }
}
