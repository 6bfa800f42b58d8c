//! `cofferdam completion`: a script that completes commands and flags in a shell.

use crate::args::Cli;
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::io::{self, Write};

/// Prints it.
///
/// # Errors
///
/// The output cannot be written to.
pub(crate) fn print(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    // The generator takes a closed output for a defect of the program: it gets one that is always open.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cofferdam", &mut script);
    out.write_all(&script)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            print(*shell, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("set-level") && script.contains("dry-run"), "{shell}");
        }
    }
}
