use super::encode::to_wire;
use super::orders::orders_to_wire;
use crate::orders::Orders;
use crate::policy::Policy;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The fingerprint of an effective policy, and of orders where there are any: manager and instance compute it apart and compare, which proves that the
/// instance enforces what the manager pushed.
///
/// It is the first 16 bytes of the SHA-256 of the encoding of [`to_wire`], followed by that of [`orders_to_wire`] where
/// there are orders: the fields in the order of their numbers, no maps, so that equal policies have equal fingerprints.
/// Displayed as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyHash([u8; PolicyHash::LEN]);

/// The bytes are not as many as a fingerprint has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a policy hash has {len} bytes, not {0}", len = PolicyHash::LEN)]
pub struct InvalidPolicyHash(usize);

/// The fingerprint of a policy alone.
pub fn policy_hash(policy: &Policy) -> PolicyHash {
    of(&to_wire(policy).encode_to_vec())
}

/// The fingerprint of a policy and of what operators have ordered beside it. Without orders, it is that of the policy.
pub fn fingerprint(policy: &Policy, orders: &Orders) -> PolicyHash {
    let mut bytes = to_wire(policy).encode_to_vec();
    if !orders.is_empty() {
        bytes.extend(orders_to_wire(orders).encode_to_vec());
    }
    of(&bytes)
}

fn of(bytes: &[u8]) -> PolicyHash {
    let digest = Sha256::digest(bytes);
    let mut hash = [0; PolicyHash::LEN];
    for (byte, digest) in hash.iter_mut().zip(digest) {
        *byte = digest;
    }
    PolicyHash(hash)
}

impl PolicyHash {
    /// Its length in bytes.
    pub const LEN: usize = 16;

    /// Its bytes, as messages carry them.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl TryFrom<&[u8]> for PolicyHash {
    type Error = InvalidPolicyHash;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidPolicyHash> {
        bytes.try_into().map(Self).map_err(|_| InvalidPolicyHash(bytes.len()))
    }
}

impl fmt::Display for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests;
