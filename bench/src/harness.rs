//! How times are taken.
//!
//! All cases run in one process and in turn: each round gives every case some 20 ms, and the figure of a case is its
//! median over the rounds, so that a noisy moment of the machine hits all of them. The threads live through the whole
//! run, as a server's do. With several threads all of them make the same calls at the same time, and the slowest counts.
//!
//! A round in which a thread had to wait for a processor says more about the other processes than about the case. The
//! system counts that wait, so such rounds are left out; a lock that a case itself waits for is not such a wait. Where too
//! few rounds are left, all of them count, without the wait: better than nothing, and marked.

use crate::cases::Case;
use crate::conditions::waited;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Rounds of which the undisturbed ones count.
pub const ROUNDS: usize = 21;
/// Fewer undisturbed rounds than this are too few.
pub const FEW: usize = ROUNDS / 2;
/// How long a case runs in a round, about.
const ROUND: Duration = Duration::from_millis(20);
/// The longest wait for a processor, as a share of the round, that leaves a round undisturbed.
const DISTURBANCE: f64 = 0.02;

/// The times of a case, in nanoseconds for each call of each thread.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
    /// Rounds without a disturbance. Where they are [too few](FEW), all rounds count.
    pub undisturbed: usize,
}

/// One thread's round of one case.
#[derive(Clone, Copy, Debug)]
struct Sample {
    took: Duration,
    waited: Duration,
}

/// Measures all cases with so many threads.
pub fn measure(cases: &[&Case], threads: usize) -> Vec<Times> {
    let counts: Vec<u64> = cases.iter().map(|case| calls_per_round(case)).collect();
    let barrier = Barrier::new(threads);
    let rounds = || {
        let round = |_| {
            let turns = cases.iter().zip(&counts);
            turns.map(|(case, count)| sample(case, *count, &barrier)).collect()
        };
        (0..ROUNDS).map(round).collect()
    };
    let of_threads: Vec<Vec<Vec<Sample>>> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(rounds)).collect();
        handles.into_iter().map(|handle| handle.join().expect("a case must not panic")).collect()
    });
    let times = |(index, count): (usize, &u64)| {
        let rounds = (0..ROUNDS).map(|round| of_threads.iter().map(move |rounds| rounds[round][index]));
        times(rounds, *count)
    };
    counts.iter().enumerate().map(times).collect()
}

/// How many calls fill a round.
fn calls_per_round(case: &Case) -> u64 {
    let mut count = 100;
    loop {
        let took = [(); 3].map(|()| time(|| (case.run)(count))).into_iter().min().unwrap_or_default();
        if took > Duration::from_millis(2) {
            return ((count as f64 * ROUND.as_secs_f64() / took.as_secs_f64()) as u64).max(1);
        }
        count *= 4;
    }
}

fn sample(case: &Case, count: u64, barrier: &Barrier) -> Sample {
    barrier.wait();
    let mut wait = 0;
    let took = time(|| {
        let before = waited();
        (case.run)(count);
        wait = waited().saturating_sub(before);
    });
    let waited = Duration::from_nanos(wait);
    // Nobody begins with the next case while another still runs this one.
    barrier.wait();
    Sample { took, waited }
}

/// From what each thread took in each round.
fn times(rounds: impl Iterator<Item = impl Iterator<Item = Sample> + Clone>, count: u64) -> Times {
    let (mut all, mut undisturbed) = (Vec::new(), Vec::new());
    let figure = |took: Option<Duration>| took.unwrap_or_default().as_nanos() as f64 / count as f64;
    for round in rounds {
        all.push(figure(round.clone().map(|sample| sample.took.saturating_sub(sample.waited)).max()));
        if round.clone().all(|sample| sample.waited <= sample.took.mul_f64(DISTURBANCE)) {
            undisturbed.push(figure(round.map(|sample| sample.took).max()));
        }
    }
    let count = undisturbed.len();
    let mut figures = if count < FEW { all } else { undisturbed };
    figures.sort_by(f64::total_cmp);
    Times {
        median: figures[figures.len() / 2],
        lowest: figures[0],
        highest: figures[figures.len() - 1],
        undisturbed: count,
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(samples: &[(u64, u64)]) -> Times {
        let sample = |(took, waited): &(u64, u64)| {
            let (took, waited) = (Duration::from_micros(*took), Duration::from_micros(*waited));
            [Sample { took, waited }].into_iter()
        };
        times(samples.iter().map(sample), 1_000)
    }

    #[test]
    fn disturbed_rounds_are_left_out() {
        let times = rounds(&[[(10, 0); FEW].as_slice(), &[(12, 0), (500, 490)]].concat());
        assert_eq!((times.median, times.highest, times.undisturbed), (10.0, 12.0, FEW + 1));
    }

    #[test]
    fn where_most_were_disturbed_all_count_without_their_waits() {
        let times = rounds(&[(20, 10), (30, 5), (15, 0)]);
        assert_eq!((times.median, times.highest, times.undisturbed), (15.0, 25.0, 1));
    }

    #[test]
    fn the_slowest_thread_counts() {
        let sample = |micros| Sample { took: Duration::from_micros(micros), waited: Duration::ZERO };
        let times = times([[sample(10), sample(15)].into_iter()].into_iter(), 1_000);
        assert_eq!(times.median, 15.0);
    }
}
