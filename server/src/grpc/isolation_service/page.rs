//! ListIsolatedServices: pages that neither skip nor repeat, whatever comes and goes between them.
//!
//! A page goes on after the last *name* of the one before, not after so many entries: a service that stays is listed
//! once. A page ends early where it would outgrow what a client takes in one message.

use cofferdam_core::name::ServiceKey;
use cofferdam_proto::v1;
use prost::Message;

use super::{IsolationApi, read_mask::ReadMask};
use crate::{
    error::Error,
    registry::{service_key, validate},
};

const DEFAULT_SIZE: usize = 100;
pub(in crate::grpc) const MAX_SIZE: usize = 1_000;

/// Where a page ends early: half of what gRPC clients take by default.
pub(super) const MAX_BYTES: usize = 2 * 1024 * 1024;

impl IsolationApi {
    pub(super) fn page(
        &self,
        request: &v1::ListIsolatedServicesRequest,
    ) -> Result<v1::ListIsolatedServicesResponse, Error> {
        let namespace = validate::namespaces(&request.namespace)?;
        let size = page_size(request.page_size)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(read_token(token)?),
        };
        let is_elsewhere = |key: &&ServiceKey| namespace.as_ref().is_some_and(|namespace| key.namespace != *namespace);
        if after.as_ref().filter(is_elsewhere).is_some() {
            return Err(Error::invalid("page_token", "is of a page of another namespace"));
        }
        let mask = ReadMask::read(request.read_mask.as_ref())?;
        let mut services = Vec::new();
        let mut contained = Vec::new();
        let mut bytes = 0;
        let mut last: Option<ServiceKey> = None;
        let mut more = false;
        self.local.registry.scan(namespace.as_ref(), after.as_ref(), |listed| {
            let mut service = mask.describe(listed);
            self.complete(listed.key(), &mut service);
            mask.keep(&mut service);
            bytes += service.encoded_len();
            more = services.len() == size || (bytes > MAX_BYTES && !services.is_empty());
            if !more {
                last = Some(listed.key().clone());
                services.push(service);
                contained.extend(listed.registered().containment().is_some().then(|| listed.key().clone()));
            }
            !more
        });
        let containment =
            |key: ServiceKey| Some((key.to_string(), self.containment(&*self.local.registry.get(&key)?)?));
        let containments = contained.into_iter().filter_map(containment).collect();
        let next_page_token = last.filter(|_| more).map(|last| last.to_string()).unwrap_or_default();
        Ok(v1::ListIsolatedServicesResponse { services, next_page_token, stale_for: self.stale_for(), containments })
    }
}

pub(super) fn page_size(asked: i32) -> Result<usize, Error> {
    match usize::try_from(asked) {
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) if size <= MAX_SIZE => Ok(size),
        _ => Err(Error::invalid("page_size", format!("must be in [0, {MAX_SIZE}], not {asked}"))),
    }
}

/// A token is the last service of its page. It is nobody's business but ours.
pub(super) fn read_token(token: &str) -> Result<ServiceKey, Error> {
    service_key(token).ok_or_else(|| Error::invalid("page_token", "must be the next_page_token of the page before"))
}
