//! Policies, from proto3 JSON through the contract's own types, as a manager and an SDK read them.

use cofferdam_core::policy::Policy;
use cofferdam_core::wire::effective_policy;
use cofferdam_proto::{FILE_DESCRIPTOR_SET, v1};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;
use std::sync::LazyLock;

/// Why a policy is not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is not a message of the contract.
    Unreadable(String),
    /// The fields at fault.
    Invalid(Vec<String>),
}

static DESCRIPTOR: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the contract's own descriptor");
    pool.get_message_by_name("cofferdam.v1.IsolationPolicy").expect("the contract has the message")
});

/// The message that holds a policy, as the contract describes it.
pub(crate) fn descriptor() -> MessageDescriptor {
    DESCRIPTOR.clone()
}

/// A policy as an operator writes it.
pub(crate) fn read(written: &Value) -> Result<Policy, Refused> {
    let unreadable = |error: &dyn std::fmt::Display| Refused::Unreadable(error.to_string());
    let message = DynamicMessage::deserialize(descriptor(), written).map_err(|error| unreadable(&error))?;
    let policy: v1::IsolationPolicy = message.transcode_to().map_err(|error| unreadable(&error))?;
    effective_policy(&policy).map_err(|invalid| {
        Refused::Invalid(invalid.violations().iter().map(|violation| violation.path.clone()).collect())
    })
}
