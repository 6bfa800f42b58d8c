//! `cofferdam top`: how all services do, live, with keys for what an operator does at night.
//!
//! It asks as `get services` does, again and again, and draws what it has four times a second: so it can say how old that is,
//! and goes on drawing while a manager is away. A key that changes something asks before it does.

mod input;
mod rows;
mod view;
mod watch;

use self::input::{Order, Outcome, key};
use self::view::View;
use super::Error;
use super::get::{Window, window};
use super::session::{ALL_NAMESPACES, Common, Session};
use super::write::request_id;
use crate::client::{CallError, Client};
use crate::keyboard::Keyboard;
use crate::signals;
use clap::Args;
use cofferdam_core::wire::level_to_wire;
use cofferdam_proto::v1;
use ratatui::DefaultTerminal;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(super) const HELP: &str = "\
Keys: up and down choose a service, / looks for names, s sorts, l sets the level, t trips, r resets, q quits. What changes
something asks before it does. NO_COLOR turns colours off.

Examples:
  cofferdam top
  cofferdam top -A --every 5s --window 5m";

/// How often it is drawn.
const FRAME: Duration = Duration::from_millis(250);

/// What stands in the history for what is done here.
const REASON: &str = "by hand, from cofferdam top";

/// What to show.
#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Every namespace
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// The figures of the last so long
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = window)]
    window: Window,
    /// How often to ask
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = super::get::interval)]
    every: Duration,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Does it.
pub(super) async fn run(args: &TopArgs, no_color: bool, session: &Session<'_>) -> Result<(), Error> {
    if !session.is_terminal {
        return Err(Error::usage("top draws on a terminal, and this is none", "cofferdam get services -w"));
    }
    let namespace = if args.all_namespaces { ALL_NAMESPACES } else { &session.namespace };
    let (asking, snapshots) = mpsc::channel(1);
    let asked = tokio::spawn(watch::run(session.client.clone(), namespace.to_owned(), args.window, args.every, asking));
    let view = View::new(session.client.server().to_owned(), namespace == ALL_NAMESPACES, no_color);
    let mut screen = Screen::open()?;
    let shown = screen.show(view, snapshots, &session.client).await;
    asked.abort();
    drop(screen);
    shown
}

/// The terminal while it is ours. It is given back whatever happens: ratatui's hook does it on a panic, dropping this does
/// it otherwise.
struct Screen {
    terminal: DefaultTerminal,
    keys: mpsc::Receiver<input::Key>,
    _keyboard: Keyboard,
}

impl Screen {
    fn open() -> Result<Self, Error> {
        let terminal = ratatui::try_init()?;
        let (sender, keys) = mpsc::channel(16);
        match Keyboard::listen(sender, key) {
            Ok(_keyboard) => Ok(Self { terminal, keys, _keyboard }),
            Err(error) => {
                ratatui::restore();
                Err(error.into())
            }
        }
    }

    async fn show(
        &mut self,
        mut view: View,
        mut snapshots: mpsc::Receiver<watch::Asked>,
        client: &Client,
    ) -> Result<(), Error> {
        let (done, mut results) = mpsc::channel(16);
        let mut frames = tokio::time::interval(FRAME);
        let mut stop = Box::pin(signals::interrupted());
        loop {
            self.terminal.draw(|frame| view.draw(frame, Instant::now()))?;
            tokio::select! {
                _ = frames.tick() => {}
                () = &mut stop => return Ok(()),
                Some(asked) = snapshots.recv() => view.take(asked, Instant::now()),
                Some(result) = results.recv() => view.tell(result),
                Some(key) = self.keys.recv() => match view.press(key) {
                    Outcome::Nothing => {}
                    Outcome::Quit => return Ok(()),
                    Outcome::Do(order) => {
                        let (client, done) = (client.clone(), done.clone());
                        tokio::spawn(async move { done.send(perform(&client, &order).await).await });
                    }
                },
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Does what was confirmed. What came of it, in a line.
async fn perform(client: &Client, order: &Order) -> String {
    let (namespace, service) = order.place.clone();
    let (reason, request_id) = (REASON.to_owned(), request_id());
    let done = match order.what {
        input::What::Level(level) => {
            let level = level_to_wire(level).into();
            let request =
                v1::SetIsolationLevelRequest { namespace, service, level, reason, request_id, ..Default::default() };
            client.call(request).await.map(|answer| answer.service)
        }
        input::What::Trip => {
            let request = v1::TripBreakerRequest { namespace, service, reason, request_id, ..Default::default() };
            client.call(request).await.map(|answer| answer.service)
        }
        input::What::Reset => {
            let request = v1::ResetBreakerRequest { namespace, service, reason, request_id, ..Default::default() };
            client.call(request).await.map(|answer| answer.service)
        }
    };
    told(order, done)
}

fn told(order: &Order, done: Result<Option<v1::IsolatedService>, CallError>) -> String {
    match done {
        Ok(after) => {
            let revision = after.and_then(|after| after.revision).unwrap_or_default().revision;
            format!("{}: {}, revision {revision}", order.place.1, order.what.done())
        }
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}
