//! What the manager says of itself, for probes and people.
//!
//! None of these asks the store. One that asked would have every manager restarted when etcd is away, which would then
//! have lost the policies in memory as well.

use std::{fmt::Write as _, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{JSON, accept::weight, problem::Problem};
use crate::{
    metrics::{Format, Metrics},
    registry::{Registry, nearest},
};

/// The contract that is spoken.
const CONTRACT: &str = "cofferdam.v1";

const TEXT: &str = "text/plain; charset=utf-8";

const OPENMETRICS: &str = "application/openmetrics-text";

/// The one parameter that a page can have.
const VERBOSE: &str = "verbose";

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Whether the process works.
    Live,
    /// Whether it wants requests.
    Ready,
    /// Whether it has come up.
    Started,
    /// Which release this is.
    Version,
    /// What it knows of services and of itself, for Prometheus.
    Metrics,
    /// All paths.
    OpenApi,
}

/// The pages by their paths.
pub(super) const PAGES: &[(&str, Page)] = &[
    ("/livez", Page::Live),
    ("/readyz", Page::Ready),
    ("/startupz", Page::Started),
    ("/version", Page::Version),
    ("/metrics", Page::Metrics),
    ("/openapi.json", Page::OpenApi),
];

impl Page {
    /// Its operation in OpenAPI.
    pub(super) fn in_openapi(self) -> Value {
        let (id, description, kind) = match self {
            Self::Live => ("livez", "Whether the process works. Never asks the store.", TEXT),
            Self::Ready => (
                "readyz",
                "Whether the manager wants requests: 503 while it loads its store, and from when it stops.",
                TEXT,
            ),
            Self::Started => ("startupz", "Whether the manager has come up.", TEXT),
            Self::Version => ("version", "Release and contract.", JSON),
            Self::Metrics => ("metrics", "Services and the manager in numbers, for Prometheus.", TEXT),
            Self::OpenApi => ("openapi", "This document.", JSON),
        };
        let mut operation = json!({
            "operationId": id, "description": description,
            "responses": {
                "200": {"description": "Yes.", "content": {kind: {"schema": {}}}},
                "default": {"$ref": "#/components/responses/Problem"},
            },
        });
        match self {
            Self::Ready => {
                let verbose =
                    json!({"name": VERBOSE, "in": "query", "allowEmptyValue": true, "schema": {"type": "boolean"}});
                operation["parameters"] = json!([verbose]);
                operation["responses"]["503"] = not_yet("The manager loads its store, or stops.");
            }
            Self::Started => operation["responses"]["503"] = not_yet("The manager loads its store."),
            Self::Metrics => operation["responses"]["200"]["content"][OPENMETRICS] = json!({"schema": {}}),
            Self::Live | Self::Version | Self::OpenApi => {}
        }
        operation
    }
}

/// A probe's answer that it is not.
fn not_yet(description: &str) -> Value {
    json!({"description": description, "content": {TEXT: {"schema": {}}}})
}

/// What a probe is told while the store is being loaded. `None`: it is none.
pub(super) fn while_loading(path: &str) -> Option<Response<Bytes>> {
    let (_, page) = PAGES.iter().find(|(page, _)| *page == path)?;
    match page {
        Page::Live => Some(text(StatusCode::OK, "ok\n".to_owned())),
        Page::Ready | Page::Started => {
            Some(text(StatusCode::SERVICE_UNAVAILABLE, "[-] the store is being loaded\nnot ready\n".to_owned()))
        }
        Page::Version => Some(version()),
        _ => None,
    }
}

/// What the pages are made of.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Metrics,
    /// Fires when the manager is about to stop.
    pub(super) leaving: CancellationToken,
    /// The document.
    pub(super) openapi: Bytes,
}

