//! What operators do: each command is one file, asks a manager through the [client](crate::client), and prints through
//! [`output`](crate::output).
//!
//! A command decides nothing that a manager decides. It reads, says what it is about to change, writes with a name of its
//! own (`request_id`), so that a repetition does nothing twice, and tells what came of it.

mod check;
mod config;
mod convergence;
mod declare;
mod describe;
mod error;
mod events;
mod exec;
mod explain;
mod fallback;
mod get;
mod graph;
mod health;
mod history;
mod import;
mod level;
mod moment;
mod monitor;
mod ordered;
mod orders;
mod policy;
mod register;
mod rollback;
mod session;
mod simulate;
mod stats;
mod top;
mod wait;
mod write;

pub(crate) use self::error::Error;
pub(crate) use self::session::{Common, Surroundings};

use self::session::Session;
use crate::client::CallError;
use crate::output::{Format, Hints, Lines, Style, Unread};
use clap::Subcommand;
use std::io::Write;
use std::sync::OnceLock;

/// The commands that speak to a manager.
#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// List services, policies, or the instances that call them.
    #[command(after_help = get::HELP)]
    Get(get::GetArgs),
    /// Show all that is known of one service or instance.
    #[command(subcommand)]
    Describe(describe::DescribeCommand),
    /// Show what calls go by, where each value comes from, and what is not in force and why.
    #[command(after_help = explain::HELP)]
    Explain(Box<explain::ExplainArgs>),
    /// Show what happened to calls.
    #[command(after_help = stats::HELP)]
    Stats(stats::StatsArgs),
    /// Watch all services on the terminal, with keys for level, trip and reset.
    #[command(after_help = top::HELP)]
    Top(Box<top::TopArgs>),
    /// Check whether everything is healthy; print the command that fixes what is not.
    #[command(after_help = check::HELP)]
    Check(check::CheckArgs),
    /// Wait until instances have a policy in force.
    #[command(after_help = wait::HELP)]
    Wait(wait::WaitArgs),
    /// Register a service, or replace what is registered of it.
    #[command(after_help = register::HELP)]
    Register(Box<register::RegisterArgs>),
    /// Forget a service; instances go back to their built-in defaults for it.
    Unregister(register::UnregisterArgs),
    /// Change which parts of a policy are in force.
    #[command(after_help = level::HELP)]
    SetLevel(level::SetLevelArgs),
    /// Change what answers when a service cannot.
    #[command(subcommand)]
    Fallback(fallback::FallbackCommand),
    /// Change a policy.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Report how a service does.
    #[command(subcommand)]
    Health(health::HealthCommand),
    /// Force breakers open or closed, or take them out of the way, until a time or until they are released.
    #[command(after_help = orders::HOLD_HELP)]
    Hold(Box<orders::HoldArgs>),
    /// End a hold.
    #[command(after_help = orders::RELEASE_HELP)]
    Release(Box<orders::ReleaseArgs>),
    /// Open breakers once, as if they had tripped.
    #[command(after_help = orders::TRIP_HELP)]
    Trip(Box<orders::TripArgs>),
    /// Close breakers once, and have them forget what they have learned.
    #[command(after_help = orders::RESET_HELP)]
    Reset(Box<orders::ResetArgs>),
    /// Show who changed what, when and why.
    #[command(after_help = history::HELP)]
    History(history::HistoryArgs),
    /// Restore a service, or all of them, to an earlier revision or time.
    #[command(after_help = rollback::HELP)]
    Rollback(Box<rollback::RollbackArgs>),
    /// Show what has happened: breakers, changes, orders, refusals, instances, managers.
    #[command(after_help = events::HELP)]
    Events(events::EventsArgs),
    /// Watch what changes how calls are isolated, as it happens.
    #[command(after_help = events::WATCH_HELP)]
    Watch(events::WatchArgs),
    /// Show all breakers; with `watch`, again and again.
    #[command(after_help = monitor::HELP)]
    Monitor(monitor::MonitorArgs),
    /// Show which services need which, and what is lost without one.
    #[command(after_help = graph::HELP)]
    Graph(graph::GraphArgs),
    /// Call a method of a service through the manager, isolated by its policy.
    #[command(after_help = exec::HELP)]
    Exec(Box<exec::ExecArgs>),
    /// Print services as files that `apply` takes.
    #[command(after_help = declare::EXPORT_HELP)]
    Export(declare::ExportArgs),
    /// Register what files say.
    #[command(after_help = declare::APPLY_HELP)]
    Apply(declare::ApplyArgs),
    /// Show where services differ from what files say.
    #[command(after_help = declare::DIFF_HELP)]
    Diff(declare::DiffArgs),
    /// Change a service in an editor.
    #[command(after_help = declare::EDIT_HELP)]
    Edit(declare::EditArgs),
    /// Turn the configuration of other libraries into files that `apply` takes.
    #[command(after_help = import::HELP)]
    Import(import::ImportArgs),
    /// Try a policy on recorded calls, with no manager and in no time.
    #[command(after_help = simulate::HELP)]
    Simulate(simulate::SimulateArgs),
    /// Look after contexts: names for managers.
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

