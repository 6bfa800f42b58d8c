//! A manager is killed, and all of its instances come back at once.

use super::Outcome;
use super::changes::{Operator, PATIENCE, assemble, make};
use super::crowd::Crowd;
use super::manager::{Admin, Instance, Store, start};
use super::process::free_port;
use super::streams::Streams;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The pauses of our SDKs: at most this at first, doubled each time, up to the second, and no less than the time over which
/// the manager asked all to come back; a random part of it is taken.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Parts of the time between the first and the last answer, in which those who came are counted.
const PARTS: u32 = 10;

/// What came of it.
#[derive(Clone, Debug)]
pub struct Storm {
    pub instances: usize,
    /// Instances that do not have the newest policy in the end.
    pub lost: usize,
    /// Attempts that failed.
    pub refused: usize,
    /// From the start of the new manager until it served.
    pub away: Duration,
    /// From there until the last instance had the newest policy, and the manager knew.
    pub newest_everywhere: Duration,
    /// Instances taken in per second, at the mean and in the busiest tenth of the time.
    pub mean_rate: f64,
    pub peak_rate: f64,
}

/// Kills a manager with so many instances, and starts it again.
pub fn run(binary: &Path, instances: usize) -> Outcome<Storm> {
    let folder = tempfile::tempdir()?;
    let address = free_port()?;
    let store = Store::Embedded(folder.path());
    let mut process = start(binary, address, store)?;
    let quorum = u32::try_from(instances)?;
    let mut admin = Admin::register(address, 0, quorum)?;
    let mut crowd = Crowd::new(Streams::new(Instance::new(true), 1, 0))?;
    assemble(&mut crowd, address, instances, instances)?;
    make(&mut crowd, &process, &mut admin, instances, 1)?;

    // Everybody has heard once how many they are.
    crowd.run(PATIENCE, |all| all.protocol.bookmarks >= instances)?;
    let window = crowd.speaker.protocol.window;

    process.kill()?;
    let begun = Instant::now();
    crowd.speaker.ready.clear();
    thread::scope(|scope| {
        let restarted = scope.spawn(move || -> Outcome<_> {
            let process = start(binary, address, store)?;
            let served = Instant::now();
            admin.reconnect(address)?;
            admin.change(1)?;
            Ok((process, admin, served, Instant::now()))
        });
        let mut pauses = Pauses::new(instances, window);
        let mut refused = 0;
        while !restarted.is_finished() {
            for id in crowd.speaker.lost.split_off(0) {
                refused += pauses.lost(id);
            }
            for id in pauses.due() {
                crowd.connect(id, address)?;
            }
            crowd.turn(Duration::from_millis(5))?;
            if begun.elapsed() > PATIENCE {
                break;
            }
        }
        let (_process, mut admin, served, done) = restarted.join().map_err(|_| "the operator panicked")??;
        let convergence = admin.convergence()?;
        let mut came: Vec<Instant> = crowd.speaker.ready.iter().map(|(_, at)| *at).collect();
        came.sort();
        let (mean_rate, peak_rate) = rates(&came);
        Ok(Storm {
            instances,
            lost: instances.saturating_sub(usize::try_from(convergence.applied)?),
            refused,
            away: served - begun,
            newest_everywhere: done - served,
            mean_rate,
            peak_rate,
        })
    })
}

/// Who came in a second, at the mean and at the most.
fn rates(came: &[Instant]) -> (f64, f64) {
    let (Some(first), Some(last)) = (came.first(), came.last()) else { return (0.0, 0.0) };
    let part = (*last - *first) / PARTS;
    let most = (0..PARTS).map(|index| {
        let (from, to) = (*first + part * index, *first + part * (index + 1));
        came.iter().filter(|at| (from..to).contains(*at)).count()
    });
    let seconds = (*last - *first).as_secs_f64();
    let most = most.max().unwrap_or_default() as f64;
    (came.len() as f64 / seconds, most * f64::from(PARTS) / seconds)
}

/// When who tries again.
struct Pauses {
    attempts: Vec<u32>,
    /// No pause's upper bound is below it.
    window: Duration,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    random: u64,
}

impl Pauses {
    fn new(instances: usize, window: Duration) -> Self {
        Self { attempts: vec![0; instances], window, due: BinaryHeap::new(), random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// A connection is gone, or was never there: one counts as an attempt that failed, the other does not.
    fn lost(&mut self, id: usize) -> usize {
        let attempts = self.attempts[id];
        let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempts)).min(LONGEST_PAUSE).max(self.window);
        self.attempts[id] += 1;
        let pause = longest.mul_f64(self.random());
        self.due.push(Reverse((Instant::now() + pause, id)));
        usize::from(attempts > 0)
    }

    fn due(&mut self) -> Vec<usize> {
        let (now, mut due) = (Instant::now(), Vec::new());
        while let Some(Reverse((at, id))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            due.push(id);
        }
        due
    }

    /// From 0 to 1, by a xorshift: the same in each run.
    fn random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }
}
