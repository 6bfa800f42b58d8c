//! The header that tells a whole file of ours from anything else.

use sha2::{Digest as _, Sha256};

/// What the file begins with. Its first byte is no text, and its end is lost where somebody treats it as text.
const MAGIC: [u8; 8] = *b"\x89CFDP\r\n\x1a";
/// The format that is written, and the only one that is read.
const VERSION: u32 = 1;
/// The version and the length of what follows the header.
const COUNTED: usize = 12;
const CHECKSUM: usize = 32;

/// Why some bytes are not a whole file of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it is empty")]
    Empty,
    #[error("it does not begin as a file of policies does")]
    Foreign,
    #[error("it is of format {0}; this release reads format {VERSION}")]
    Version(u32),
    #[error("it is torn, or something follows it")]
    Length,
    #[error("its checksum is another")]
    Checksum,
}

/// The file with this body.
pub(super) fn seal(body: &[u8]) -> Vec<u8> {
    let mut counted = [0; COUNTED];
    let (version, length) = counted.split_at_mut(4);
    version.copy_from_slice(&VERSION.to_be_bytes());
    length.copy_from_slice(&(body.len() as u64).to_be_bytes());
    [&MAGIC[..], &counted, &checksum(&counted, body), body].concat()
}

/// The body of a file.
pub(super) fn open(bytes: &[u8]) -> Result<&[u8], Damage> {
    if bytes.is_empty() {
        return Err(Damage::Empty);
    }
    let rest = bytes.strip_prefix(&MAGIC).ok_or(Damage::Foreign)?;
    let (counted, rest) = rest.split_first_chunk::<COUNTED>().ok_or(Damage::Length)?;
    let [v0, v1, v2, v3, length @ ..] = *counted;
    // Before all else: of another format, all else may be another.
    match u32::from_be_bytes([v0, v1, v2, v3]) {
        VERSION => {}
        other => return Err(Damage::Version(other)),
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

fn checksum(counted: &[u8; COUNTED], body: &[u8]) -> [u8; CHECKSUM] {
    Sha256::new().chain_update(counted).chain_update(body).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"policies of old";

    #[test]
    fn what_was_sealed_is_opened() {
        assert_eq!(open(&seal(BODY)), Ok(BODY));
        assert_eq!(open(&seal(b"")), Ok(&b""[..]));
        assert_eq!(seal(b"").len(), 52, "the header that policy_file.proto describes");
    }

    #[test]
    fn a_file_cut_at_any_offset_is_refused() {
        let whole = seal(BODY);
        for end in 0..whole.len() {
            let damage = open(&whole[..end]).unwrap_err();
            let expected = match end {
                0 => Damage::Empty,
                1..8 => Damage::Foreign,
                _ => Damage::Length,
            };
            assert_eq!(damage, expected, "cut at {end}");
        }
        assert_eq!(open(&[&whole[..], b"x"].concat()), Err(Damage::Length));
    }

    #[test]
    fn a_file_with_any_bit_flipped_is_refused() {
        let whole = seal(BODY);
        for (index, bit) in (0..whole.len()).flat_map(|index| (0..8).map(move |bit| (index, bit))) {
            let mut flipped = whole.clone();
            flipped[index] ^= 1 << bit;
            assert!(open(&flipped).is_err(), "bit {bit} of byte {index}");
        }
    }

    #[test]
    fn a_file_of_another_format_is_refused_as_such() {
        let mut later = seal(BODY);
        later[11] = 2;
        assert_eq!(open(&later), Err(Damage::Version(2)));
    }
}
