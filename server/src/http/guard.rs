//! What keeps web pages away from a manager that does not authenticate.
//!
//! A browser on the operator's machine reaches loopback, on behalf of any page that it shows. It sends what a page asks
//! for, and tells where the page came from; that is all there is to go by.
//!
//! - A page of elsewhere cannot read answers, as none allows it to. It could write: so a write whose `Origin` is not this
//!   manager's own is refused, and the types that a page may send without asking are not taken.
//! - A page whose name is made to resolve to this machine (DNS rebinding) is of the same origin. Its requests still carry
//!   that name: so only hosts are answered that are an address, `localhost`, or named by `listen.hosts`. On a manager that
//!   others cannot reach, an address has to be of this machine.
//!
//! Callers that are no browsers send no `Origin`, and whatever `Host` is in their URL.

use std::net::IpAddr;

use http::{Method, StatusCode, Version, header, request::Parts, uri::Authority};

use super::{HttpOptions, problem::Problem};

/// Decides who is answered.
#[derive(Debug)]
pub(super) struct Guard {
    is_exposed: bool,
    hosts: Vec<String>,
}

impl Guard {
    pub(super) fn new(options: HttpOptions) -> Self {
        let HttpOptions { is_exposed, hosts } = options;
        Self { is_exposed, hosts }
    }

    /// # Errors
    /// 403 with what mends it; what [`hosts`] says.
    pub(super) fn check(&self, head: &Parts) -> Result<(), Problem> {
        for authority in hosts(head)? {
            if !self.knows(authority.host()) {
                let host = authority.host();
                return Err(forbidden(format!(
                    "this manager does not go by the name of {host}: use its address, or add the name to listen.hosts"
                )));
            }
        }
        if matches!(head.method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        for origin in head.headers.get_all(header::ORIGIN) {
            if !origin.to_str().is_ok_and(|origin| self.is_own(origin, head)) {
                return Err(forbidden("a web page of elsewhere may not change anything here"));
            }
        }
        Ok(())
    }

    /// Whether an origin, `scheme://host:port`, is where the request itself went, or of a host that was named: other
    /// ports of this machine have pages of others.
    fn is_own(&self, origin: &str, head: &Parts) -> bool {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let Some(origin) = authority.and_then(|text| text.parse::<Authority>().ok()) else { return false };
        let host = head.headers.get(header::HOST).map(|host| host.as_bytes());
        let asked = head.uri.authority().map(|asked| asked.as_str().as_bytes()).or(host);
        asked.is_some_and(|asked| asked.eq_ignore_ascii_case(origin.as_str().as_bytes()))
            || self.is_named(origin.host())
    }

    /// Whether a host, without its port, is one that this manager goes by.
    fn knows(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return self.is_exposed || address.to_canonical().is_loopback();
        }
        self.is_named(host) || host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost")
    }

    fn is_named(&self, host: &str) -> bool {
        let name = host.strip_suffix('.').unwrap_or(host);
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The hosts that a request is for: that of its header, and that of its target, where they are there.
///
/// # Errors
/// 400 for what RFC 9112 has answered so in section 3.2: HTTP/1.1 without a `Host`, two of them, or one that is no host.
pub(super) fn hosts(head: &Parts) -> Result<Vec<Authority>, Problem> {
    let at_fault = |what: &str| Problem::new(StatusCode::BAD_REQUEST, what);
    let named: Vec<_> = head.headers.get_all(header::HOST).iter().map(|host| host.as_bytes()).collect();
    match named.len() {
        0 if head.version == Version::HTTP_11 => return Err(at_fault("there is no Host header")),
        0 | 1 => {}
        _ => return Err(at_fault("there are two Host headers")),
    }
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = |host| Authority::try_from(host).ok().filter(is_host_and_port);
    let hosts = named.into_iter().chain(authority).map(host).collect::<Option<_>>();
    hosts.ok_or_else(|| at_fault("the Host header is no host"))
}

/// Whether an authority is a host with a port or without, and nothing else.
fn is_host_and_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host()).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
    port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok())
}

fn forbidden(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, detail)
}

#[cfg(test)]
mod tests;
