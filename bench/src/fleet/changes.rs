//! One change after the other, each until everybody has it.

use super::Outcome;
use super::crowd::{Crowd, Speaker};
use super::process::Process;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that are opened without waiting for the earlier ones.
const BATCH: usize = 200;
/// Changes that are not counted.
const WARM_UP: u32 = 3;

/// Clients that know when each of them heard of the last change.
pub trait Heard: Speaker {
    /// From now on it is another change.
    fn begin(&mut self);

    /// How long after that each of those who have heard of it did.
    fn heard(&self) -> &[Duration];

    /// How many have heard all there was when they came.
    fn ready(&self) -> usize;
}

/// Whoever makes changes. Returns when the change is made, and where the system can tell, when all have it.
pub trait Operator: Send {
    /// Whether it returns only when everybody has said that they have it.
    const CONFIRMS: bool;

    fn change(&mut self, number: u32) -> Outcome<()>;
}

/// What changes came to.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// How long after the beginning of a change each client had it, over all clients and changes.
    pub each: Vec<Duration>,
    /// How long it took until the server knew that all have it, for each change.
    pub confirmed: Vec<Duration>,
    /// Microseconds of the server's processor time for each client and change, for each pass.
    pub cpu: Vec<f64>,
    /// KiB of the server's memory for each client that rests, for each pass.
    pub memory: Vec<f64>,
}

impl Figures {
    pub fn add(&mut self, other: Self) {
        self.each.extend(other.each);
        self.confirmed.extend(other.confirmed);
        self.cpu.extend(other.cpu);
        self.memory.extend(other.memory);
    }
}

/// Opens connections, and waits until `clients` are ready.
pub fn assemble<S: Heard>(
    crowd: &mut Crowd<S>,
    address: SocketAddr,
    connections: usize,
    clients: usize,
) -> Outcome<()> {
    for id in 0..connections {
        crowd.connect(id, address)?;
        if id % BATCH == BATCH - 1 {
            let so_many = (id + 1 - BATCH / 2) * clients / connections;
            crowd.run(PATIENCE, |clients| clients.ready() >= so_many)?;
        }
    }
    match crowd.run(PATIENCE, |all| all.ready() >= clients)? {
        true => Ok(()),
        false => Err(format!("{} of {clients} clients are ready", crowd.speaker.ready()).into()),
    }
}

/// Makes changes, and waits after each until so many have heard of it.
pub fn make<S: Heard, O: Operator>(
    crowd: &mut Crowd<S>,
    process: &Process,
    operator: &mut O,
    clients: usize,
    changes: u32,
) -> Outcome<Figures> {
    let mut figures = Figures::default();
    let mut cpu = 0.0;
    for number in 0..WARM_UP + changes {
        if number == WARM_UP {
            cpu = process.cpu()?;
            figures = Figures::default();
        }
        crowd.speaker.begin();
        let begun = Instant::now();
        let confirmed = thread::scope(|scope| {
            let operator = scope.spawn(|| operator.change(number).map(|()| begun.elapsed()));
            let all = crowd.run(PATIENCE, |all| all.heard().len() >= clients)?;
            let confirmed = operator.join().map_err(|_| "the operator panicked")??;
            if all { Ok(confirmed) } else { Err(missing(crowd.speaker.heard().len(), clients)) }
        })?;
        figures.each.extend_from_slice(crowd.speaker.heard());
        if O::CONFIRMS {
            figures.confirmed.push(confirmed);
        }
    }
    let work = f64::from(changes) * clients as f64;
    figures.cpu.push((process.cpu()? - cpu) * 1e6 / work);
    Ok(figures)
}

fn missing(heard: usize, clients: usize) -> Box<dyn std::error::Error + Send + Sync> {
    format!("{heard} of {clients} clients heard of a change").into()
}