impl Health {
    /// # Errors
    /// 400 for a parameter that the page does not have.
    pub(super) async fn show(&self, page: Page, head: &Parts) -> Result<Response<Bytes>, Problem> {
        let query = head.uri.query().unwrap_or_default();
        let is_verbose = match page {
            Page::Ready => is_verbose(query)?,
            // Whoever probes with a parameter must not restart a manager that works.
            Page::Live | Page::Started => false,
            Page::Version | Page::Metrics | Page::OpenApi => none(query)?,
        };
        Ok(match page {
            Page::Live | Page::Started => text(StatusCode::OK, "ok\n".to_owned()),
            Page::Ready => self.ready(is_verbose),
            Page::Metrics => {
                let format = format_of(&head.headers);
                let stops = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the manager stops");
                let text = self.metrics.scrape(format).await.ok_or_else(stops)?;
                answer(StatusCode::OK, format.content_type(), text)
            }
            Page::OpenApi => answer(StatusCode::OK, JSON, self.openapi.clone()),
            Page::Version => version(),
        })
    }

    /// Before the store was loaded [`while_loading`] answers, so only a stop is in the way. A store that is away is none:
    /// reads are served from memory.
    fn ready(&self, is_verbose: bool) -> Response<Bytes> {
        let stops = self.leaving.is_cancelled();
        let (status, verdict) =
            if stops { (StatusCode::SERVICE_UNAVAILABLE, "not ready") } else { (StatusCode::OK, "ok") };
        let mut said = String::new();
        if is_verbose {
            self.tell(&mut said, stops);
        }
        said.push_str(verdict);
        said.push('\n');
        text(status, said)
    }

    fn tell(&self, said: &mut String, stops: bool) {
        let mut line = |mark: char, line: String| {
            // Writing to a text cannot fail.
            let _ = writeln!(said, "[{mark}] {line}");
        };
        if stops {
            line('-', "stopping: new calls go to another manager".to_owned());
        }
        line('+', format!("loaded: {} services", self.registry.services(None).len()));
        match self.registry.stale_for() {
            None => line('+', "store: in reach".to_owned()),
            Some(away) => {
                line('!', format!("store: away for {} s; reads are of that age, writes are refused", away.as_secs()));
            }
        }
        match self.registry.poisoned().len() {
            0 => {}
            count => line('!', format!("store: {count} values cannot be read (`cofferdam store check` says which)")),
        }
    }
}

/// How metrics are to be written. Prometheus names all that it reads; whoever does not name OpenMetrics, or wants text more,
/// gets what everything reads.
fn format_of(headers: &HeaderMap) -> Format {
    let open = weight(headers, &[OPENMETRICS]).filter(|weight| *weight > 0.0);
    let text = weight(headers, &["text/plain", "text/*", "*/*"]);
    let is_wanted = open.is_some_and(|open| text.is_none_or(|text| open >= text));
    if is_wanted { Format::OpenMetrics } else { Format::Prometheus }
}

/// Whether the query asks for more words: `verbose`, with `false`, `0` or anything else behind it.
fn is_verbose(query: &str) -> Result<bool, Problem> {
    let mut verbose = false;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != VERBOSE {
            let hint = if nearest(&name, [VERBOSE].into_iter()).is_empty() { "" } else { "; did you mean verbose?" };
            return Err(Problem::invalid_field(name, format!("is no parameter here{hint}")));
        }
        verbose = !matches!(&*value, "false" | "0");
    }
    Ok(verbose)
}

fn none(query: &str) -> Result<bool, Problem> {
    match form_urlencoded::parse(query.as_bytes()).next() {
        None => Ok(false),
        Some((name, _)) => Err(Problem::invalid_field(name, "is no parameter here: there is none")),
    }
}

fn version() -> Response<Bytes> {
    let version = json!({"version": env!("CARGO_PKG_VERSION"), "contract": CONTRACT});
    answer(StatusCode::OK, JSON, format!("{version}\n"))
}

fn text(status: StatusCode, text: String) -> Response<Bytes> {
    answer(status, TEXT, text)
}

fn answer(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests;
