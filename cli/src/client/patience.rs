//! For how long answers are waited for.

use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// For how long answers are waited for. As text: how long that is, as one says it behind "within".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// For each, so long.
    Each(Duration),
    /// For all of them together, as `--timeout` says.
    All {
        /// So long, from the beginning of the command.
        within: Duration,
        /// When that is over.
        until: Instant,
    },
}

impl Patience {
    /// For all of them together, from now on.
    pub(crate) fn all(within: Duration) -> Self {
        Self::All { within, until: Instant::now() + within }
    }

    /// The same, or for each so long.
    pub(super) const fn or_each(self, within: Duration) -> Self {
        match self {
            Self::Each(_) => Self::Each(within),
            all @ Self::All { .. } => all,
        }
    }

    /// When an answer has to be there that is asked for now.
    pub(super) fn deadline(self) -> Instant {
        match self {
            Self::Each(within) => Instant::now() + within,
            Self::All { until, .. } => until,
        }
    }

    /// How much of the time for all of them is left. `None`: each has its own.
    pub(super) fn left(self) -> Option<Duration> {
        match self {
            Self::Each(_) => None,
            Self::All { until, .. } => Some(until.saturating_duration_since(Instant::now())),
        }
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Each(within) => write!(f, "{}", humantime::format_duration(*within)),
            Self::All { within, .. } => write!(f, "the {} of --timeout", humantime::format_duration(*within)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_command_is_over_once_however_many_answers_it_waits_for() {
        let (each, all) = (Patience::Each(3 * SECOND), Patience::all(3 * SECOND));
        let began = Instant::now();
        tokio::time::advance(2 * SECOND).await;
        assert_eq!((each.deadline() - began, all.deadline() - began), (5 * SECOND, 3 * SECOND));
        assert_eq!((each.left(), all.left()), (None, Some(SECOND)));
        assert_eq!((each.or_each(9 * SECOND), all.or_each(9 * SECOND)), (Patience::Each(9 * SECOND), all));
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(all.left(), Some(Duration::ZERO));
        assert_eq!((each.to_string(), all.to_string()), ("3s".to_owned(), "the 3s of --timeout".to_owned()));
    }
}
