//! `cofferdam get`: lists.

mod clients;
pub(super) mod instances;
mod policies;
mod services;
mod watch;

pub(super) use self::services::{fallbacks, level};

use super::session::{ALL_NAMESPACES, Common, ServiceName, Session};
use super::{Error, events};
use crate::output::{Document, Format, Table, in_pieces, print_document, say};
use clap::{Args, ValueEnum};
use std::io::Write as _;
use std::time::Duration;

pub(super) const HELP: &str = "\
STATE is the least good state of a breaker and at how many instances one is not closed; ERR%, P99 and FALLBACK% are of
attempts that failed, of calls, and of calls that a fallback answered, over --window; SYNC is how many instances have the
present revision in force.

Examples:
  cofferdam get services
  cofferdam get services payments shop/prices -o json
  cofferdam get services -A -o name
  cofferdam get services -w
  cofferdam get instances payments
  cofferdam get clients";

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Registered services
    #[value(alias = "service", alias = "svc", alias = "modules", alias = "module")]
    Services,
    /// Policies in force
    #[value(alias = "policy")]
    Policies,
    /// Instances, a line for each service that they call
    #[value(alias = "instance")]
    Instances,
    /// Instances, a line for each
    #[value(alias = "client")]
    Clients,
    /// What has happened; `cofferdam events` says more of which
    #[value(alias = "event", alias = "ev")]
    Events,
}

/// What to list.
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// What to list
    #[arg(value_enum)]
    kind: Kind,
    /// Only these services; of clients, only these instances
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Every namespace
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// The figures of the last so long; `all` is since the manager started
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = window)]
    window: Window,
    /// Go on, and print what changes
    #[arg(long, short)]
    watch: bool,
    /// How often to look, with --watch
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval, requires = "watch")]
    every: Duration,
    #[command(flatten)]
    pub(super) common: Common,
}

/// The time that figures are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window(Option<Duration>);

impl Window {
    /// Since the manager started.
    pub(super) const ALL: Self = Self(None);

    /// As a request has it.
    pub(super) fn to_wire(self) -> Option<prost_types::Duration> {
        self.0.and_then(|window| window.try_into().ok())
    }

    /// For people.
    pub(super) fn words(self) -> String {
        self.0.map_or_else(
            || "since the manager started".to_owned(),
            |window| format!("last {}", crate::message::duration(window)),
        )
    }
}

/// Reads a window.
pub(super) fn window(text: &str) -> Result<Window, String> {
    if text == "all" {
        return Ok(Window::ALL);
    }
    match humantime::parse_duration(text) {
        Ok(window) if !window.is_zero() => Ok(Window(Some(window))),
        _ => Err("must be a time such as 30s, 5m or 2h, or all".to_owned()),
    }
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(every) if every >= Duration::from_millis(100) => Ok(every),
        _ => Err("must be a time of at least 100ms".to_owned()),
    }
}

/// What was found.
#[derive(Debug)]
struct Listing {
    /// For people.
    table: Table,
    /// What each row is about, in the same order.
    names: Vec<String>,
    /// The same for programs.
    documents: Vec<Document>,
    /// What is to be said about it.
    notes: Vec<String>,
}

impl GetArgs {
    /// Whether it goes on and on.
    pub(super) const fn goes_on(&self) -> bool {
        self.watch
    }
}

/// Does it.
pub(super) async fn run(args: &GetArgs, session: &mut Session<'_>) -> Result<(), Error> {
    if args.all_namespaces {
        ALL_NAMESPACES.clone_into(&mut session.namespace);
    }
    if session.namespace == ALL_NAMESPACES && !args.names.is_empty() && args.kind != Kind::Clients {
        let mend = "cofferdam get services NAMESPACE/NAME";
        return Err(Error::usage("names and all namespaces do not go together", mend));
    }
    if args.kind == Kind::Events {
        let mut services = named(args)?;
        let service = services.pop();
        if !services.is_empty() {
            return Err(Error::usage("events are of one service or of all", "cofferdam get events NAME"));
        }
        let is_all = session.namespace == ALL_NAMESPACES;
        return events::get(service, is_all, args.watch, session).await;
    }
    if args.watch {
        return watch::run(args, session).await;
    }
    let listing = list(args, session).await?;
    listing.notes.iter().for_each(|note| say(note));
    match session.format {
        Format::Table | Format::Wide if listing.names.is_empty() => {
            let told = nothing(args.kind, &args.names, &session.namespace, session.client.server());
            session.hints.lines(&told).lines().for_each(say);
        }
        Format::Table | Format::Wide => session.table(&listing.table)?,
        Format::Name => {
            let mut out = in_pieces(session.out);
            listing.names.iter().try_for_each(|name| writeln!(out, "{name}"))?;
            out.flush()?;
        }
        Format::Json | Format::Yaml => print_documents(&listing, session)?,
    }
    Ok(())
}

async fn list(args: &GetArgs, session: &Session<'_>) -> Result<Listing, Error> {
    match args.kind {
        Kind::Services => services::list(&named(args)?, args.window, session).await,
        Kind::Policies => policies::list(&named(args)?, session).await,
        Kind::Instances => instances::list(&named(args)?, args.window, session).await,
        Kind::Clients | Kind::Events => clients::list(&args.names, session).await,
    }
}

fn named(args: &GetArgs) -> Result<Vec<ServiceName>, Error> {
    let read = |name: &String| {
        let mend = "cofferdam get services";
        name.parse().map_err(|what| Error::usage(format!("{name:?} is no service: it {what}"), mend))
    };
    args.names.iter().map(read).collect()
}

fn print_documents(listing: &Listing, session: &mut Session<'_>) -> Result<(), Error> {
    for document in &listing.documents {
        print_document(session.out, session.format, document)?;
    }
    Ok(())
}

/// What is said where nothing is found.
fn nothing(kind: Kind, names: &[String], namespace: &str, server: &str) -> String {
    let place = match namespace {
        ALL_NAMESPACES => "in any namespace".to_owned(),
        namespace => format!("in namespace {namespace}"),
    };
    match kind {
        Kind::Services | Kind::Policies => {
            format!("no service is registered {place}\ntry: cofferdam register NAME --endpoint HOST:PORT")
        }
        Kind::Instances | Kind::Clients | Kind::Events => {
            // Others may be connected that use other services.
            let what = if names.is_empty() { format!("a service {place}") } else { names.join(" or ") };
            format!("no instance is connected that uses {what}\ntry: start a process with an SDK, at {server}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before, it was said of all services of the namespace, whichever was asked for.
    #[test]
    fn a_service_that_no_instance_uses_is_named() {
        let told = |names: &[String]| nothing(Kind::Instances, names, "default", "http://m:1");
        assert!(told(&["odd".to_owned()]).starts_with("no instance is connected that uses odd\n"));
        assert!(told(&[]).starts_with("no instance is connected that uses a service in namespace default\n"));
    }

    #[test]
    fn a_window_is_a_time_or_all_of_it() {
        assert_eq!(window("5m").unwrap().words(), "last 5m");
        assert_eq!(window("all").unwrap().to_wire(), None);
        for text in ["", "0s", "5", "-1s", "none"] {
            assert!(window(text).is_err(), "{text:?}");
        }
        assert!(interval("10ms").is_err() && interval("1s").is_ok());
    }
}
