//! What tonic's errors mean: facts that every caller of a gRPC service needs, and none should work out anew.

use std::error::Error;
use tonic::{Code, ConnectError, Status, TimeoutExpired};

/// The metadata in which a service says when to come again (gRFC A6).
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What an error says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The code that is meant. tonic says CANCELLED where its own timer ran out, and CANCELLED or UNKNOWN where the
    /// connection closed or broke under the request; nobody has cancelled such a call, for who does sees no status at all.
    pub code: Code,
    /// Whether the service may have seen the call. False: no connection could be made.
    pub may_have_reached: bool,
    /// The value of [`PUSHBACK`], by [`pushback`]. `None`: the service has not said.
    pub pushback: Option<&'a [u8]>,
}

impl<'a> Facts<'a> {
    /// What an error and its sources say. `None`: none of them is tonic's.
    pub fn of(error: &'a (dyn Error + 'static)) -> Option<Self> {
        let status = sources(error).find_map(|source| source.downcast_ref::<Status>());
        let unavailable = || is_transport(error).then_some(Code::Unavailable);
        let said = status.map(Status::code).or_else(unavailable)?;
        Some(Self::new(error, status, said))
    }

    /// What a status and its sources say.
    pub fn of_status(status: &'a Status) -> Self {
        Self::new(status, Some(status), status.code())
    }

    fn new(error: &(dyn Error + 'static), status: Option<&'a Status>, said: Code) -> Self {
        let code = match said {
            _ if is_timeout(error) => Code::DeadlineExceeded,
            Code::Cancelled | Code::Unknown if is_transport(error) => Code::Unavailable,
            said => said,
        };
        let values = status.into_iter().flat_map(|status| status.metadata().get_all(PUSHBACK));
        let pushback = pushback(values.map(|value| value.as_bytes()));
        Self { code, may_have_reached: !has::<ConnectError>(error), pushback }
    }
}

/// What a service says with the values of [`PUSHBACK`]. Empty, which is no number: it has given several, and gRPC's own
/// clients take that for "not again". `None`: it has given none.
pub fn pushback<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let mut values = values.into_iter();
    let first = values.next()?;
    Some(if values.next().is_none() { first } else { b"" })
}

/// Whether the caller's own timer in tonic ran out, as apart from a service that says DEADLINE_EXCEEDED itself.
pub fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    has::<TimeoutExpired>(error)
}

/// Whether tonic speaks for itself, of its connection or its timer, and no service has answered.
pub fn is_transport(error: &(dyn Error + 'static)) -> bool {
    has::<tonic::transport::Error>(error) || has::<ConnectError>(error) || is_timeout(error)
}

fn has<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    sources(error).any(|source| source.is::<E>())
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn facts(code: Code) -> Option<Facts<'static>> {
        Some(Facts { code, may_have_reached: true, pushback: None })
    }

    #[test]
    fn a_timer_that_ran_out_is_no_cancellation() {
        let timed_out = Status::from_error(Box::new(TimeoutExpired(())));
        assert_eq!(timed_out.code(), Code::Cancelled, "tonic's own word");
        assert_eq!(Facts::of(&timed_out), facts(Code::DeadlineExceeded));
        assert_eq!(Facts::of(&TimeoutExpired(())), facts(Code::DeadlineExceeded));
        assert!(is_timeout(&timed_out) && !is_timeout(&Status::deadline_exceeded("by the service itself")));
    }

    #[test]
    fn a_services_own_word_is_taken_as_it_is() {
        assert_eq!(Facts::of(&Status::cancelled("by the service itself")), facts(Code::Cancelled));
        let mut busy = Status::resource_exhausted("busy");
        busy.metadata_mut().insert(PUSHBACK, "250".parse().unwrap());
        assert_eq!(Facts::of(&busy).unwrap().pushback, Some(&b"250"[..]));
        busy.metadata_mut().append(PUSHBACK, "10".parse().unwrap());
        assert_eq!(Facts::of(&busy).unwrap().pushback, Some(&b""[..]), "two words are none");
        assert_eq!(Facts::of(&std::io::Error::other("not of gRPC")), None);
    }

    #[tokio::test]
    async fn what_has_no_connection_has_reached_nobody() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        let error = endpoint.connect().await.unwrap_err();
        let unreached = Some(Facts { code: Code::Unavailable, may_have_reached: false, pushback: None });
        assert_eq!(Facts::of(&error), unreached);
        assert_eq!(Facts::of(&Status::from_error(error.into())), unreached);
    }

    /// tonic says UNKNOWN, which nobody asks again for.
    #[tokio::test]
    async fn a_connection_that_breaks_under_a_call_is_unavailable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let killed = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // An empty SETTINGS, as every server begins; then what came of the call is read, and the process is gone.
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut seen = Vec::new();
            while !seen.windows(4).any(|seen| seen == b"asks") {
                assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
            }
        };
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let mut client = crate::v1::isolation_service_client::IsolationServiceClient::new(channel);
        let request = crate::v1::GetServiceIsolationInfoRequest { service: "asks".to_owned(), ..Default::default() };
        let (answer, ()) = tokio::join!(client.get_service_isolation_info(request), killed);
        let status = answer.unwrap_err();
        assert_eq!(Facts::of_status(&status), facts(Code::Unavailable).unwrap(), "{status:?}");
    }
}
