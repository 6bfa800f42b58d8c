//! Ending a connection from inside a request that it carries.

use tokio_util::sync::CancellationToken;

/// The listener puts one into every request's extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct HangUp(CancellationToken);

impl HangUp {
    /// One that fires with its connection's own token.
    pub(crate) fn new(connection: CancellationToken) -> Self {
        Self(connection)
    }

    /// Fires to end the connection; ends it when it is fired.
    pub(crate) fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}
