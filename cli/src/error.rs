//! What can go wrong at the command line: one line that says what is wrong, and what mends it.

use crate::demo::Finding;
use std::io;
use std::time::Duration;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A manager does not start.
    #[error(transparent)]
    Start(#[from] cofferdam_server::StartError),
    /// Something is wrong with a store, or with what was to be done to it.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// An operator's command was not done, or found something.
    #[error(transparent)]
    Operator(#[from] crate::commands::Error),
    /// The asynchronous runtime could not be started.
    #[error("no threads can be had: {0}; raise the limit (ulimit -u) and try again")]
    Runtime(#[source] io::Error),
    /// No socket could be had on the loopback interface.
    #[error(
        "no port of 127.0.0.1 can be had for {what}: {source}; raise the limit of open files (ulimit -n) and try again"
    )]
    NoPort {
        /// What wanted it.
        what: &'static str,
        /// The system's own words.
        source: io::Error,
    },
    /// No folder could be made for the demo's store.
    #[error("no temporary folder can be made: {0}; set TMPDIR to a folder that can be written to")]
    NoFolder(#[source] io::Error),
    /// An address of the demo's own cannot be dialled.
    #[error("{address} cannot be dialled: {source}")]
    NoChannel {
        /// The address.
        address: String,
        /// The transport's own words.
        source: tonic::transport::Error,
    },
    /// The manager refused a command.
    #[error("the demo's manager refused {rpc}: {code:?}: {message}")]
    Refused {
        /// The command.
        rpc: &'static str,
        /// The status.
        code: tonic::Code,
        /// The manager's own words.
        message: String,
    },
    /// The manager did not answer in time.
    #[error("the demo's manager did not answer {rpc} within {within:?}: is this machine very busy?")]
    NoAnswer {
        /// The command.
        rpc: &'static str,
        /// How long it was given.
        within: Duration,
    },
    /// The manager's answer lacks what it must have.
    #[error("the demo's manager answered {rpc} without a revision")]
    IncompleteAnswer {
        /// The command.
        rpc: &'static str,
    },
    /// A policy did not reach every instance in time.
    #[error(
        "revision {revision} was applied on {applied} of {of} instances within {within:?}: is this machine very busy?"
    )]
    NotApplied {
        /// The revision.
        revision: u64,
        /// Instances that have it.
        applied: usize,
        /// Instances that there are.
        of: usize,
        /// How long they were given.
        within: Duration,
    },
    /// The terminal cannot be used.
    #[error("the terminal cannot be used: {0}; try `demo --plain`")]
    Terminal(#[source] io::Error),
    /// The output cannot be written to.
    #[error("the output cannot be written to: {0}")]
    Output(#[from] io::Error),
    /// The demo ran, and its numbers do not show what they must.
    #[error("protection did not help: {}", list(.0))]
    DidNotHelp(Vec<Finding>),
    /// The user stopped the demo by a signal.
    #[error("stopped by a signal")]
    Interrupted,
}

impl Error {
    /// Whether nobody reads the output any more, as with `head`: whoever was to be shown something has seen enough.
    pub(crate) fn is_output_closed(&self) -> bool {
        let error = match self {
            Self::Output(error) | Self::Store(crate::store::Error::Output(error)) => Some(error),
            Self::Operator(error) => error.output(),
            _ => None,
        };
        error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What the process ends with: 2 where the command line or the settings make no sense, 3 and 4 where an operator's
    /// command found something, 1 otherwise.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Store(crate::store::Error::Settings(_) | crate::store::Error::Same | crate::store::Error::NoFile) => {
                2
            }
            Self::Operator(error) => error.exit_code(),
            _ => 1,
        }
    }

    /// The manager's refusal.
    pub(crate) fn refused(rpc: &'static str, status: &tonic::Status) -> Self {
        Self::Refused { rpc, code: status.code(), message: status.message().to_owned() }
    }
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_nobody_reads_is_told_apart_whichever_command_wrote_it() {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(Error::Output(closed()).is_output_closed());
        assert!(Error::Store(crate::store::Error::Output(closed())).is_output_closed());
        assert!(Error::Operator(closed().into()).is_output_closed());
        assert!(!Error::Output(full()).is_output_closed());
        assert!(!Error::Store(crate::store::Error::Output(full())).is_output_closed());
        assert!(!Error::Terminal(closed()).is_output_closed());
    }

    #[test]
    fn an_error_is_one_line() {
        let finding = |step| Finding {
            step,
            what: "the share of protected calls answered".into(),
            bound: "at least 99 %".into(),
            measured: "12.0 %".into(),
        };
        assert_eq!(
            Error::DidNotHelp(vec![finding("basic"), finding("full")]).to_string(),
            "protection did not help: step basic: the share of protected calls answered should be at least 99 % and was \
             12.0 %; step full: the share of protected calls answered should be at least 99 % and was 12.0 %"
        );
    }
}
