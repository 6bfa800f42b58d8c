//! What an error of the manager says, taken apart.

use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// An error of the manager: its code and the details that the contract promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The gRPC status code.
    pub code: Code,
    /// The reason of its `ErrorInfo`, of domain `cofferdam`. Empty: it has none.
    pub reason: String,
    /// The metadata of its `ErrorInfo`.
    pub metadata: HashMap<String, String>,
    /// The paths of the fields at fault, of its `BadRequest`.
    pub fields: Vec<String>,
    /// The message, for people.
    pub message: String,
}

impl Refusal {
    /// Takes a status apart.
    ///
    /// # Panics
    ///
    /// If its `ErrorInfo` is of another domain.
    pub fn of(status: &Status) -> Self {
        let info = status.get_details_error_info();
        if let Some(info) = &info {
            assert_eq!(info.domain, "cofferdam", "the domain of {info:?}");
        }
        let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
        let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        for violation in &violations {
            assert!(!violation.description.is_empty(), "{} is at fault, and nobody says why", violation.field);
        }
        Self {
            code: status.code(),
            reason,
            metadata,
            fields: violations.into_iter().map(|violation| violation.field).collect(),
            message: status.message().to_owned(),
        }
    }

    /// A number of the metadata.
    ///
    /// # Panics
    ///
    /// If it is missing or no number.
    pub fn number(&self, key: &str) -> u64 {
        let value = self.metadata.get(key).unwrap_or_else(|| panic!("no {key} in {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("{key} is no number in {self:?}"))
    }
}
