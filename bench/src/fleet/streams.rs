//! Clients that hold gRPC streams.

use super::changes::Heard;
use super::crowd::Speaker;
use super::http2::{self, Event, Http2};
use std::time::{Duration, Instant};

/// What a message of the server amounts to.
pub enum Meaning {
    /// All that was there at the beginning has been sent; and what to answer.
    Ready(Option<Vec<u8>>),
    /// A change, and what to answer.
    Change(Option<Vec<u8>>),
    Nothing,
}

/// What streams of a kind say.
pub trait Protocol {
    /// The method.
    const PATH: &'static str;

    /// What the stream of this number says first.
    fn hello(&self, number: usize) -> Vec<u8>;

    fn hear(&mut self, message: &[u8]) -> Meaning;
}

/// Streams, so many on each connection.
pub struct Streams<P> {
    pub protocol: P,
    per_connection: usize,
    /// On so many of the first connections the server may send 64 KiB and no more.
    narrow: usize,
    connections: Vec<Http2>,
    begun: Instant,
    heard: Vec<Duration>,
    /// Which connection has had a first answer on a stream, and when.
    pub ready: Vec<(usize, Instant)>,
    /// Connections that are gone.
    pub lost: Vec<usize>,
    /// Streams that have ended.
    pub ended: usize,
}

impl<P: Protocol> Streams<P> {
    pub fn new(protocol: P, per_connection: usize, narrow: usize) -> Self {
        let (begun, none) = (Instant::now(), Vec::new);
        Self {
            protocol,
            per_connection,
            narrow,
            connections: Vec::new(),
            begun,
            heard: none(),
            ready: Vec::new(),
            lost: Vec::new(),
            ended: 0,
        }
    }
}

impl<P: Protocol> Speaker for Streams<P> {
    fn greet(&mut self, id: usize, out: &mut Vec<u8>) {
        if self.connections.len() <= id {
            self.connections.resize_with(id + 1, Http2::default);
        }
        self.connections[id] = Http2::default();
        http2::preface(out, id >= self.narrow);
        for (index, stream) in (1..).step_by(2).take(self.per_connection).enumerate() {
            http2::request(out, stream, P::PATH);
            http2::message(out, stream, &self.protocol.hello(id * self.per_connection + index), false);
        }
    }

    fn hear(&mut self, id: usize, input: &[u8], out: &mut Vec<u8>) -> usize {
        let Self { connections, protocol, heard, begun, ready, ended, .. } = self;
        connections[id].read(input, out, |stream, event, out| match event {
            Event::Message(message) => match protocol.hear(message) {
                Meaning::Ready(answer) => {
                    ready.push((id, Instant::now()));
                    if let Some(answer) = answer {
                        http2::message(out, stream, &answer, false);
                    }
                }
                Meaning::Change(answer) => {
                    heard.push(begun.elapsed());
                    if let Some(answer) = answer {
                        http2::message(out, stream, &answer, false);
                    }
                }
                Meaning::Nothing => {}
            },
            Event::End(_) => *ended += 1,
        })
    }

    fn lost(&mut self, id: usize) {
        self.lost.push(id);
    }
}

impl<P: Protocol> Heard for Streams<P> {
    fn begin(&mut self) {
        self.begun = Instant::now();
        self.heard.clear();
    }

    fn heard(&self) -> &[Duration] {
        &self.heard
    }

    fn ready(&self) -> usize {
        self.ready.len()
    }
}
