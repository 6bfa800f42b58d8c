//! Many connections on one thread.

use super::Outcome;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What the connections of a crowd say.
pub trait Speaker {
    /// What is said first on a connection.
    fn greet(&mut self, id: usize, out: &mut Vec<u8>);

    /// Takes in what has come, and answers. Returns how many bytes are dealt with; the others come again with more.
    fn hear(&mut self, id: usize, input: &[u8], out: &mut Vec<u8>) -> usize;

    /// Takes note that a connection is gone.
    fn lost(&mut self, id: usize);
}

/// Connections, each known by its number.
pub struct Crowd<S> {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    connections: Vec<Option<Connection>>,
    pub speaker: S,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    out: Vec<u8>,
    is_deaf: bool,
}

impl<S: Speaker> Crowd<S> {
    pub fn new(speaker: S) -> Outcome<Self> {
        let (events, scratch) = (Events::with_capacity(1024), vec![0; 256 * 1024]);
        Ok(Self { poll: Poll::new()?, events, scratch, connections: Vec::new(), speaker })
    }

    /// Begins to connect; whether that works shows later.
    pub fn connect(&mut self, id: usize, address: SocketAddr) -> Outcome<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        self.poll.registry().register(&mut stream, Token(id), Interest::READABLE | Interest::WRITABLE)?;
        let mut connection = Connection { stream, input: Vec::new(), out: Vec::new(), is_deaf: false };
        self.speaker.greet(id, &mut connection.out);
        if self.connections.len() <= id {
            self.connections.resize_with(id + 1, || None);
        }
        self.connections[id] = Some(connection);
        Ok(())
    }

    /// Reads nothing more from a connection, which stays open.
    pub fn stop_reading(&mut self, id: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(id) {
            connection.is_deaf = true;
        }
    }

    /// Lets things happen until something holds. Whether it came to hold within the time.
    pub fn run(&mut self, patience: Duration, mut holds: impl FnMut(&mut S) -> bool) -> Outcome<bool> {
        let deadline = Instant::now() + patience;
        while !holds(&mut self.speaker) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Ok(false) };
            self.turn(left)?;
        }
        Ok(true)
    }

    /// Lets happen what happens next.
    pub fn turn(&mut self, at_most: Duration) -> Outcome<()> {
        match self.poll.poll(&mut self.events, Some(at_most)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let id = event.token().0;
            let Some(Some(connection)) = self.connections.get_mut(id) else { continue };
            if !connection.serve(id, &mut self.speaker, &mut self.scratch) {
                self.connections[id] = None;
                self.speaker.lost(id);
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Reads and writes what there is. False: it is gone.
    fn serve<S: Speaker>(&mut self, id: usize, speaker: &mut S, scratch: &mut [u8]) -> bool {
        if !self.write() {
            return false;
        }
        while !self.is_deaf {
            match self.stream.read(scratch) {
                Ok(0) => return false,
                Ok(count) => {
                    self.hear(id, &scratch[..count], speaker);
                    if !self.write() {
                        return false;
                    }
                    // Whoever has sent less than there is room for has sent all: the next message is another event.
                    if count < scratch.len() {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::NotConnected => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn hear<S: Speaker>(&mut self, id: usize, new: &[u8], speaker: &mut S) {
        if self.input.is_empty() {
            let done = speaker.hear(id, new, &mut self.out);
            self.input.extend_from_slice(&new[done..]);
        } else {
            self.input.extend_from_slice(new);
            let done = speaker.hear(id, &self.input, &mut self.out);
            self.input.drain(..done);
        }
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }

    fn write(&mut self) -> bool {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) => {
                    self.out.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::NotConnected => return true,
                Err(_) => return false,
            }
        }
        self.out = Vec::new();
        true
    }
}
