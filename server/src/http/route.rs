//! Paths: templates as `google.api.http` has them, and which of them a request means.
//!
//! A template is `/v1/services/{service}/level`, with `:verb` behind it or not. A variable is one segment. A colon in a
//! path begins a verb; within a name it is written `%3A`.

use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::registry::nearest;

/// A path that means something.
#[derive(Debug)]
pub(super) struct Route<T> {
    method: Method,
    template: Template,
    target: T,
}

impl<T> Route<T> {
    /// # Errors
    /// What is wrong with the template.
    pub(super) fn new(method: Method, template: &str, target: T) -> Result<Self, String> {
        Ok(Self { method, template: Template::parse(template)?, target })
    }
}

/// The values of a path's variables, by the paths of the fields that they are.
pub(super) type Variables = Vec<(String, String)>;

/// What a request means.
#[derive(Debug)]
pub(super) enum Found<'a, T> {
    /// This.
    Target(&'a T, Variables),
    /// The question which methods the path has.
    Options(String),
}

/// All routes.
#[derive(Debug)]
pub(super) struct Table<T> {
    routes: Vec<Route<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { routes: Vec::new() }
    }
}

impl<T> Table<T> {
    pub(super) fn add(&mut self, route: Route<T>) {
        self.routes.push(route);
    }

    /// # Errors
    /// 404 with what it may have been, 405 with what is allowed, 400 for a path that is no text.
    pub(super) fn find(&self, method: &Method, path: &str) -> Result<Found<'_, T>, Problem> {
        if !path.starts_with('/') {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "a request here is for a path, which begins with a slash",
            ));
        }
        let Some(asked) = Asked::parse(path) else {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "the path is no UTF-8 where its percent signs are read"));
        };
        // Whoever may read may ask for the head of it.
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        let mut allowed: Vec<&str> = Vec::new();
        for route in &self.routes {
            let Some(variables) = route.template.variables(&asked) else { continue };
            if route.method == *wanted {
                return Ok(Found::Target(&route.target, variables));
            }
            allowed.push(route.method.as_str());
        }
        if allowed.is_empty() {
            return Err(self.nothing(path));
        }
        if allowed.contains(&"GET") {
            allowed.push("HEAD");
        }
        allowed.push("OPTIONS");
        let allowed = allowed.join(", ");
        if *method == Method::OPTIONS {
            return Ok(Found::Options(allowed));
        }
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("this path takes {allowed}"));
        Err(match HeaderValue::from_str(&allowed) {
            Ok(allowed) => problem.with_header(header::ALLOW, allowed),
            Err(_) => problem,
        })
    }

    fn nothing(&self, path: &str) -> Problem {
        let alike = nearest(path, self.routes.iter().map(|route| route.template.text.as_str()));
        let hint = alike.first().map(|alike| format!("; did you mean {alike}?")).unwrap_or_default();
        Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at this path{hint}; /openapi.json has all paths"))
    }
}

/// A path that was asked for: each segment as it came and as it reads, and the verb.
struct Asked {
    segments: Vec<String>,
    verb: Option<String>,
}

impl Asked {
    fn parse(path: &str) -> Option<Self> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
        let path = path.strip_prefix('/')?;
        let last = path.rfind('/').map_or(0, |slash| slash + 1);
        let (path, verb) = match path.get(last..)?.split_once(':') {
            Some((_, verb)) => (path.get(..path.len().checked_sub(verb.len() + 1)?)?, Some(decode(verb)?)),
            None => (path, None),
        };
        let segments = path.split('/').map(decode).collect::<Option<_>>()?;
        Some(Self { segments, verb })
    }
}

#[derive(Debug, PartialEq)]
enum Segment {
    Literal(String),
    Variable(String),
}

#[derive(Debug)]
struct Template {
    text: String,
    segments: Vec<Segment>,
    verb: Option<String>,
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no path that can be served");
        let path = text.strip_prefix('/').ok_or_else(wrong)?;
        let (path, verb) = match path.rsplit_once(':') {
            Some((path, verb)) => (path, Some(verb.to_owned())),
            None => (path, None),
        };
        let segment = |segment: &str| {
            let variable = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let name = variable.unwrap_or(segment);
            if name.is_empty() || name.contains(['{', '}', '*', '=', ':']) {
                return Err(wrong());
            }
            let name = name.to_owned();
            Ok(if variable.is_some() { Segment::Variable(name) } else { Segment::Literal(name) })
        };
        let segments = path.split('/').map(segment).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), segments, verb })
    }

    /// The variables of a path. `None`: it is another path.
    fn variables(&self, asked: &Asked) -> Option<Variables> {
        if self.verb != asked.verb || self.segments.len() != asked.segments.len() {
            return None;
        }
        let mut variables = Variables::new();
        for (segment, text) in self.segments.iter().zip(&asked.segments) {
            match segment {
                Segment::Literal(literal) if literal == text => {}
                Segment::Variable(field) if !text.is_empty() => variables.push((field.clone(), text.clone())),
                Segment::Literal(_) | Segment::Variable(_) => return None,
            }
        }
        Some(variables)
    }
}

#[cfg(test)]
mod tests;
