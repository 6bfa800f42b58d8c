//! `cofferdam events` and `cofferdam watch`: what has happened, and what happens.

use super::Error;
use super::session::{ALL_NAMESPACES, Common, ServiceName, Session};
use crate::client::CallError;
use crate::message::short_name;
use crate::output::{Cell, Format, Table, Tone, Widths, complain, print_row, say};
use clap::{Args, ValueEnum};
use cofferdam_proto::v1::{self, watch_events_response::Message};
use std::time::{Duration, SystemTime};

pub(super) const HELP: &str = "\
Each manager keeps its newest events in memory, 10,000 by default; all of them are asked. What was lost is told on the standard
error.

Examples:
  cofferdam events
  cofferdam events payments --since 1h
  cofferdam events -A --kind breaker,order -w
  cofferdam events -A -o json";

pub(super) const WATCH_HELP: &str = "\
It is `events -w` of what changes how calls are isolated: breakers, changes, orders, refusals, containment, managers and the
store.

Examples:
  cofferdam watch
  cofferdam watch payments";

/// How long before a stream that broke off is begun anew.
const PAUSE: Duration = Duration::from_secs(1);

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventKind {
    /// A breaker has changed its state
    Breaker,
    /// A service was registered, changed, put back or unregistered
    Change,
    /// Breakers were held, released, tripped or reset, or a level set for a time; or it is over
    Order,
    /// The health of a service was reported
    Health,
    /// An instance has refused a policy
    Refusal,
    /// A policy is handed out no more
    Containment,
    /// All instances have a policy in force, or not any more
    Convergence,
    /// An instance has come or gone
    Instance,
    /// A manager has come or gone
    Manager,
    /// The store is away, back, or another one
    Store,
    /// A fleet hint was given, or is over
    FleetHint,
    /// Some events are missing: a manager could not see what happened
    Gap,
}

impl From<EventKind> for v1::EventKind {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::Breaker => Self::Breaker,
            EventKind::Change => Self::Change,
            EventKind::Order => Self::Order,
            EventKind::Health => Self::Health,
            EventKind::Refusal => Self::Refusal,
            EventKind::Containment => Self::Containment,
            EventKind::Convergence => Self::Convergence,
            EventKind::Instance => Self::Instance,
            EventKind::Manager => Self::Manager,
            EventKind::Store => Self::Store,
            EventKind::FleetHint => Self::FleetHint,
            EventKind::Gap => Self::Gap,
        }
    }
}

/// What `watch` shows.
const WATCHED: &[EventKind] = &[
    EventKind::Breaker,
    EventKind::Change,
    EventKind::Order,
    EventKind::Refusal,
    EventKind::Containment,
    EventKind::Manager,
    EventKind::Store,
];

/// Which events.
#[derive(Args, Clone, Debug)]
pub(crate) struct EventsArgs {
    /// Of this service alone [default: of the namespace, and of managers and the store]
    service: Option<ServiceName>,
    /// Every namespace
    #[arg(long, short = 'A', conflicts_with = "service")]
    all_namespaces: bool,
    /// Of these kinds alone, with commas between them
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',')]
    kind: Vec<EventKind>,
    /// Only events of the last TIME [default: all that are kept; with --watch none]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// At most N, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on, and print what comes
    #[arg(long, short)]
    watch: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

