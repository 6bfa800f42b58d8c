//! Files that are whole or refused: a message behind a header that tells it from anything else.
//!
//! The header has 52 bytes: eight that name the kind of file, the version of its format in four, the length of what
//! follows in eight, both big endian, and the SHA-256 of version, length and what follows.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// The version and the length of what follows the header.
const COUNTED: usize = 12;
const CHECKSUM: usize = 32;

/// All that is before the body.
const HEADER: u64 = 52;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    magic: [u8; 8],
    version: u32,
}

/// Why some bytes are not a whole file of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It is something else.
    #[error("it does not begin as a {0} of Cofferdam does")]
    Foreign(&'static str),
    /// It is of another release's format.
    #[error("it is of format {found}; this release reads format {known}")]
    Version {
        /// The format that it is of.
        found: u32,
        /// The format that is read.
        known: u32,
    },
    /// It is shorter or longer than it says.
    #[error("it is torn, or something follows it")]
    Length,
    /// It is not what was written.
    #[error("its checksum is another")]
    Checksum,
}

impl Seal {
    /// What an SDK keeps of its policies: a [`PolicyFile`](crate::storage::v1::PolicyFile).
    pub const POLICY_FILE: Self = Self::new(b'P');

    /// What is kept of a store: a [`Backup`](crate::storage::v1::Backup).
    pub const BACKUP: Self = Self::new(b'B');

    const fn new(kind: u8) -> Self {
        // The first byte is no text, and the end is lost where somebody treats the file as text.
        Self { magic: [0x89, b'C', b'F', b'D', kind, b'\r', b'\n', 0x1a], version: 1 }
    }

    /// The file with this body.
    pub fn seal(self, body: &[u8]) -> Vec<u8> {
        let mut counted = [0; COUNTED];
        let (version, length) = counted.split_at_mut(4);
        version.copy_from_slice(&self.version.to_be_bytes());
        length.copy_from_slice(&(body.len() as u64).to_be_bytes());
        [&self.magic[..], &counted, &checksum(&counted, body), body].concat()
    }

    /// The body of a file.
    ///
    /// # Errors
    /// [`Damage`] says why it is none of this kind, or not whole.
    pub fn open(self, bytes: &[u8]) -> Result<&[u8], Damage> {
        if bytes.is_empty() {
            return Err(Damage::Empty);
        }
        let rest = bytes.strip_prefix(&self.magic).ok_or_else(|| Damage::Foreign(self.name()))?;
        let (counted, rest) = rest.split_first_chunk::<COUNTED>().ok_or(Damage::Length)?;
        let [v0, v1, v2, v3, length @ ..] = *counted;
        // Before all else: of another format, all else may be another.
        let found = u32::from_be_bytes([v0, v1, v2, v3]);
        if found != self.version {
            return Err(Damage::Version { found, known: self.version });
        }
        let (expected, body) = rest.split_first_chunk::<CHECKSUM>().ok_or(Damage::Length)?;
        if u64::from_be_bytes(length) != body.len() as u64 {
            return Err(Damage::Length);
        }
        if checksum(counted, body) != *expected {
            return Err(Damage::Checksum);
        }
        Ok(body)
    }

    /// What there is to be read, for [`open`](Self::open): of a file of this kind one byte more than it says that it has, of
    /// anything else no more than a header. So what has no end does no harm.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(self, mut from: impl Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        from.by_ref().take(HEADER).read_to_end(&mut bytes)?;
        if let Some(length) = self.body_length(&bytes) {
            from.take(length.saturating_add(1)).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// How many bytes the body has, by a header. `None`: it is not one of this kind and format.
    fn body_length(self, header: &[u8]) -> Option<u64> {
        let (counted, _) = header.strip_prefix(&self.magic)?.split_first_chunk::<COUNTED>()?;
        let [v0, v1, v2, v3, length @ ..] = *counted;
        (u32::from_be_bytes([v0, v1, v2, v3]) == self.version).then(|| u64::from_be_bytes(length))
    }

    fn name(self) -> &'static str {
        if self == Self::BACKUP { "backup" } else { "file of policies" }
    }
}

fn checksum(counted: &[u8; COUNTED], body: &[u8]) -> [u8; CHECKSUM] {
    Sha256::new().chain_update(counted).chain_update(body).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"policies of old";
    const SEAL: Seal = Seal::POLICY_FILE;

    #[test]
    fn what_was_sealed_is_opened() {
        assert_eq!(SEAL.open(&SEAL.seal(BODY)), Ok(BODY));
        assert_eq!(SEAL.open(&SEAL.seal(b"")), Ok(&b""[..]));
        assert_eq!(SEAL.seal(b"").len(), 52, "the header that policy_file.proto and backup.proto describe");
        assert_eq!(&SEAL.seal(b"")[..8], b"\x89CFDP\r\n\x1a");
        assert_eq!(&Seal::BACKUP.seal(b"")[..8], b"\x89CFDB\r\n\x1a");
    }

    #[test]
    fn what_has_no_end_is_read_no_further_than_it_takes_to_refuse_it() {
        let whole = SEAL.seal(BODY);
        assert_eq!(SEAL.read(&whole[..]).unwrap(), whole);
        let endless = SEAL.read(whole.chain(io::repeat(0))).unwrap();
        assert_eq!((endless.len(), SEAL.open(&endless)), (whole.len() + 1, Err(Damage::Length)));
        for foreign in [&b""[..], b"text", &Seal::BACKUP.seal(BODY), &[&whole[..11], b"\x02"].concat()] {
            let read = SEAL.read(foreign.chain(io::repeat(0))).unwrap();
            assert_eq!(read.len(), 52);
            assert!(SEAL.open(&read).is_err(), "{foreign:?}");
        }
    }

    #[test]
    fn a_file_cut_at_any_offset_is_refused() {
        let whole = SEAL.seal(BODY);
        for end in 0..whole.len() {
            let damage = SEAL.open(&whole[..end]).unwrap_err();
            let expected = match end {
                0 => Damage::Empty,
                1..8 => Damage::Foreign("file of policies"),
                _ => Damage::Length,
            };
            assert_eq!(damage, expected, "cut at {end}");
        }
        assert_eq!(SEAL.open(&[&whole[..], b"x"].concat()), Err(Damage::Length));
    }

    #[test]
    fn a_file_with_any_bit_flipped_is_refused() {
        let whole = SEAL.seal(BODY);
        for (index, bit) in (0..whole.len()).flat_map(|index| (0..8).map(move |bit| (index, bit))) {
            let mut flipped = whole.clone();
            flipped[index] ^= 1 << bit;
            assert!(SEAL.open(&flipped).is_err(), "bit {bit} of byte {index}");
        }
    }

    #[test]
    fn a_file_of_another_kind_or_format_is_refused_as_such() {
        assert_eq!(SEAL.open(&Seal::BACKUP.seal(BODY)), Err(Damage::Foreign("file of policies")));
        let mut later = SEAL.seal(BODY);
        later[11] = 2;
        assert_eq!(SEAL.open(&later), Err(Damage::Version { found: 2, known: 1 }));
    }
}