impl OperatorCommand {
    /// Whether it has the flags that say which manager.
    pub(crate) const fn speaks_to_a_manager(&self) -> bool {
        !matches!(self, Self::Import(_) | Self::Simulate(_) | Self::Config(_))
    }

    /// Whether it changes nothing: no service at the manager, and nothing behind one.
    const fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Get(_)
                | Self::Describe(_)
                | Self::Explain(_)
                | Self::Stats(_)
                | Self::Check(_)
                | Self::Wait(_)
                | Self::History(_)
                | Self::Events(_)
                | Self::Watch(_)
                | Self::Monitor(_)
                | Self::Graph(_)
                | Self::Export(_)
                | Self::Diff(_)
        )
    }

    /// Whether it goes on until it is stopped.
    const fn goes_on(&self) -> bool {
        match self {
            Self::Get(args) => args.goes_on(),
            Self::Events(args) => args.goes_on(),
            Self::Monitor(args) => args.goes_on(),
            Self::Watch(_) | Self::Top(_) => true,
            _ => false,
        }
    }

    /// Whether it is to know that nobody reads what it prints: that ends what goes on and on, and `apply` says so.
    const fn minds_readers(&self) -> bool {
        self.goes_on() || matches!(self, Self::Apply(_))
    }

    /// Whether it takes other time than that of managers: what goes on, and somebody in an editor.
    const fn takes_its_time(&self) -> bool {
        self.goes_on() || matches!(self, Self::Edit(_))
    }
}

/// Does it. Data goes to `out`, words about it to the standard error.
///
/// # Errors
///
/// [`Error`], whose exit code says whether it is a refusal or what was found.
pub(crate) async fn run(
    command: OperatorCommand,
    surroundings: &Surroundings,
    out: &mut (dyn Write + Send),
) -> Result<(), Error> {
    let mut unread;
    let out: &mut (dyn Write + Send) = if command.minds_readers() {
        out
    } else {
        unread = Unread::over(out);
        &mut unread
    };
    let hints = OnceLock::new();
    let style = Style::new(surroundings.is_terminal, surroundings.no_color);
    let mut lines = Lines::over(out, style).suggesting(&hints);
    let out: &mut (dyn Write + Send) = &mut lines;
    let is_read = command.only_reads();
    let done = Box::pin(dispatch(command, surroundings, &hints, out)).await;
    let done = done.map_err(|error| match error {
        // Whoever meant another service sees to it. What changes one is not handed out for a service that nobody named.
        Error::Call(CallError::Refused(refusal)) if is_read && refusal.nearest().is_some() => {
            let nearest = refusal.nearest().unwrap_or_default().to_owned();
            let wrong = refusal.metadata.get("service").cloned().unwrap_or_default();
            Error::Misnamed { again: surroundings.command_with(&wrong, &nearest), what: refusal.message }
        }
        error => error,
    });
    let hints = hints.into_inner().unwrap_or_default();
    done.map_err(|error| error.addressed(&hints))
}

