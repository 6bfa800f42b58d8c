//! How often a scenario repeats what it tries, and how long each recovery took, for those who ask (`make recovery`).
//! No test depends on the time.

use tokio::time::Instant;

/// How many rounds there are: `COFFERDAM_ROUNDS`, else the long form's under `COFFERDAM_LONG`, else the short one's.
///
/// # Panics
///
/// If `COFFERDAM_ROUNDS` is not a number.
pub fn rounds(short: usize, long: usize) -> usize {
    match std::env::var("COFFERDAM_ROUNDS") {
        Ok(rounds) => rounds.parse().expect("COFFERDAM_ROUNDS is a number"),
        Err(_) if std::env::var_os("COFFERDAM_LONG").is_some() => long,
        Err(_) => short,
    }
}

/// Measures one recovery, and prints it as `took <tab> what <tab> milliseconds`.
#[derive(Debug)]
pub struct Recovery {
    what: &'static str,
    begun: Instant,
}

impl Recovery {
    /// Begins now, when the fault does.
    pub fn of(what: &'static str) -> Self {
        Self { what, begun: Instant::now() }
    }

    /// It is over.
    pub fn is_over(self) {
        println!("took\t{}\t{}", self.what, self.begun.elapsed().as_millis());
    }
}
