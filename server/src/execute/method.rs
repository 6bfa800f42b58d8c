use http::uri::PathAndQuery;

/// The longest method, in bytes.
const MAX_BYTES: usize = 512;

/// The path of a gRPC method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(PathAndQuery);

/// The text names no gRPC method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be /package.Service/Method, package.Service/Method or Method, of visible ASCII without '?' and '#', at most 512 bytes long"
)]
pub struct InvalidMethod;

impl Method {
    /// Reads a method. A bare name is one of the service that bears the registered name.
    ///
    /// # Errors
    ///
    /// [`InvalidMethod`] for anything that is not a path of two segments.
    pub fn parse(text: &str, service: &str) -> Result<Self, InvalidMethod> {
        let qualified = match text.strip_prefix('/').unwrap_or(text) {
            bare if !bare.contains('/') => format!("/{service}/{bare}"),
            path => format!("/{path}"),
        };
        let mut segments = qualified.split('/').skip(1);
        let (Some(first), Some(second), None) = (segments.next(), segments.next(), segments.next()) else {
            return Err(InvalidMethod);
        };
        let visible = |segment: &str| {
            !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
        };
        if text.is_empty() || text.len() > MAX_BYTES || !visible(first) || !visible(second) {
            return Err(InvalidMethod);
        }
        PathAndQuery::try_from(qualified).map(Self).map_err(|_| InvalidMethod)
    }

    /// The path: a slash, the service, a slash, the method.
    pub fn path(&self) -> &PathAndQuery {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_bare_names_are_methods() {
        for (text, path) in [
            ("/a.B/C", "/a.B/C"),
            ("a.B/C", "/a.B/C"),
            ("test-method", "/test-service/test-method"),
            ("/test-method", "/test-service/test-method"),
        ] {
            assert_eq!(Method::parse(text, "test-service").unwrap().path(), path);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let long = "m".repeat(MAX_BYTES + 1);
        for text in ["", "/", "a/", "/a/b/c", "//x", "a b", "a?b=c", "a#b", "a\nb", "http://host/a", "ä", &long] {
            assert_eq!(Method::parse(text, "test-service"), Err(InvalidMethod), "{text:?}");
        }
    }
}
