//! The `cofferdam` binary: `serve` runs a manager, `demo` shows what it is for, `store` looks after what managers keep,
//! `version` says what this is, and all other commands are an operator's, who asks a manager.
//!
//! Data goes to the standard output, words about it to the standard error. Exit codes: 0 all is well, 1 it is not, 2 the
//! command line makes no sense, 3 something is degraded or differs, 4 a breaker is open.

mod args;
mod client;
mod clock;
mod commands;
mod completion;
mod contexts;
mod demo;
mod error;
mod files;
mod keyboard;
mod message;
mod output;
mod signals;
mod store;
mod version;

use crate::args::{Cli, Command};
use crate::commands::Common;
use crate::demo::Surroundings;
use crate::error::Error;
use clap::Parser as _;
use std::env;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let (command, flags) = match Cli::try_parse().and_then(Cli::into_command) {
        Ok(parsed) => parsed,
        Err(refusal) => {
            // Where not even this can be written, the exit code still says it.
            let _ = refusal.print();
            return ExitCode::from(u8::try_from(refusal.exit_code()).unwrap_or(2));
        }
    };
    match run(command, flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_output_closed() => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command, flags: Common) -> Result<(), Error> {
    let mut out = io::stdout();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime);
    // An operator's command waits more than it works.
    let single = || tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime);
    match command {
        Command::Serve(args) => runtime()?.block_on(cofferdam_server::run(&args)).map_err(Error::Start),
        Command::Demo(args) => runtime()?.block_on(demo::run(&args, surroundings(), &mut out)),
        Command::Operator(command) => Ok(single()?.block_on(commands::run(command, &operators(flags), &mut out))?),
        Command::Store(command) => Ok(runtime()?.block_on(store::run(command, &mut out))?),
        Command::Completion { shell } => completion::print(shell, &mut out).map_err(Error::Output),
        Command::Version => version::print(&mut out).map_err(Error::Output),
    }
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn operators(before: Common) -> commands::Surroundings {
    let is_terminal = io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
    let arguments = env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let width = if is_terminal { terminal_width() } else { None };
    commands::Surroundings { is_terminal, width, no_color: is_set("NO_COLOR"), before, arguments }
}

/// How wide the terminal is, by `COLUMNS` where that says it.
fn terminal_width() -> Option<usize> {
    let said = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let found = || ratatui::crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns));
    said.or_else(found).filter(|columns| *columns > 0)
}

fn surroundings() -> Surroundings {
    Surroundings {
        is_terminal: io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|terminal| terminal != "dumb"),
        no_color: is_set("NO_COLOR"),
        by_cargo: is_set("CARGO_MANIFEST_DIR"),
    }
}
