use super::*;

#[test]
fn urls_are_checked_before_they_are_used() {
    for url in ["http://127.0.0.1:7420", "http://[::1]:7420/", "http://manager.internal"] {
        assert_eq!(&*Manager::new(url, Keepalive::default()).unwrap().url, url);
    }
    let reason = |url: &str| Manager::new(url, Keepalive::default()).unwrap_err().0;
    assert_eq!(reason("127.0.0.1:7420"), "must begin with http://");
    assert_eq!(reason("ftp://127.0.0.1"), "must begin with http://");
    assert!(reason("https://127.0.0.1:7420").contains("no TLS"));
    for url in ["http://h:99999", "http://h:0", "http://h:x", "http://h:"] {
        assert!(reason(url).contains("port"), "{url}: {}", reason(url));
    }
    for url in ["http://h:7420/path", "http://h:7420?x", "http://h:7420/#x"] {
        assert!(reason(url).contains("path"), "{url}: {}", reason(url));
    }
    assert!(reason("http://user:pw@h").contains("password"));
    assert_eq!(reason("unix:/tmp/x"), "must begin with http://");
    for url in ["", "http://", "http://[::1", "http://a b", "http://:7420"] {
        assert!(!reason(url).is_empty(), "{url}");
    }
}

#[test]
fn errors_are_described_to_their_root() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    let error = Outer(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
    assert_eq!(describe(&error), "outer: connection refused");
}
