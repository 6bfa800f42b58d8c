//! Writers that each wait for an answer before they write again, and how many writes a second that makes.

use super::Outcome;
use super::crowd::{Crowd, Speaker};
use super::http2::{self, Event, Http2};
use super::process::Process;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What is not counted, so that connections, pages and caches are warm.
const WARM_UP: Duration = Duration::from_millis(500);

/// How long a manager may take to be filled.
const FILLING: Duration = Duration::from_secs(300);

/// What writers of a kind say.
pub trait Write {
    /// The method.
    const PATH: &'static str;

    /// The request of this writer, who has made so many before.
    fn request(&mut self, writer: usize, number: u64) -> Vec<u8>;
}

/// What writes came to.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Writes a second, for each pass.
    pub rates: Vec<f64>,
    /// How long each took.
    pub each: Vec<Duration>,
    /// Microseconds of a manager's processor time for each write, for each pass.
    pub cpu: Vec<f64>,
}

/// Writers, one on each connection.
struct Writers<W> {
    write: W,
    writers: Vec<Writer>,
    each: Vec<Duration>,
    /// So many writes are left to begin; `None`: no end.
    left: Option<u64>,
    failed: Option<String>,
}

struct Writer {
    http: Http2,
    stream: u32,
    number: u64,
    begun: Instant,
    is_answered: bool,
}

impl<W: Write> Writers<W> {
    fn next(&mut self, id: usize, out: &mut Vec<u8>) {
        match &mut self.left {
            Some(0) => return,
            Some(left) => *left -= 1,
            None => {}
        }
        let writer = &mut self.writers[id];
        let request = self.write.request(id, writer.number);
        http2::request(out, writer.stream, W::PATH);
        http2::message(out, writer.stream, &request, true);
        writer.stream += 2;
        writer.number += 1;
        writer.is_answered = false;
        writer.begun = Instant::now();
    }
}

impl<W: Write> Speaker for Writers<W> {
    fn greet(&mut self, id: usize, out: &mut Vec<u8>) {
        let begun = Instant::now();
        self.writers.push(Writer { http: Http2::default(), stream: 1, number: 0, begun, is_answered: false });
        http2::preface(out, true);
        self.next(id, out);
    }

    fn hear(&mut self, id: usize, input: &[u8], out: &mut Vec<u8>) -> usize {
        let Self { writers, each, failed, .. } = self;
        let writer = &mut writers[id];
        let mut has_ended = false;
        let done = writer.http.read(input, out, |_, event, _| match event {
            Event::Message(_) => writer.is_answered = true,
            Event::End(_) if writer.is_answered => {
                each.push(writer.begun.elapsed());
                has_ended = true;
            }
            Event::End(block) => *failed = Some(String::from_utf8_lossy(block).into_owned()),
        });
        if has_ended {
            self.next(id, out);
        }
        done
    }

    fn lost(&mut self, id: usize) {
        self.failed = Some(format!("the connection of writer {id} was closed"));
    }
}

/// Lets so many writers write for so long. `manager` is the process whose processor time counts.
pub fn measure(
    write: impl Write,
    address: SocketAddr,
    writers: usize,
    time: Duration,
    manager: Option<&Process>,
) -> Outcome<Figures> {
    let mut crowd = assemble(write, address, writers, None)?;
    crowd.run(WARM_UP, |all| all.failed.is_some())?;
    crowd.speaker.each.clear();
    let cpu = manager.map(Process::cpu).transpose()?;
    let begun = Instant::now();
    crowd.run(time, |all| all.failed.is_some())?;
    let elapsed = begun.elapsed();
    if let Some(failed) = crowd.speaker.failed {
        return Err(format!("a write failed: {failed}").into());
    }
    let each = crowd.speaker.each;
    let used = match (manager, cpu) {
        (Some(manager), Some(before)) => vec![(manager.cpu()? - before) * 1e6 / each.len() as f64],
        _ => Vec::new(),
    };
    Ok(Figures { rates: vec![each.len() as f64 / elapsed.as_secs_f64()], each, cpu: used })
}

/// Makes so many writes, with 64 writers.
pub fn fill(write: impl Write, address: SocketAddr, writes: u64) -> Outcome<()> {
    let mut crowd = assemble(write, address, 64, Some(writes))?;
    let wanted = usize::try_from(writes)?;
    let is_done = crowd.run(FILLING, |all| all.failed.is_some() || all.each.len() >= wanted)?;
    match crowd.speaker.failed {
        None if is_done => Ok(()),
        None => Err(format!("{} of {writes} writes were made in time", crowd.speaker.each.len()).into()),
        Some(failed) => Err(format!("a write failed: {failed}").into()),
    }
}

fn assemble<W: Write>(write: W, address: SocketAddr, writers: usize, left: Option<u64>) -> Outcome<Crowd<Writers<W>>> {
    let all = Writers { write, writers: Vec::new(), each: Vec::new(), left, failed: None };
    let mut crowd = Crowd::new(all)?;
    for id in 0..writers {
        crowd.connect(id, address)?;
    }
    Ok(crowd)
}

impl Figures {
    pub fn add(&mut self, other: Self) {
        self.rates.extend(other.rates);
        self.each.extend(other.each);
        self.cpu.extend(other.cpu);
    }
}
