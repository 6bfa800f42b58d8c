//! What a run is told.

use super::Outcome;
use std::path::PathBuf;

const USAGE: &str = "usage: fleet|store|operate MANAGER [--short] [PAGE]";

/// What to measure, with which manager.
pub struct Args {
    /// The manager's program.
    pub manager: PathBuf,
    /// Whether a minute has to do, with a tenth of the streams.
    pub is_short: bool,
    /// The page that gets the tables.
    pub page: Option<String>,
}

impl Args {
    pub fn parse(words: impl Iterator<Item = String>) -> Outcome<Self> {
        let (options, words): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with("--"));
        if let Some(unknown) = options.iter().find(|option| *option != "--short") {
            return Err(format!("unknown option {unknown}; {USAGE}").into());
        }
        let mut words = words.into_iter();
        let manager = words.next().ok_or(USAGE)?.into();
        Ok(Self { manager, is_short: !options.is_empty(), page: words.next() })
    }

    /// How many streams there are at most.
    pub fn streams(&self) -> Vec<usize> {
        if self.is_short { vec![1_000] } else { vec![1_000, 10_000] }
    }

    /// How often everybody has a turn, so that a mood of the machine meets all.
    pub fn passes(&self) -> u32 {
        if self.is_short { 1 } else { 3 }
    }

    /// Changes of each turn.
    pub fn changes(&self) -> u32 {
        if self.is_short { 10 } else { 20 }
    }

    /// Instances that lose their manager.
    pub fn storm(&self) -> usize {
        if self.is_short { 1_000 } else { 5_000 }
    }
}
