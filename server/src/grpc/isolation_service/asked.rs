//! Who makes a write: what the request's metadata say, or else where it came from.

use tonic::{Request, Status};

use crate::{
    error::Error,
    grpc::error::status,
    peer::Peer,
    registry::{ACTOR_METADATA, Actor, Asked},
};

/// A request and who makes it.
pub(super) fn asked<T>(request: Request<T>) -> Result<Asked<T>, Status> {
    let (metadata, extensions, request) = request.into_parts();
    let mut named = metadata.get_all(ACTOR_METADATA).iter();
    let actor = match (named.next(), named.next()) {
        (None, _) => Ok(extensions.get::<Peer>().map(|peer| Actor::at(peer.address)).unwrap_or_default()),
        (Some(name), None) => Actor::new(name.as_bytes()),
        (Some(_), Some(_)) => Err(Error::invalid(ACTOR_METADATA, "must be there once")),
    };
    let actor = actor.map_err(|error| status(&error))?;
    Ok(Asked { request, actor })
}
