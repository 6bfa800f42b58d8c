//! What nobody can be below: a loop that writes to one socket after the other.
//!
//! It is a program of its own, this one called with other words, so that its processor time is counted in the same way
//! as everybody's. Each byte on its standard input makes it write once to each connection.

use super::changes::{Heard, Operator};
use super::crowd::Speaker;
use super::process::Process;
use super::{Outcome, peers::PAYLOAD};
use mio::{Events, Interest, Poll, Token};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

/// Bytes of an answer: about those of an acknowledgement.
const ANSWER: usize = 80;

/// The word that makes a program of it.
pub const WORD: &str = "floor";

/// The program: serves so many connections, and waits for answers or not.
pub fn run(connections: usize, is_answered: bool) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (mut poll, mut events, mut streams) = (Poll::new()?, Events::with_capacity(1024), Vec::new());
    for id in 0..connections {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.write_all(b"!")?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        if is_answered {
            poll.registry().register(&mut stream, Token(id), Interest::READABLE)?;
        }
        streams.push(stream);
    }
    let (payload, mut buffer) = ([b'x'; PAYLOAD], [0; 1024]);
    while std::io::stdin().read(&mut [0])? > 0 {
        for stream in &mut streams {
            stream.write_all(&payload)?;
        }
        let mut missing = if is_answered { connections * ANSWER } else { 0 };
        while missing > 0 {
            poll.poll(&mut events, None)?;
            for event in &events {
                missing = missing.saturating_sub(streams[event.token().0].read(&mut buffer)?);
            }
        }
    }
    Ok(())
}

/// Starts it.
pub fn start(connections: usize, is_answered: bool) -> Outcome<(Process, SocketAddr)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([WORD, &connections.to_string(), &is_answered.to_string()]);
    let (process, line) = Process::printing(&mut command)?;
    Ok((process, line.parse()?))
}

/// Whoever says when it is to write.
pub struct Trigger(pub std::process::ChildStdin);

impl Operator for Trigger {
    const CONFIRMS: bool = false;

    fn change(&mut self, _: u32) -> Outcome<()> {
        Ok(self.0.write_all(b"!")?)
    }
}

/// Clients to whom bytes are but counted: they get so many at first, and so many with each change.
pub struct Counted {
    greeting: Vec<u8>,
    first: usize,
    each: usize,
    is_answering: bool,
    got: Vec<usize>,
    ready: usize,
    begun: Instant,
    heard: Vec<Duration>,
}

impl Counted {
    pub fn new(greeting: Vec<u8>, first: usize, each: usize, is_answering: bool) -> Self {
        let (got, heard, begun) = (Vec::new(), Vec::new(), Instant::now());
        Self { greeting, first, each, is_answering, got, ready: 0, begun, heard }
    }

    /// The clients of the floor.
    pub fn of_floor(is_answering: bool) -> Self {
        Self::new(Vec::new(), 1, PAYLOAD, is_answering)
    }
}

impl Speaker for Counted {
    fn greet(&mut self, id: usize, out: &mut Vec<u8>) {
        self.got.resize(self.got.len().max(id + 1), 0);
        out.extend_from_slice(&self.greeting);
    }

    fn hear(&mut self, id: usize, input: &[u8], out: &mut Vec<u8>) -> usize {
        let before = self.got[id];
        let after = before + input.len();
        self.got[id] = after;
        if (before..after).contains(&(self.first - 1)) {
            self.ready += 1;
        }
        let messages = |bytes: usize| bytes.saturating_sub(self.first) / self.each;
        for _ in messages(before)..messages(after) {
            self.heard.push(self.begun.elapsed());
            if self.is_answering {
                out.extend_from_slice(&[b'y'; ANSWER]);
            }
        }
        input.len()
    }

    fn lost(&mut self, _: usize) {}
}

impl Heard for Counted {
    fn begin(&mut self) {
        self.begun = Instant::now();
        self.heard.clear();
    }

    fn heard(&self) -> &[Duration] {
        &self.heard
    }

    fn ready(&self) -> usize {
        self.ready
    }
}
