//! A child process, and what it has used.

use super::Outcome;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The kernel counts processor time for people in hundredths of a second, on every architecture.
const TICKS: f64 = 100.0;

/// How long a program may take to be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program that runs until it is dropped.
pub struct Process {
    child: Child,
}

/// A port of this machine that was free a moment ago.
pub fn free_port() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Process {
    /// Starts a program that is ready when it accepts connections.
    pub fn serving(command: &mut Command, address: SocketAddr) -> Outcome<Self> {
        let name = format!("{:?}", command.get_program());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("cannot start {name}: {error}"))?;
        let mut process = Self { child };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline || process.child.try_wait()?.is_some() {
                return Err(format!("{name} does not serve at {address}").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }

    /// Starts a program that prints one line when it is ready. Returns the line, too.
    pub fn printing(command: &mut Command) -> Outcome<(Self, String)> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().ok_or("no standard output")?;
        let process = Self { child };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        Ok((process, line.trim().to_owned()))
    }

    /// Its standard input, once.
    pub fn take_input(&mut self) -> Outcome<ChildStdin> {
        self.child.stdin.take().ok_or_else(|| "no standard input".into())
    }

    /// Seconds of processor that it has used, in its own code and in the kernel's.
    pub fn cpu(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in brackets, may have spaces; user and system time are the 12th and 13th words after it.
        let words = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(2);
        let ticks: f64 = words.filter_map(|word| word.parse::<f64>().ok()).sum();
        Ok(ticks / TICKS)
    }

    /// KiB of memory that it has to itself or shares, its part of what is shared. What the kernel keeps for its sockets
    /// is not in it.
    pub fn memory(&self) -> Outcome<f64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = pss.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| "the system does not tell how much memory a process has".into())
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
