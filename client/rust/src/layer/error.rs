use crate::classify::sources;
use crate::error::Error;
use crate::transport::status_of_rejection;
use std::error::Error as StdError;
use std::fmt;

/// An error of any type, as tower's middleware passes it on.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A request that brought no response.
///
/// Its source is the inner service's own error. For a verdict of the SDK it is a gRPC status, so that tonic's clients
/// show one: UNAVAILABLE where the breaker is open or the service disabled, DEADLINE_EXCEEDED where time ran out,
/// RESOURCE_EXHAUSTED where the bulkhead is full. [`find`](Self::find) tells such a status from the service's own.
#[derive(Debug)]
pub struct LayerError {
    service: String,
    error: Error<BoxError>,
    /// Stands in as the source of a verdict of the SDK.
    status: Option<BoxError>,
}

impl LayerError {
    pub(super) fn new(service: &str, error: Error<BoxError>) -> Self {
        let (error, status) = match error.into_inner() {
            Ok(inner) => (Error::Inner(inner), None),
            Err(rejection) => {
                let status = status_of_rejection(service, &rejection);
                (rejection.widen(), Some(status))
            }
        };
        Self { service: service.to_owned(), error, status }
    }

    /// The name of the service that was called.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Why there is no response.
    pub fn error(&self) -> &Error<BoxError> {
        &self.error
    }

    /// Why there is no response.
    pub fn into_error(self) -> Error<BoxError> {
        self.error
    }

    /// The layer's error behind another one, such as the status that a tonic client returned.
    ///
    /// ```
    /// # let status = tonic::Status::unavailable("");
    /// if let Some(error) = cofferdam::layer::LayerError::find(&status) {
    ///     if let cofferdam::Error::Open { retry_after, .. } = error.error() {
    ///         println!("{} is left alone for {retry_after:?}", error.service());
    ///     }
    /// }
    /// ```
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        sources(error).find_map(|source| source.downcast_ref())
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.service, self.error)
    }
}

impl StdError for LayerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match (&self.error, &self.status) {
            (Error::Inner(error), _) => Some(&**error),
            (_, status) => status.as_deref().map(|status| -> &(dyn StdError + 'static) { status }),
        }
    }
}
