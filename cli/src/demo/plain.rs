//! The demo without a terminal: a few lines at each step and one line a second, for logs and for CI.

use super::board::Board;
use super::figures;
use super::measure::{Group, Meter, per_second};
use super::script::STEPS;
use std::io::{self, Write};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// Ticks that a line tells of: one second.
const TICKS: usize = 4;

/// Tells what happens until the board's owner is done.
///
/// # Errors
///
/// The output cannot be written to.
pub(crate) async fn tell(out: &mut dyn Write, mut boards: watch::Receiver<Board>, meter: &Meter) -> io::Result<()> {
    boards.mark_changed();
    let mut told: Option<Board> = None;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    second.tick().await;
    loop {
        tokio::select! {
            changed = boards.changed() => {
                let board = boards.borrow_and_update().clone();
                tell_changes(out, told.as_ref(), &board)?;
                told = Some(board);
                if changed.is_err() {
                    return out.flush();
                }
            }
            _ = second.tick() => {
                let board = boards.borrow().clone();
                writeln!(out, "{}", second_line(&board, meter))?;
            }
        }
        out.flush()?;
    }
}

/// Tells what is new on the board since it was last told of.
fn tell_changes(out: &mut dyn Write, before: Option<&Board>, now: &Board) -> io::Result<()> {
    if before.is_none_or(|before| before.step != now.step) {
        let step = STEPS.get(now.step).map_or("", |step| step.title);
        writeln!(out, "\n{step}: {}", now.note().replace('\n', " "))?;
    }
    let is_new = before.is_none_or(|before| (&before.command, &before.result) != (&now.command, &now.result));
    if is_new && now.result != super::board::CommandResult::Sent {
        writeln!(out, "  $ {}\n  {}", now.command, now.result)?;
    }
    Ok(())
}

fn second_line(board: &Board, meter: &Meter) -> String {
    let (recent, time) = meter.recent(TICKS);
    let groups = Group::ALL.map(|group| {
        let tally = recent.of(group);
        format!(
            "{} {:>7} p99 {:>7} {:>3.0}/s",
            group.name(),
            figures::percent(tally.answered_percent()),
            figures::latency(tally.latency.quantile(0.99)),
            per_second(tally.arrivals, time),
        )
    });
    let [unprotected, protected] = groups;
    format!(
        "{:>4} s  {:8} {:7}  {unprotected}  {protected}  breaker {}",
        board.elapsed.as_secs_f64().round(),
        board.level,
        board.fault,
        board.breakers
    )
}

#[cfg(test)]
mod tests {
    use super::super::board::{Breakers, CommandResult};
    use super::super::measure::{Purpose, Scene, Served, TICK};
    use super::super::upstream::Fault;
    use super::*;
    use cofferdam_core::level::Level;

    fn board() -> Board {
        Board {
            step: 0,
            is_by_hand: false,
            is_paused: false,
            elapsed: Duration::ZERO,
            total: Duration::from_secs(8),
            level: Level::Basic,
            fault: Fault::Broken,
            command: "grpcurl a".into(),
            result: CommandResult::Sent,
            breakers: Breakers::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_tells_each_step_each_command_and_each_second_once() {
        let scene = Scene { level: Level::Basic, fault: Fault::Broken, purpose: Purpose::Step(0) };
        let meter = Meter::new(scene, Duration::from_secs(1));
        let (boards, told) = watch::channel(board());
        let director = async {
            let applied = CommandResult::Applied { instances: 4, of: 4, took: Duration::from_millis(2), revision: 9 };
            boards.send_modify(|board| board.result = applied);
            tokio::time::sleep(TICK).await;
            meter.call_ends(Group::Protected, meter.call_begins(), Served::Static);
            meter.tick();
            boards.send_modify(|board| board.breakers.open = 4);
            tokio::time::sleep(Duration::from_secs(1)).await;
            boards.send_modify(|board| board.step = 1);
            tokio::time::sleep(TICK).await;
            drop(boards);
        };
        let mut out = Vec::new();
        let (told, ()) = tokio::join!(tell(&mut out, told, &meter), director);
        told.unwrap();

        let out = String::from_utf8(out).unwrap();
        let lines: Vec<_> = out.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 5, "{out}");
        assert!(lines[0].starts_with("calm: "));
        assert_eq!(lines[1], "  $ grpcurl a");
        assert_eq!(lines[2], "  revision 9 applied on 4 of 4 instances in 2.0 ms");
        assert!(lines[3].contains("protected 100.0 % p99 0.00 ms") && lines[3].ends_with("open 4 of 4"), "{out}");
        assert!(lines[4].starts_with("breaks: "));
    }
}