async fn dispatch(
    command: OperatorCommand,
    surroundings: &Surroundings,
    hints: &OnceLock<Hints>,
    out: &mut (dyn Write + Send),
) -> Result<(), Error> {
    let takes_its_time = command.takes_its_time();
    let session = |common: &Common, out| {
        hints.get_or_init(|| common.or(&surroundings.before).hints());
        Session::new(common, surroundings, takes_its_time, out)
    };
    let unnamed = |what: &str, common: &Common, out| match common.or(&surroundings.before).output {
        Some(Format::Name) => {
            hints.get_or_init(|| common.or(&surroundings.before).hints());
            let words = format!("{what} prints no names, so there is nothing for -o name");
            Err(Error::usage(words, "cofferdam get services -o name"))
        }
        _ => session(common, out),
    };
    match command {
        OperatorCommand::Get(args) => get::run(&args, &mut session(&args.common, out)?).await,
        OperatorCommand::Describe(command) => {
            describe::run(&command, &mut unnamed("describe", command.common(), out)?).await
        }
        OperatorCommand::Explain(args) => Box::pin(explain::run(&args, &mut session(&args.common, out)?)).await,
        OperatorCommand::Stats(args) => stats::run(&args, &mut unnamed("stats", &args.common, out)?).await,
        OperatorCommand::Top(args) => {
            Box::pin(top::run(&args, surroundings.no_color, &unnamed("top", &args.common, out)?)).await
        }
        OperatorCommand::Check(args) => check::run(&args, &mut unnamed("check", &args.common, out)?).await,
        OperatorCommand::Wait(args) => wait::run(&args, &mut unnamed("wait", &args.common, out)?).await,
        OperatorCommand::Register(args) => register::register(&args, &mut session(&args.write.common, out)?).await,
        OperatorCommand::Unregister(args) => register::unregister(&args, &mut session(&args.write.common, out)?).await,
        OperatorCommand::SetLevel(args) => level::run(&args, &mut session(&args.write.common, out)?).await,
        OperatorCommand::Fallback(command) => {
            Box::pin(fallback::run(&command, &mut session(command.common(), out)?)).await
        }
        OperatorCommand::Policy(command) => Box::pin(policy::run(&command, &mut session(command.common(), out)?)).await,
        OperatorCommand::Health(command) => health::run(&command, &mut session(command.common(), out)?).await,
        OperatorCommand::Hold(args) => Box::pin(orders::hold(&args, &mut session(&args.write.common, out)?)).await,
        OperatorCommand::Release(args) => {
            Box::pin(orders::release(&args, &mut session(&args.write.common, out)?)).await
        }
        OperatorCommand::Trip(args) => Box::pin(orders::trip(&args, &mut session(&args.write.common, out)?)).await,
        OperatorCommand::Reset(args) => Box::pin(orders::reset(&args, &mut session(&args.write.common, out)?)).await,
        OperatorCommand::History(args) => history::run(&args, &mut session(&args.common, out)?).await,
        OperatorCommand::Events(args) => events::run(&args, &mut session(&args.common, out)?).await,
        OperatorCommand::Watch(args) => events::watch(&args, &mut session(&args.common, out)?).await,
        OperatorCommand::Monitor(args) => monitor::run(&args, &mut session(&args.common, out)?).await,
        OperatorCommand::Rollback(args) => Box::pin(rollback::run(&args, &mut session(&args.write.common, out)?)).await,
        OperatorCommand::Graph(args) => graph::run(&args, &mut session(&args.common, out)?).await,
        OperatorCommand::Exec(args) => exec::run(&args, &mut unnamed("exec", &args.common, out)?).await,
        OperatorCommand::Export(args) => declare::export(&args, &mut session(&args.common, out)?).await,
        OperatorCommand::Apply(args) => Box::pin(declare::apply(&args, &mut session(&args.common, out)?)).await,
        OperatorCommand::Diff(args) => declare::diff(&args, &mut session(&args.common, out)?).await,
        OperatorCommand::Edit(args) => Box::pin(declare::edit(&args, &mut session(&args.write.common, out)?)).await,
        OperatorCommand::Import(args) => import::run(&args, out),
        OperatorCommand::Simulate(args) => {
            simulate::run(&args, Style::new(surroundings.is_terminal, surroundings.no_color), out)
        }
        OperatorCommand::Config(command) => config::run(command, surroundings, out),
    }
}
