//! Instances that stop reading, among others that do not.

use super::Outcome;
use super::changes::{Figures, assemble, make};
use super::crowd::Crowd;
use super::manager::{Admin, Instance, start_empty};
use super::streams::Streams;
use super::tables::percentile;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many stop, and how many go on.
pub const STUCK: usize = 100;
pub const HEALTHY: usize = 900;

/// Bytes of each policy: what is told to somebody who does not read must not fit into any buffer on the way.
const PAYLOAD: usize = 8 * 1024;
const CHANGES: u32 = 40;

/// How long the manager may take to hang up.
const PATIENCE: Duration = Duration::from_secs(90);

/// What came of it.
#[derive(Clone, Debug)]
pub struct Stuck {
    /// The others' 99th percentile, without and with those who are stuck.
    pub without: Duration,
    pub with: Duration,
    /// KiB that the manager's memory grew by for each who is stuck.
    pub memory: f64,
    /// Instances that were stuck, as the manager saw it.
    pub seen: u32,
    /// How long it took from the last change until the manager had hung up on all of them.
    pub cut_off_after: Duration,
}

/// Changes policies, with nobody stuck and with some.
pub fn run(binary: &Path) -> Outcome<Stuck> {
    let (without, growth, ..) = changes(binary, 0)?;
    let (with, more, mut crowd, mut admin, _process) = changes(binary, STUCK)?;
    let (begun, seen) = (Instant::now(), admin.convergence()?.pending);
    loop {
        crowd.run(Duration::from_millis(200), |_| false)?;
        let now = admin.convergence()?;
        if now.pending == 0 {
            break;
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} instances are stuck and still connected", now.pending).into());
        }
    }
    let p99 = |figures: &Figures| percentile(&figures.each, 0.99);
    Ok(Stuck {
        without: p99(&without),
        with: p99(&with),
        memory: (more - growth) / STUCK as f64,
        seen,
        cut_off_after: begun.elapsed(),
    })
}

type Run = (Figures, f64, Crowd<Streams<Instance>>, Admin, super::process::Process);

/// Changes with so many who are stuck; by how many KiB the manager's memory has grown meanwhile.
fn changes(binary: &Path, stuck: usize) -> Outcome<Run> {
    let (process, address) = start_empty(binary)?;
    let mut admin = Admin::register(address, PAYLOAD, u32::try_from(HEALTHY)?)?;
    let mut crowd = Crowd::new(Streams::new(Instance::new(true), 1, stuck))?;
    assemble(&mut crowd, address, stuck + HEALTHY, stuck + HEALTHY)?;
    (0..stuck).for_each(|id| crowd.stop_reading(id));
    let before = process.memory()?;
    let figures = make(&mut crowd, &process, &mut admin, HEALTHY, CHANGES)?;
    let growth = process.memory()? - before;
    Ok((figures, growth, crowd, admin, process))
}
