use super::*;
use http::{Request, Version};

/// Whether a write of this host and origin passes.
fn passes(guard: &Guard, host: &str, origin: &str) -> bool {
    let mut request = Request::builder().method("PUT").uri("/v1").header(header::HOST, host);
    if !origin.is_empty() {
        request = request.header(header::ORIGIN, origin);
    }
    guard.check(&request.body(()).unwrap().into_parts().0).is_ok()
}

#[test]
fn a_host_is_one_with_a_port_or_without() {
    let guard = Guard::new(HttpOptions::default());
    let check = |hosts: &[&str]| {
        let request = Request::get("/v1/services");
        let request = hosts.iter().fold(request, |request, host| request.header(header::HOST, *host));
        let checked = guard.check(&request.body(()).unwrap().into_parts().0);
        checked.map_err(|problem| problem.into_response().status())
    };
    let refused = Err(StatusCode::BAD_REQUEST);
    assert_eq!(check(&["localhost", "localhost"]), refused);
    for host in ["user@localhost", "localhost@localhost", "localhost:99999", "localhost:x", ""] {
        assert_eq!(check(&[host]), refused, "{host}");
    }
    for host in ["localhost", "localhost:", "localhost:7420", "[::1]:7420"] {
        assert_eq!(check(&[host]), Ok(()), "{host}");
    }
}

#[test]
fn on_loopback_only_names_of_this_machine_are_known() {
    let guard = Guard::new(HttpOptions::default());
    for host in ["localhost", "LOCALHOST:7420", "localhost.:7420", "127.0.0.1:7420", "127.9.9.9", "[::1]:7420", "[::1]"]
    {
        assert!(passes(&guard, host, ""), "{host}");
    }
    for host in
        ["evil.example", "localhost.evil.example", "10.0.0.1:7420", "[::2]:1", "127.0.0.1.evil.example", "0.0.0.0"]
    {
        assert!(!passes(&guard, host, ""), "{host}");
    }
    for (origin, is_own) in [
        ("http://localhost:7420", true),
        ("https://LOCALHOST:7420", true),
        ("http://localhost:3000", false),
        ("http://localhost", false),
        ("http://127.0.0.1:7420", false),
        ("null", false),
        ("http://evil.example", false),
        ("file://", false),
        ("localhost", false),
        ("http://localhost/x@evil.example", false),
    ] {
        assert_eq!(passes(&guard, "localhost:7420", origin), is_own, "{origin}");
    }
}

#[test]
fn where_others_come_addresses_are_known_and_names_that_were_given() {
    let guard = Guard::new(HttpOptions { is_exposed: true, hosts: vec!["Manager.example".to_owned()] });
    for host in ["10.0.0.1:7420", "[2001:db8::1]", "manager.example:7420", "localhost"] {
        assert!(passes(&guard, host, &format!("http://{host}")), "{host}");
    }
    assert!(passes(&guard, "10.0.0.1:7420", "https://manager.example"), "named, wherever it is behind");
    assert!(!passes(&guard, "10.0.0.1:7420", "http://203.0.113.9"), "an address is no name that was given");
    assert!(!passes(&guard, "other.example", "") && !passes(&guard, "10.0.0.1", "http://other.example"));
}

#[test]
fn a_host_is_looked_at_wherever_it_stands() {
    let guard = Guard::new(HttpOptions::default());
    let check = |request: http::request::Builder| guard.check(&request.body(()).unwrap().into_parts().0);
    let status = |request| check(request).map_err(|problem| problem.into_response().status());
    // HTTP/2 has it in the URI.
    let forbidden = Err(StatusCode::FORBIDDEN);
    assert_eq!(status(Request::get("http://evil.example/v1").version(Version::HTTP_2)), forbidden);
    assert_eq!(status(Request::get("http://evil.example/v1").header("host", "localhost")), forbidden);
    assert!(check(Request::get("/v1").header("host", "localhost").header("host", "evil.example")).is_err());
    assert!(check(Request::get("/v1").header("host", "not a host")).is_err());
    assert_eq!(status(Request::get("/v1")), Err(StatusCode::BAD_REQUEST), "HTTP/1.1 has one");
    let old = Request::get("/v1").version(Version::HTTP_10);
    assert!(check(old).is_ok(), "HTTP/1.0 has none, and browsers do not speak it");
    let other = Request::get("/v1").header("host", "localhost").header("origin", "http://evil.example");
    assert!(check(other).is_ok(), "it cannot read the answer");
}
