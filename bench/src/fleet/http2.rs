//! As much of HTTP/2 and gRPC as a client needs that knows what it is going to hear.

use std::collections::HashMap;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const MAX_WINDOW: u32 = (1 << 31) - 1;
const DEFAULT_WINDOW: u32 = 65_535;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What comes on a stream.
pub enum Event<'a> {
    /// A gRPC message.
    Message(&'a [u8]),
    /// Its end, with the header block as it came, if there was one.
    End(&'a [u8]),
}

/// What a connection has heard of messages that are not complete.
#[derive(Default)]
pub struct Http2 {
    partial: HashMap<u32, Vec<u8>>,
}

/// The beginning of a connection. `is_wide`: the server may send as much as it likes; otherwise a stream's first 64 KiB
/// and no more.
pub fn preface(out: &mut Vec<u8>, is_wide: bool) {
    out.extend_from_slice(PREFACE);
    if !is_wide {
        return frame(out, SETTINGS, 0, 0, &[]);
    }
    let initial_window_size = 4_u16;
    let mut settings = initial_window_size.to_be_bytes().to_vec();
    settings.extend_from_slice(&MAX_WINDOW.to_be_bytes());
    frame(out, SETTINGS, 0, 0, &settings);
    frame(out, WINDOW_UPDATE, 0, 0, &(MAX_WINDOW - DEFAULT_WINDOW).to_be_bytes());
}

/// The beginning of a gRPC call.
pub fn request(out: &mut Vec<u8>, stream: u32, path: &str) {
    // :method POST and :scheme http by their numbers; the others in full, by the number of their name where it has one.
    let mut block = vec![0x83, 0x86];
    let mut field = |name: &[u8], value: &str| {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).unwrap_or(0));
        block.extend_from_slice(value.as_bytes());
    };
    field(&[0x04], path);
    field(&[0x01], "localhost");
    field(&[0x0f, 0x10], "application/grpc");
    field(&[0x00, 2, b't', b'e'], "trailers");
    frame(out, HEADERS, END_HEADERS, stream, &block);
}

/// A message, and whether it is the last one.
pub fn message(out: &mut Vec<u8>, stream: u32, message: &[u8], is_last: bool) {
    let mut data = vec![0];
    data.extend_from_slice(&length(message.len()).to_be_bytes());
    data.extend_from_slice(message);
    frame(out, DATA, if is_last { END_STREAM } else { 0 }, stream, &data);
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&length(payload.len()).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

impl Http2 {
    /// Reads whole frames, answers those that want an answer, and tells what came. Returns how many bytes are read.
    pub fn read(&mut self, input: &[u8], out: &mut Vec<u8>, mut on: impl FnMut(u32, Event<'_>, &mut Vec<u8>)) -> usize {
        let mut rest = input;
        while let Some((head, tail)) = rest.split_at_checked(9) {
            let Some((payload, tail)) = tail.split_at_checked(number(&head[..3])) else { break };
            rest = tail;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            match kind {
                DATA => self.data(stream, payload, |message| on(stream, Event::Message(message), out)),
                SETTINGS if flags & ACK == 0 => frame(out, SETTINGS, ACK, 0, &[]),
                PING if flags & ACK == 0 => frame(out, PING, ACK, 0, payload),
                _ => {}
            }
            if (matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0) || kind == RESET {
                self.partial.remove(&stream);
                on(stream, Event::End(payload), out);
            }
        }
        input.len() - rest.len()
    }

    fn data(&mut self, stream: u32, payload: &[u8], mut on: impl FnMut(&[u8])) {
        let joined;
        let mut rest = match self.partial.remove(&stream) {
            Some(mut partial) => {
                partial.extend_from_slice(payload);
                joined = partial;
                &joined[..]
            }
            None => payload,
        };
        while let Some((head, tail)) = rest.split_at_checked(5) {
            let Some((message, tail)) = tail.split_at_checked(number(&head[1..])) else { break };
            on(message);
            rest = tail;
        }
        if !rest.is_empty() {
            self.partial.insert(stream, rest.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let mut sent = Vec::new();
        frame(&mut sent, SETTINGS, 0, 0, &[]);
        let mut both = Vec::new();
        for text in ["one", "two"] {
            both.extend_from_slice(&[0, 0, 0, 0, 3]);
            both.extend_from_slice(text.as_bytes());
        }
        for part in both.chunks(7) {
            frame(&mut sent, DATA, 0, 1, part);
        }
        frame(&mut sent, HEADERS, END_HEADERS | END_STREAM, 1, b"x");
        for cut in 0..sent.len() {
            let (mut http, mut out, mut heard) = (Http2::default(), Vec::new(), Vec::new());
            let mut on = |stream: u32, event: Event<'_>, _: &mut Vec<u8>| match event {
                Event::Message(message) => heard.push((stream, message.to_vec())),
                Event::End(block) => heard.push((stream, block.to_vec())),
            };
            let done = http.read(&sent[..cut], &mut out, &mut on);
            assert_eq!(done + http.read(&sent[done..], &mut out, &mut on), sent.len());
            assert_eq!(heard, [(1, b"one".to_vec()), (1, b"two".to_vec()), (1, b"x".to_vec())]);
            assert_eq!(out.len(), 9, "the settings are acknowledged");
        }
    }
}
