//! Calls with one answer, that wait for it.

use super::Outcome;
use super::http2::{self, Event, Http2};
use prost::Message;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection for one call after the other.
pub struct Caller {
    stream: TcpStream,
    http: Http2,
    input: Vec<u8>,
    next: u32,
}

impl Caller {
    pub fn connect(address: SocketAddr) -> Outcome<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut out = Vec::new();
        http2::preface(&mut out, true);
        stream.write_all(&out)?;
        Ok(Self { stream, http: Http2::default(), input: Vec::new(), next: 1 })
    }

    pub fn call<R: Message + Default>(&mut self, path: &str, request: &impl Message) -> Outcome<R> {
        let mut out = Vec::new();
        http2::request(&mut out, self.next, path);
        http2::message(&mut out, self.next, &request.encode_to_vec(), true);
        self.next += 2;
        self.stream.write_all(&out)?;
        let (mut answer, mut end) = (None, None);
        let mut buffer = [0; 16 * 1024];
        while end.is_none() {
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                return Err(format!("{path}: the connection was closed").into());
            }
            self.input.extend_from_slice(&buffer[..count]);
            out.clear();
            let done = self.http.read(&self.input, &mut out, |_, event, _| match event {
                Event::Message(message) => answer = Some(R::decode(message)),
                Event::End(block) => end = Some(String::from_utf8_lossy(block).into_owned()),
            });
            self.input.drain(..done);
            self.stream.write_all(&out)?;
        }
        match answer {
            Some(answer) => Ok(answer?),
            None => Err(format!("{path}: {}", end.unwrap_or_default()).into()),
        }
    }
}
