//! The command line.

use crate::commands::Common;
use crate::commands::OperatorCommand;
use crate::demo::SHORTEST;
use crate::store::StoreCommand;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use cofferdam_server::config::ServeArgs;
use std::time::Duration;

/// What every command has in common.
const HELP: &str = "\
Start here:
  cofferdam demo
  cofferdam serve
  cofferdam register payments --endpoint 127.0.0.1:50051 --level enhanced
  cofferdam describe service payments
  cofferdam check

Manager and output are for the commands that speak to a manager, and may stand before or after the command.

Data goes to the standard output, words about it to the standard error. Exit codes: 0 all is well, 1 it is not or cannot be
done, 2 the command line makes no sense, 3 something is degraded or differs, 4 a breaker is open.";

/// Service isolation for gRPC: timeouts, retries, circuit breakers, bulkheads and fallbacks that follow one manager.
///
/// Without a command, it shows the demo.
#[derive(Debug, Parser)]
#[command(name = "cofferdam", version, after_help = HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a manager.
    Serve(Box<ServeArgs>),
    /// Watch a failing service being isolated, live: a manager, a flaky upstream and two groups of callers.
    Demo(DemoArgs),
    /// Look after a store: check it, back it up, restore it, move it to another one.
    #[command(subcommand)]
    Store(StoreCommand),
    #[command(flatten)]
    Operator(OperatorCommand),
    /// Print a script that completes commands in a shell.
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Say which version this is, and what is compiled in.
    Version,
}

/// Settings of the demo.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct DemoArgs {
    /// Print lines instead of drawing on the terminal; chosen by itself where the output is no terminal.
    #[arg(long)]
    pub plain: bool,
    /// How long the script takes, in seconds: 8 to 3600.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u64).range(SHORTEST.as_secs()..=3600))]
    seconds: u64,
    /// What the times of calls, the orders and the flakiness of the upstream are drawn from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl Cli {
    /// What to do, and the flags of the manager that stand before it. Where nothing is said to do, it is the demo.
    ///
    /// # Errors
    ///
    /// The command speaks to no manager, and has no such flags.
    pub(crate) fn into_command(self) -> Result<(Command, Common), clap::Error> {
        let command = self.command.unwrap_or_else(|| Command::Demo(DemoArgs::default()));
        match self.common.said() {
            Some(flag) if !command.speaks_to_a_manager() => {
                let what = format!("{flag} before a command is for those that speak to a manager");
                Err(Self::command().error(ErrorKind::UnknownArgument, what))
            }
            _ => Ok((command, self.common)),
        }
    }
}

impl Command {
    const fn speaks_to_a_manager(&self) -> bool {
        match self {
            Self::Operator(command) => command.speaks_to_a_manager(),
            Self::Serve(_) | Self::Demo(_) | Self::Store(_) | Self::Completion { .. } | Self::Version => false,
        }
    }
}

impl DemoArgs {
    /// How long the script takes.
    pub(crate) const fn total(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

impl Default for DemoArgs {
    fn default() -> Self {
        Self { plain: false, seconds: 40, seed: 1 }
    }
}

#[cfg(test)]
mod printed;
#[cfg(test)]
mod tests {
    use super::*;

    fn demo(arguments: &[&str]) -> DemoArgs {
        match Cli::try_parse_from(arguments).unwrap().into_command().unwrap().0 {
            Command::Demo(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_at_all_is_the_demo_with_its_defaults() {
        assert_eq!(demo(&["cofferdam"]), demo(&["cofferdam", "demo"]));
    }

    /// Before, `cofferdam --server URL get services` was no command line. What comes of it is tested with a manager.
    #[test]
    fn flags_of_the_manager_go_before_commands_that_speak_to_one() {
        let parsed = |words: &[&str]| Cli::try_parse_from(words)?.into_command();
        let (_, flags) =
            parsed(&["cofferdam", "--server", "a:1", "-n", "shop", "--timeout", "3s", "get", "services"]).unwrap();
        assert_eq!((flags.server.as_deref(), flags.namespace.as_deref()), (Some("a:1"), Some("shop")));
        for strange in [
            &["cofferdam", "--server", "a:1"][..],
            &["cofferdam", "--server", "a:1", "serve"],
            &["cofferdam", "-n", "shop", "version"],
            &["cofferdam", "--actor", "ann", "store", "check", "--data-dir", "/x"],
            &["cofferdam", "-o", "json", "import", "opossum", "-"],
            &["cofferdam", "--server", "a:1", "simulate", "policy.yaml", "calls.csv"],
            &["cofferdam", "--server", "a:1", "config", "use-context", "lab"],
        ] {
            assert_eq!(parsed(strange).unwrap_err().exit_code(), 2, "{strange:?}");
        }
    }

    #[test]
    fn a_command_that_speaks_to_no_manager_is_suggested_without_one() {
        let has_server =
            |command: &clap::Command| command.get_arguments().any(|argument| argument.get_id() == "server");
        for command in Cli::command().get_subcommands().filter(|command| command.get_name() != "config") {
            let speaks = has_server(command) || command.get_subcommands().any(has_server);
            let name = command.get_name();
            assert_eq!(!speaks, crate::output::WITHOUT_A_MANAGER.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_reason_says_something_and_every_kind_of_event_can_be_asked_for() {
        let parsed = |line: &str| Cli::try_parse_from(shlex::split(line).unwrap());
        for reason in ["''", "'  '"] {
            assert!(parsed(&format!("cofferdam trip a --reason {reason}")).is_err(), "{reason}");
        }
        assert!(parsed("cofferdam trip a --reason 'a drill'").is_ok());
        assert!(parsed("cofferdam events --kind gap").is_ok(), "before, docs/events.md alone knew of it");
    }

    #[test]
    fn the_demo_takes_a_length_and_a_seed() {
        let args = demo(&["cofferdam", "demo", "--plain", "--seconds", "12", "--seed", "7"]);
        assert_eq!((args.plain, args.total(), args.seed), (true, Duration::from_secs(12), 7));
    }

    #[test]
    fn a_length_in_which_nothing_can_be_shown_is_refused() {
        for seconds in ["0", "7", "3601", "-1", "x"] {
            let error = Cli::try_parse_from(["cofferdam", "demo", "--seconds", seconds]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{seconds}");
        }
    }
}
