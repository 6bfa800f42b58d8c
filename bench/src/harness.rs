use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Rounds of which the median is taken.
pub const ROUNDS: usize = 15;
/// How long a case runs in a round, about.
const ROUND: Duration = Duration::from_millis(20);

/// Something to measure.
pub struct Case {
    /// What it is.
    pub name: &'static str,
    /// Makes so many calls. Several threads may do so at once, on the same breaker.
    pub run: Box<dyn Fn(u64) + Send + Sync>,
}

impl Case {
    /// A case that makes one call after the other.
    pub fn new(name: &'static str, call: impl Fn() + Send + Sync + 'static) -> Self {
        let run = Box::new(move |count| (0..count).for_each(|_| call()));
        Self { name, run }
    }
}

/// The figures of a case, in nanoseconds per call and thread.
pub struct Row {
    pub name: &'static str,
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

/// Measures all cases with so many threads.
pub fn measure(cases: &[Case], threads: usize) -> Vec<Row> {
    let counts: Vec<u64> = cases.iter().map(calls_per_round).collect();
    let mut figures = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for ((case, count), figures) in cases.iter().zip(&counts).zip(&mut figures) {
            figures.push(round(case, *count, threads));
        }
    }
    let row = |(case, mut figures): (&Case, Vec<f64>)| {
        figures.sort_by(f64::total_cmp);
        Row { name: case.name, median: figures[ROUNDS / 2], lowest: figures[0], highest: figures[ROUNDS - 1] }
    };
    cases.iter().zip(figures).map(row).collect()
}

/// How many calls fill a round.
fn calls_per_round(case: &Case) -> u64 {
    let mut count = 1_000;
    loop {
        let took = time(|| (case.run)(count));
        if took > Duration::from_millis(2) {
            return (count as f64 * ROUND.as_secs_f64() / took.as_secs_f64()) as u64;
        }
        count *= 4;
    }
}

/// One round: nanoseconds per call, the slowest thread's.
fn round(case: &Case, count: u64, threads: usize) -> f64 {
    let barrier = Barrier::new(threads);
    let slowest = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    time(|| (case.run)(count))
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().expect("a case must not panic")).max()
    });
    slowest.unwrap_or_default().as_nanos() as f64 / count as f64
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
