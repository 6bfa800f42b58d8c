//! Messages of the contract as text: their JSON form, their fields by path, what differs between two.
//!
//! All of it goes by the contract's own descriptors. There is no second model of a policy here, so a field that is added to
//! the contract is printed, set, compared and read from files without a line of code.

mod assign;
mod diff;
mod fields;
mod names;
mod shorthand;
mod shown;

pub(crate) use self::assign::{Assignment, assigned};
pub(crate) use self::diff::{Change, changes};
pub(crate) use self::fields::{Field, fields};
pub(crate) use self::shorthand::{duration, short_name};
pub(crate) use self::shown::shown;

use cofferdam_proto::{FILE_DESCRIPTOR_SET, v1};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;
use std::sync::LazyLock;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap_or_default());

/// A message whose name in the contract is known.
pub(crate) trait Named: Message + Default {
    /// The name, with its package.
    const NAME: &'static str;
}

macro_rules! named {
    ($($message:ident)*) => {
        $(impl Named for v1::$message {
            const NAME: &'static str = concat!("cofferdam.v1.", stringify!($message));
        })*
    };
}

named! {
    DiffRevisionsResponse Event ExecuteWithIsolationResponse ExplainResponse FallbackConfig GetConvergenceResponse
    GetDependencyGraphResponse GetIsolationStatsResponse GetRevisionResponse GetServiceIsolationInfoResponse
    HoldBreakerResponse InstanceStats IsolatedService IsolationPolicy ListEventsResponse ListIsolatedServicesResponse ListRevisionsResponse
    RegisterServiceRequest RegisterServiceResponse ReleaseBreakerResponse ResetBreakerResponse Revision RollbackResponse Service
    SetIsolationLevelResponse TripBreakerResponse UnregisterServiceResponse UpdateFallbackConfigResponse
    UpdateIsolationPolicyResponse UpdateServiceHealthResponse WaitForConvergenceResponse
}

/// What is wrong with a message, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub(crate) struct Fault {
    /// The field, by its path. Empty: the whole.
    pub(crate) path: String,
    /// What is wrong.
    pub(crate) what: String,
}

impl Fault {
    /// At a path.
    pub(crate) fn at(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into() }
    }
}

/// The descriptor of a message.
///
/// # Errors
///
/// [`Fault`]: this build's contract has no such message, which tests rule out.
pub(crate) fn descriptor<M: Named>() -> Result<MessageDescriptor, Fault> {
    POOL.get_message_by_name(M::NAME)
        .ok_or_else(|| Fault::at("", format!("{} is not in the contract of this build", M::NAME)))
}

/// A message with its descriptor, which is what prints as JSON.
///
/// # Errors
///
/// As [`descriptor`].
pub(crate) fn dynamic<M: Named>(message: &M) -> Result<DynamicMessage, Fault> {
    let descriptor = descriptor::<M>()?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| Fault::at("", error.to_string()))
}

/// A message from its JSON form, in which enum values may go without their prefix, in lower case, and durations may have
/// any unit: `enhanced`, `250ms`.
///
/// # Errors
///
/// [`Fault`] with the path of the first field at fault.
pub(crate) fn read<M: Named>(mut value: Value) -> Result<M, Fault> {
    let descriptor = descriptor::<M>()?;
    names::check(&value, &descriptor)?;
    shorthand::expand(&mut value, &descriptor);
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(value, &mut track);
    let read = DynamicMessage::deserialize(descriptor, deserializer);
    let dynamic = read.map_err(|error| {
        let path = track.path().to_string();
        Fault::at(if path == "." { String::new() } else { path }, error.to_string())
    })?;
    dynamic.transcode_to().map_err(|error| Fault::at("", error.to_string()))
}

#[cfg(test)]
mod tests;
