use crate::client::CallError;
use crate::contexts::ContextError;
use crate::output::{Hints, PrintError, printable};
use std::io;

/// Why a command did not do what it was asked, or what it found. The first line says what is wrong, the last one, which
/// begins with `try:`, what mends it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line makes no sense.
    #[error("{what}\ntry: {mend}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What mends it.
        mend: String,
    },
    /// It cannot be done.
    #[error("{what}\ntry: {mend}")]
    Failed {
        /// What is wrong.
        what: String,
        /// What mends it.
        mend: String,
    },
    /// A call brought no answer, or a refusal.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A service that is not registered was named, and one with nearly this name is.
    #[error("{what}\ntry: {again}")]
    Misnamed {
        /// The manager's own words.
        what: String,
        /// The command with it.
        again: String,
    },
    /// Any of these, whose commands say of which manager they are.
    #[error("{text}")]
    Addressed {
        /// All of its words.
        text: String,
        /// What the process ends with.
        code: u8,
    },
    /// No context says which manager.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The data cannot be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
    /// What was looked at is not as it should be.
    #[error("{}", lines(.0))]
    Degraded(Vec<String>),
    /// A breaker keeps calls from a service.
    #[error("{}", lines(.0))]
    Open(Vec<String>),
}

impl Error {
    /// The command line makes no sense.
    pub(crate) fn usage(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), mend: mend.into() }
    }

    /// It cannot be done.
    pub(crate) fn failed(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Failed { what: what.into(), mend: mend.into() }
    }

    /// What was looked at is not as it should be, and what looks into it.
    pub(crate) fn degraded(what: impl Into<String>, mend: impl AsRef<str>) -> Self {
        Self::Degraded(vec![what.into(), format!("try: {}", mend.as_ref())])
    }

    /// The same, with the flags of this command line in the commands that it suggests. A command that is given again has
    /// them already.
    pub(crate) fn addressed(self, hints: &Hints) -> Self {
        if matches!(self, Self::Misnamed { .. }) || self.output().is_some() {
            return self;
        }
        Self::Addressed { text: hints.lines(&self.to_string()), code: self.exit_code() }
    }

    /// What the process ends with.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } | Self::Context(_) | Self::Call(CallError::BadServer { .. }) => 2,
            Self::Addressed { code, .. } => *code,
            Self::Degraded(_) => 3,
            Self::Open(_) => 4,
            _ => 1,
        }
    }

    /// The error of writing the output, where it is that.
    pub(crate) const fn output(&self) -> Option<&io::Error> {
        match self {
            Self::Print(PrintError::Output(error)) => Some(error),
            _ => None,
        }
    }
}

/// Each is one line, whatever is in it.
fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Print(PrintError::Output(error))
    }
}