/// What to watch.
#[derive(Args, Clone, Debug)]
pub(crate) struct WatchArgs {
    /// This service alone [default: the namespace, and managers and the store]
    service: Option<ServiceName>,
    /// Every namespace
    #[arg(long, short = 'A', conflicts_with = "service")]
    all_namespaces: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

impl EventsArgs {
    /// Whether it goes on and on.
    pub(super) const fn goes_on(&self) -> bool {
        self.watch
    }
}

/// What of which service.
struct Asked {
    namespace: String,
    service: String,
    kinds: Vec<i32>,
    since: Option<prost_types::Duration>,
}

/// Lists events, or goes on with what comes.
pub(super) async fn run(args: &EventsArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let asked = Asked::new(args.service.as_ref(), args.all_namespaces, &args.kind, args.since, session)?;
    if args.watch { follow(asked, session).await } else { list(asked, args.limit, session).await }
}

/// Watches what changes how calls are isolated.
pub(super) async fn watch(args: &WatchArgs, session: &mut Session<'_>) -> Result<(), Error> {
    let asked = Asked::new(args.service.as_ref(), args.all_namespaces, WATCHED, None, session)?;
    follow(asked, session).await
}

/// `get events`.
pub(super) async fn get(
    service: Option<ServiceName>,
    all_namespaces: bool,
    watch: bool,
    session: &mut Session<'_>,
) -> Result<(), Error> {
    let asked = Asked::new(service.as_ref(), all_namespaces, &[], None, session)?;
    if watch { follow(asked, session).await } else { list(asked, 100, session).await }
}

impl Asked {
    fn new(
        service: Option<&ServiceName>,
        all_namespaces: bool,
        kinds: &[EventKind],
        since: Option<Duration>,
        session: &Session<'_>,
    ) -> Result<Self, Error> {
        let (namespace, service) = match service {
            Some(service) => session.place(service),
            None if all_namespaces => (ALL_NAMESPACES.to_owned(), String::new()),
            None => (session.namespace.clone(), String::new()),
        };
        let too_long = |_| Error::usage("--since is too long", "cofferdam events --since 1h");
        let since = since.map(prost_types::Duration::try_from).transpose().map_err(too_long)?;
        let kinds = kinds.iter().map(|kind| v1::EventKind::from(*kind).into()).collect();
        Ok(Self { namespace, service, kinds, since })
    }
}

async fn list(asked: Asked, limit: u32, session: &mut Session<'_>) -> Result<(), Error> {
    let Asked { namespace, service, kinds, since } = asked;
    // Of what a filter leaves nothing of, more may have happened, and to a service that is gone.
    let is_any = !service.is_empty() && kinds.is_empty() && since.is_none();
    let named = is_any.then(|| ServiceName::of(namespace.clone(), service.clone()));
    let request = v1::ListEventsRequest { namespace, service, kinds, since, max_events: limit };
    let listed = session.client.call(request).await?;
    // Of a name that is none, nothing has happened either.
    if let Some(named) = named.filter(|_| listed.events.is_empty()) {
        session.info(&named).await?;
    }
    say_unreachable(&listed.unreachable_managers);
    if listed.has_older {
        say("there are older ones, as far as they are kept: --limit, --since and --kind say which");
    }
    match session.format {
        Format::Json | Format::Yaml => session.document(&listed),
        Format::Name => {
            for event in &listed.events {
                writeln!(session.out, "{}", event.id)?;
            }
            Ok(session.out.flush()?)
        }
        Format::Table | Format::Wide if listed.events.is_empty() => {
            say("nothing has happened");
            Ok(())
        }
        Format::Table | Format::Wide => {
            let is_wide = session.format == Format::Wide;
            let mut table = Table::new(columns(is_wide));
            listed.events.iter().for_each(|event| table.push(row(event, is_wide)));
            session.table(&table)
        }
    }
}

/// Prints what comes until it is stopped, or nobody reads it. A stream that breaks off is taken up again where it was.
async fn follow(asked: Asked, session: &mut Session<'_>) -> Result<(), Error> {
    let Asked { namespace, service, kinds, since } = asked;
    let mut request = v1::WatchEventsRequest { namespace, service, kinds, after: String::new(), since };
    let mut shown = Shown::default();
    say("watching; Ctrl-C ends it");
    loop {
        let broke = match session.client.watch(request.clone()).await {
            Err(error) if request.after.is_empty() => return Err(error.into()),
            Err(error @ (CallError::Refused(_) | CallError::BadServer { .. })) => return Err(error.into()),
            Err(error) => Some(error),
            Ok(mut stream) => loop {
                match stream.next().await {
                    Ok(Some(message)) => {
                        request.after = message.cursor;
                        // The cursor says it from now on.
                        request.since = None;
                        if let Some(message) = message.message {
                            shown.print(message, session)?;
                        }
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            },
        };
        if !shown.is_away {
            let why = broke.map_or_else(|| "the manager has ended the stream".to_owned(), |error| error.in_a_line());
            complain(&format!("{why}; connecting again"));
        }
        shown.is_away = true;
        tokio::time::sleep(PAUSE).await;
    }
}

/// What was printed last.
#[derive(Default)]
struct Shown {
    widths: Widths,
    unreachable: Vec<v1::UnreachableManager>,
    is_away: bool,
}

impl Shown {
    fn print(&mut self, message: Message, session: &mut Session<'_>) -> Result<(), Error> {
        self.is_away = false;
        match message {
            Message::Event(event) => self.event(&event, session),
            Message::Gap(gap) => {
                let count = if gap.lost == 0 { "events".to_owned() } else { format!("{} events", gap.lost) };
                say(&format!("cofferdam: {count} of manager {} are missing here: {}", gap.manager_id, gap.reason));
                Ok(())
            }
            Message::Bookmark(bookmark) => {
                if bookmark.unreachable_managers != self.unreachable {
                    say_unreachable(&bookmark.unreachable_managers);
                    self.unreachable = bookmark.unreachable_managers;
                }
                Ok(())
            }
        }
    }

    fn event(&mut self, event: &v1::Event, session: &mut Session<'_>) -> Result<(), Error> {
        match session.format {
            Format::Json | Format::Yaml => return session.document(event),
            Format::Name => writeln!(session.out, "{}", event.id)?,
            Format::Table | Format::Wide => {
                let is_wide = session.format == Format::Wide;
                let mut table = Table::new(columns(is_wide));
                table.push(row(event, is_wide));
                let is_first = self.widths.is_empty();
                self.widths = table.widths(&self.widths, session.room);
                if is_first {
                    table.print_header(session.out, &self.widths)?;
                }
                for row in table.rows() {
                    print_row(session.out, row, &self.widths, session.style)?;
                }
            }
        }
        Ok(session.out.flush()?)
    }
}

fn columns(is_wide: bool) -> Vec<&'static str> {
    if is_wide { vec!["TIME", "KIND", "REV", "ID", "WHAT"] } else { vec!["TIME", "KIND", "WHAT"] }
}

fn row(event: &v1::Event, is_wide: bool) -> Vec<Cell> {
    let time = event.time.and_then(|time| SystemTime::try_from(time).ok());
    let time = time.map(|time| humantime::format_rfc3339_seconds(time).to_string());
    let mut row = vec![time.unwrap_or_default().into(), short_name(event.kind().as_str_name(), "EVENT_KIND_").into()];
    if is_wide {
        let revision = event.revision.map(|revision| revision.revision.to_string());
        row.extend([revision.unwrap_or_default().into(), event.id.as_str().into()]);
    }
    row.push(Cell::toned(event.summary.as_str(), tone(event)));
    row
}

/// How bad it is.
fn tone(event: &v1::Event) -> Tone {
    use v1::event::Detail;
    match &event.detail {
        Some(Detail::Breaker(breaker)) => match breaker.to() {
            v1::BreakerState::Open => Tone::Bad,
            v1::BreakerState::Closed => Tone::Good,
            _ => Tone::Warn,
        },
        Some(Detail::Convergence(convergence)) if convergence.reached => Tone::Good,
        Some(Detail::Convergence(_) | Detail::Refusal(_) | Detail::FleetHint(_)) => Tone::Warn,
        Some(Detail::Containment(_) | Detail::Gap(_)) => Tone::Bad,
        Some(Detail::Store(store)) if store.change() == v1::StoreChange::Back => Tone::Good,
        Some(Detail::Store(_)) => Tone::Bad,
        _ => Tone::Plain,
    }
}

fn say_unreachable(managers: &[v1::UnreachableManager]) {
    for manager in managers {
        let name = if manager.address.is_empty() { &manager.id } else { &manager.address };
        say(&format!("manager {name} does not answer, so what it has seen is not here: {}", manager.reason));
    }
}
