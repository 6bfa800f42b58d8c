//! The one binary as an operator runs it.

use crate::tools::manager_binary;
use std::process::Command;

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its exit code. `None`: a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

/// `cofferdam` with these arguments, and no settings that the environment of the tests happens to have.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(manager_binary());
    without_settings(command.args(arguments));
    command
}

/// Takes the settings that the environment of the tests happens to have from whoever runs `cofferdam`.
pub fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("COFFERDAM_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG")
}

/// Runs `cofferdam` with these arguments to its end.
///
/// # Panics
///
/// If it cannot be started.
pub fn cofferdam(arguments: &[&str]) -> Said {
    run(&mut command(arguments))
}

/// Runs a command to its end.
///
/// # Panics
///
/// If it cannot be started.
pub fn run(command: &mut Command) -> Said {
    let output = command.output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}
