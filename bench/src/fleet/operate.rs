//! What an operator waits for: the real command line, run as a child process against a real manager.

use super::Outcome;
use super::changes::{Operator as _, assemble};
use super::crowd::Crowd;
use super::manager::{Admin, Instance, start_empty};
use super::streams::Streams;
use super::subjects::{self, Manager, SERVICES};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Services that the page of metrics is about.
pub const MEASURED: u64 = 1_000;
/// Instances that put a rollback in force, and services that it is of.
pub const INSTANCES: usize = 1_000;
pub const ROLLED_BACK: usize = 20;

/// How long fleets may take to hear of something.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between the state to go back to and what is undone: what the manager tells times apart by is finer.
const APART: Duration = Duration::from_secs(1);

/// One thing that was done again and again.
pub struct Done {
    pub name: String,
    /// How long each took.
    pub times: Vec<Duration>,
    /// KiB that the manager's memory grew by meanwhile.
    pub growth: f64,
}

/// All of these, so many times each, but for the rollback, which takes a fleet.
pub fn all(binary: &Path, times: u32) -> Outcome<Vec<Done>> {
    let mut all = reads(binary, times)?;
    all.push(metrics(binary, times)?);
    all.push(rollback(binary, times.div_ceil(4))?);
    Ok(all)
}

/// Reads of a manager with [`SERVICES`].
fn reads(binary: &Path, times: u32) -> Outcome<Vec<Done>> {
    let manager = Manager::with_services(binary, None, SERVICES)?;
    let commands: &[&[&str]] = &[
        &["get", "services"],
        &["get", "policies"],
        &["get", "policies", "-o", "json"],
        &["describe", "service", "service-5000"],
        &["stats"],
        &["check"],
    ];
    let mut all = Vec::new();
    for words in commands {
        // Once so that the memory it takes at all is not taken for growth.
        run(binary, manager.address, words)?;
        let before = manager.process.memory()?;
        let each = repeat(times, || run(binary, manager.address, words))?;
        let growth = manager.process.memory()? - before;
        all.push(Done { name: format!("`cofferdam {}`", words.join(" ")), times: each, growth });
    }
    Ok(all)
}

/// A read of the page of metrics, while an instance reports of [`MEASURED`] services.
fn metrics(binary: &Path, times: u32) -> Outcome<Done> {
    let manager = Manager::with_services(binary, None, MEASURED)?;
    let services = (0..MEASURED).map(subjects::service).collect();
    let mut crowd = Crowd::new(Streams::new(Instance::reporting(services), 1, 0))?;
    assemble(&mut crowd, manager.address, 1, 1)?;
    let last = format!("service=\"{}\"", subjects::service(MEASURED - 1));
    let deadline = Instant::now() + PATIENCE;
    while !page(manager.address)?.lines().any(|line| line.starts_with("cofferdam_calls_total") && line.contains(&last))
    {
        if Instant::now() > deadline {
            return Err("the page of metrics says nothing of the calls that were reported".into());
        }
        crowd.turn(Duration::from_millis(10))?;
    }
    let before = manager.process.memory()?;
    let each = repeat(times, || page(manager.address).map(drop))?;
    let growth = manager.process.memory()? - before;
    Ok(Done { name: "`GET /metrics`".to_owned(), times: each, growth })
}

/// A rollback of [`ROLLED_BACK`] services by one command, until [`INSTANCES`] that follow all of them have acknowledged.
fn rollback(binary: &Path, times: u32) -> Outcome<Done> {
    let (process, address) = start_empty(binary)?;
    let services: Vec<String> = (0..ROLLED_BACK).map(|number| format!("rolled-back-{number}")).collect();
    let quorum = u32::try_from(INSTANCES)?;
    let mut admins = Vec::new();
    for service in &services {
        admins.push(Admin::of(service, address, 0, quorum)?);
    }
    let mut crowd = Crowd::new(Streams::new(Instance::of(services, true), 1, 0))?;
    assemble(&mut crowd, address, INSTANCES, INSTANCES)?;
    let mut before = 0.0;
    let mut each = Vec::new();
    // The first one is not counted: a manager that is younger than ten seconds does not say that all instances have
    // something in force, for more may be on their way to it.
    for number in 0..=times {
        let time = thread::scope(|scope| -> Outcome<Duration> {
            let operator = scope.spawn(|| once(binary, address, &mut admins, number));
            while !operator.is_finished() {
                crowd.turn(Duration::from_millis(10))?;
            }
            operator.join().map_err(|_| "the operator panicked")?
        })?;
        if number == 0 {
            before = process.memory()?;
        } else {
            each.push(time);
        }
    }
    let name = format!("a rollback of {ROLLED_BACK} services, by one command, until it is in force");
    Ok(Done { name, times: each, growth: process.memory()? - before })
}

/// Changes all, and puts all back.
fn once(binary: &Path, address: SocketAddr, admins: &mut [Admin], number: u32) -> Outcome<Duration> {
    thread::sleep(APART);
    let changed = Instant::now();
    for admin in &mut *admins {
        admin.change(number)?;
    }
    let ago = format!("{}ms", (changed.elapsed() + APART / 2).as_millis());
    let begun = Instant::now();
    run(binary, address, &["rollback", "--all", "--to-time", &ago, "--wait", "--reason", "bench"])?;
    Ok(begun.elapsed())
}

fn repeat(times: u32, mut action: impl FnMut() -> Outcome<()>) -> Outcome<Vec<Duration>> {
    (0..times)
        .map(|_| {
            let begun = Instant::now();
            action()?;
            Ok(begun.elapsed())
        })
        .collect()
}

/// Runs a command to its end. What it prints is read, and has to be something.
fn run(binary: &Path, address: SocketAddr, words: &[&str]) -> Outcome<()> {
    let mut command = Command::new(binary);
    command.args(["--server", &format!("http://{address}")]).args(words).stdin(Stdio::null());
    let output = command.output()?;
    match output.status.success() && !output.stdout.is_empty() {
        true => Ok(()),
        false => Err(format!("cofferdam {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)).into()),
    }
}

fn page(address: SocketAddr) -> Outcome<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(answer) } else { Err("there is no page of metrics".into()) }
}
