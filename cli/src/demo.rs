//! `cofferdam demo`: a failing service being isolated, live.
//!
//! Nothing is simulated. A manager runs in this process on a real port, with a real embedded store; a gRPC server plays
//! the upstream `payments`; two groups of callers call it over sockets, one plainly and one through the SDK, whose
//! instances follow the manager by its Sync stream. Levels are changed through the real RPC, and what is shown is what
//! was measured. At the end, a verdict is computed from the measured numbers; it can fail.

mod board;
mod callers;
mod commands;
mod director;
mod figures;
mod manager;
mod measure;
mod operator;
mod plain;
mod screen;
mod script;
mod stage;
mod table;
mod upstream;
mod verdict;

pub(crate) use self::script::SHORTEST;
pub(crate) use self::verdict::Finding;

use self::director::{Director, Key, first_board};
use self::measure::{Meter, Phase, Purpose, Scene};
use self::screen::{Palette, Screen};
use self::script::STEPS;
use self::stage::Stage;
use self::verdict::{Verdict, judge};
use crate::args::DemoArgs;
use crate::error::Error;
use crate::signals;
use std::io::Write;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What of the demo's surroundings it goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    /// Whether the output is a terminal.
    pub is_terminal: bool,
    /// Whether the user wants no colours.
    pub no_color: bool,
    /// Whether cargo started the process.
    pub by_cargo: bool,
}

/// Shows the demo, and prints its table.
///
/// # Errors
///
/// Something could not be started, a command failed, or what was measured does not show that protection helps.
pub(crate) async fn run(args: &DemoArgs, surroundings: Surroundings, out: &mut dyn Write) -> Result<(), Error> {
    let before = Scene { level: STEPS[0].level, fault: STEPS[0].fault, purpose: Purpose::Changing };
    let meter = Meter::new(before, Duration::ZERO);
    let mut stage = Stage::set(&meter, args.total(), args.seed).await?;
    let shown = match stage.call(&meter, args.seed) {
        Ok(()) => Box::pin(show(args, surroundings, &stage, &meter, out)).await,
        Err(error) => Err(error),
    };
    stage.strike().await;
    let Shown { phases, is_interrupted } = shown?;

    writeln!(out, "\n{}", table::table(&phases))?;
    let verdict = judge(&phases);
    match &verdict {
        Verdict::Helped => writeln!(out, "{}\n", verdict::praise())?,
        Verdict::NotJudged => writeln!(out, "stopped before the end: not judged\n")?,
        Verdict::DidNotHelp(_) => {}
    }
    write!(out, "{}", commands::try_next(surroundings.by_cargo))?;
    out.flush()?;
    match verdict {
        Verdict::DidNotHelp(findings) => Err(Error::DidNotHelp(findings)),
        Verdict::Helped | Verdict::NotJudged if is_interrupted => Err(Error::Interrupted),
        Verdict::Helped | Verdict::NotJudged => Ok(()),
    }
}

/// What was shown.
struct Shown {
    phases: Vec<Phase>,
    /// Whether a signal ended it.
    is_interrupted: bool,
}

/// Plays the script before an audience.
async fn show(
    args: &DemoArgs,
    surroundings: Surroundings,
    stage: &Stage,
    meter: &Meter,
    out: &mut dyn Write,
) -> Result<Shown, Error> {
    let (keys, pressed) = mpsc::channel(16);
    let (boards, board) = watch::channel(first_board(stage, args.total()));
    let director = Director::new(stage, meter, boards, args.total()).direct(pressed);
    let is_plain = args.plain || !surroundings.is_terminal;
    let audience = async {
        if is_plain {
            return plain::tell(out, board, meter).await.map_err(Error::Output);
        }
        let palette = Palette::new(surroundings.no_color);
        let mut screen = Screen::open(keys.clone(), palette).map_err(Error::Terminal)?;
        screen.show(board, meter).await.map_err(Error::Terminal)
    };
    let play = async { tokio::try_join!(director, audience) };
    tokio::pin!(play);
    let (played, is_interrupted) = tokio::select! {
        played = &mut play => (played, false),
        () = signals::interrupted() => {
            // The director takes leave as it does of a user. A full channel means that it is about to.
            let _ = keys.try_send(Key::Quit);
            (play.await, true)
        }
    };
    Ok(Shown { phases: played?.0, is_interrupted })
}
