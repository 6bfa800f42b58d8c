//! The body of the file that keeps policies: a message of the contract's own, of which each policy is read as a push is.

use super::wire::from_update;
use crate::client::Identity;
use crate::policy_file::Kept;
use crate::sync::message::Update;
use cofferdam_core::wire::{fingerprint, orders_to_wire, revision_to_wire, to_wire};
use cofferdam_proto::storage::v1::PolicyFile;
use cofferdam_proto::v1;
use prost::Message as _;

/// Bytes of a policy's tag and length in the message around it.
const FRAME: u64 = 1 + 10;

/// Why what the header vouches for is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusableBody {
    #[error("it holds something else: {0}")]
    Undecodable(String),
    #[error("it is of application {application:?}, namespace {namespace:?}")]
    Foreign { application: String, namespace: String },
}

/// A policy as the file holds it.
#[derive(Debug)]
pub(crate) struct EncodedPolicy {
    update: v1::PolicyUpdate,
    len: u64,
}

impl EncodedPolicy {
    /// The most bytes that it takes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn service(&self) -> &str {
        &self.update.service
    }
}

pub(crate) fn encode_policy(kept: &Kept) -> EncodedPolicy {
    let update = v1::PolicyUpdate {
        service: kept.service.to_string(),
        revision: Some(revision_to_wire(kept.revision)),
        policy_hash: fingerprint(&kept.policy, &kept.orders).as_bytes().to_vec().into(),
        policy: Some(to_wire(&kept.policy)),
        enabled: kept.is_enabled,
        // Nothing is on trial that a process begins with.
        insisted: false,
        as_of: None,
        orders: (!kept.orders.is_empty()).then(|| orders_to_wire(&kept.orders)),
    };
    let len = update.encoded_len() as u64 + FRAME;
    EncodedPolicy { update, len }
}

/// The body that holds these.
pub(crate) fn encode_policies(identity: &Identity, policies: Vec<EncodedPolicy>) -> Vec<u8> {
    let Identity { application, namespace, .. } = identity.clone();
    let policies = policies.into_iter().map(|policy| policy.update).collect();
    PolicyFile { application, namespace, policies }.encode_to_vec()
}

/// What a body holds, where it is of the same application and namespace.
pub(crate) fn decode_policies(body: &[u8], identity: &Identity) -> Result<Vec<Update>, UnusableBody> {
    let file = PolicyFile::decode(body).map_err(|error| UnusableBody::Undecodable(error.to_string()))?;
    let PolicyFile { application, namespace, policies } = file;
    if application != identity.application || namespace != identity.namespace {
        return Err(UnusableBody::Foreign { application, namespace });
    }
    Ok(policies.into_iter().map(from_update).collect())
}
