//! Answers that go out together, as a write of the socket costs more than a copy.

use bytes::{Bytes, BytesMut};

/// Bytes that go out together, about: a frame of HTTP/2.
const ROOM: usize = 16 * 1024;

/// Answers, one behind the other. One alone is not copied.
#[derive(Debug, Default)]
pub(super) struct Together {
    first: Option<Bytes>,
    all: BytesMut,
}

impl Together {
    /// Whether there is room for another answer.
    pub(super) fn has_room(&self) -> bool {
        self.all.len().max(self.first.as_ref().map_or(0, Bytes::len)) < ROOM
    }

    pub(super) fn add(&mut self, answer: Bytes) {
        let Some(first) = &self.first else {
            self.first = Some(answer);
            return;
        };
        if self.all.is_empty() {
            self.all.reserve(ROOM.max(first.len() + answer.len()));
            self.all.extend_from_slice(first);
        }
        self.all.extend_from_slice(&answer);
    }

    /// All of them; none, where there is none.
    pub(super) fn into_bytes(self) -> Option<Bytes> {
        if self.all.is_empty() { self.first } else { Some(self.all.freeze()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_is_not_copied() {
        let answer = Bytes::from(vec![b'x'; 500]);
        let mut together = Together::default();
        together.add(answer.clone());
        assert!(together.has_room());
        assert_eq!(together.into_bytes().unwrap().as_ptr(), answer.as_ptr());
        assert_eq!(Together::default().into_bytes(), None);
    }

    #[test]
    fn many_go_in_order_until_there_is_no_room() {
        let mut together = Together::default();
        for (byte, size) in [(b'a', 10_000), (b'b', 6_000), (b'c', 500)] {
            assert!(together.has_room());
            together.add(Bytes::from(vec![byte; size]));
        }
        assert!(!together.has_room());
        let all = together.into_bytes().unwrap();
        assert_eq!((all.len(), all[9_999], all[15_999], all[16_499]), (16_500, b'a', b'b', b'c'));
    }
}
