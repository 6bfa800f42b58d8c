//! What every command that speaks to a manager needs: which manager, for whom, and where its output goes.

use super::Error;
use crate::client::{Client, Patience};
use crate::contexts::{self, DEFAULT_PATIENCE, Wishes};
use crate::message::Named;
use crate::output::{Format, Hints, Style, Table, document, say, std_duration};
use clap::Args;
use cofferdam_proto::v1;
use cofferdam_server::config::{ACTOR, CONTEXT, SERVER, unknown_variables};
use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

/// What stands for every namespace where services are listed.
pub(super) const ALL_NAMESPACES: &str = "*";

/// The longest time that can be said.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Flags of every command that speaks to a manager. They may stand before the command as well.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Manager and output")]
pub(crate) struct Common {
    /// The manager [env: COFFERDAM_SERVER] [default: the context's, else http://127.0.0.1:7420]
    #[arg(long, short, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The context to take manager and namespace from [env: COFFERDAM_CONTEXT] [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The namespace [default: the context's, else default]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// How data is printed [default: table]
    #[arg(long, short, value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<Format>,
    /// How long it may take, all in all [default: 10s for each answer, 30s for instances]
    #[arg(long, value_name = "TIME", value_parser = patience)]
    pub(crate) timeout: Option<Duration>,
    /// Who asks, for the manager's records; user@host unless it is said [env: COFFERDAM_ACTOR]
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<String>,
}

impl Common {
    /// A flag that is said. `None`: none is.
    pub(crate) fn said(&self) -> Option<&'static str> {
        let Self { server, context, namespace, output, timeout, actor } = self;
        let flags = [
            ("--server", server.is_some()),
            ("--context", context.is_some()),
            ("--namespace", namespace.is_some()),
            ("--output", output.is_some()),
            ("--timeout", timeout.is_some()),
            ("--actor", actor.is_some()),
        ];
        flags.into_iter().find_map(|(flag, is_said)| is_said.then_some(flag))
    }

    /// Those that say which manager and namespace, for the commands that this one suggests.
    pub(super) fn hints(&self) -> Hints {
        let flags = [("-s", &self.server), ("--context", &self.context), ("-n", &self.namespace)];
        Hints::new(flags.into_iter().filter_map(|(flag, value)| Some((flag, shell_quoted(value.as_deref()?)))))
    }

    /// These, and where they say nothing what others say.
    pub(super) fn or(&self, others: &Self) -> Self {
        let (own, others) = (self.clone(), others.clone());
        Self {
            server: own.server.or(others.server),
            context: own.context.or(others.context),
            namespace: own.namespace.or(others.namespace),
            output: own.output.or(others.output),
            timeout: own.timeout.or(others.timeout),
            actor: own.actor.or(others.actor),
        }
    }
}

/// A time, as it is typed. A year is more than anybody waits, and than any manager takes.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if span <= LONGEST => Ok(span),
        Ok(_) => Err("must be at most 365days".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// How long to wait for answers. In no time there is none.
fn patience(text: &str) -> Result<Duration, String> {
    span(text).and_then(|span| if span.is_zero() { Err("must be above zero".to_owned()) } else { Ok(span) })
}

/// What the process was started in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// Whether the standard output is a terminal.
    pub(crate) is_terminal: bool,
    /// How wide that is. `None`: it is none, or nobody knows.
    pub(crate) width: Option<usize>,
    /// Whether the user wants no colours.
    pub(crate) no_color: bool,
    /// The flags that stand before the command. Those behind it win.
    pub(crate) before: Common,
    /// The command line, from the program's name on.
    pub(crate) arguments: Vec<String>,
}

impl Surroundings {
    /// The command line with one name in place of another.
    pub(super) fn command_with(&self, wrong: &str, right: &str) -> String {
        let named = |argument: &String| {
            let (scope, name) =
                argument.rsplit_once('/').map_or(("", argument.as_str()), |(scope, name)| (scope, name));
            match (scope, name == wrong) {
                ("", true) => right.to_owned(),
                (scope, true) => format!("{scope}/{right}"),
                _ => shell_quoted(argument),
            }
        };
        let words: Vec<_> = self.arguments.iter().skip(1).map(named).collect();
        format!("cofferdam {}", words.join(" "))
    }
}

/// A word as a shell takes it.
pub(super) fn shell_quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// A service as it is named on the command line: `NAME`, or `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceName {
    namespace: Option<String>,
    name: String,
}

impl FromStr for ServiceName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, text),
        };
        if name.is_empty() || name.contains('/') || namespace.as_deref() == Some("") {
            return Err("must be NAME or NAMESPACE/NAME");
        }
        Ok(Self { namespace, name: name.to_owned() })
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl ServiceName {
    /// The namespace, where one is said, and the name.
    pub(super) fn parts(&self) -> (Option<&str>, &str) {
        (self.namespace.as_deref(), &self.name)
    }

    /// A service whose namespace is known.
    pub(super) const fn of(namespace: String, name: String) -> Self {
        Self { namespace: Some(namespace), name }
    }
}

/// A manager, and where output goes.
pub(super) struct Session<'a> {
    /// The manager.
    pub(super) client: Client,
    /// The namespace, where a service is named without one.
    pub(super) namespace: String,
    /// The namespace that the command line names, which nothing else may contradict. `None`: it names none.
    pub(super) said_namespace: Option<String>,
    /// How data is printed.
    pub(super) format: Format,
    /// How it looks.
    pub(super) style: Style,
    /// Whether somebody watches.
    pub(super) is_terminal: bool,
    /// How wide a table may be. `None`: as wide as it is.
    pub(super) room: Option<usize>,
    /// What the commands that are suggested have to repeat.
    pub(super) hints: Hints,
    /// Where data goes.
    pub(super) out: &'a mut (dyn Write + Send),
}

impl<'a> Session<'a> {
    /// For a command with these flags, whose time begins now; or for one that takes its own time, and waits for each
    /// answer for itself.
    pub(super) fn new(
        common: &Common,
        surroundings: &Surroundings,
        takes_its_time: bool,
        out: &'a mut (dyn Write + Send),
    ) -> Result<Self, Error> {
        let common = common.or(&surroundings.before);
        // What was meant by it may be which manager is changed. Who has to stop something now is not kept from it.
        for unknown in unknown_variables() {
            say(&format!("{} means nothing: did you mean {}?", unknown.name, unknown.nearest));
        }
        let wishes = Wishes {
            server: common.server.clone(),
            server_variable: variable(SERVER),
            context: common.context.clone(),
            context_variable: variable(CONTEXT),
            namespace: common.namespace.clone(),
        };
        let contexts = || match contexts_path() {
            Ok(path) => contexts::load(&path),
            // Without a home there are no contexts, and nothing to refuse.
            Err(_) => Ok(contexts::Contexts::default()),
        };
        let (target, unfit) = contexts::resolve(&wishes, contexts)?;
        if let Some(error) = unfit {
            let why = error.to_string();
            let why = why.lines().next().unwrap_or_default();
            say(&format!("without contexts, so the namespace is {}: {why}", target.namespace));
        }
        let actor = common.actor.clone().or_else(|| variable(ACTOR)).unwrap_or_else(actor);
        let patience = match common.timeout {
            None => Patience::Each(DEFAULT_PATIENCE),
            Some(timeout) if takes_its_time => Patience::Each(timeout),
            Some(timeout) => Patience::all(timeout),
        };
        let client = Client::new(&target.server, &actor, patience)?;
        let format = common.output.unwrap_or_default();
        Ok(Self {
            client,
            namespace: target.namespace,
            hints: common.hints(),
            said_namespace: common.namespace,
            format,
            style: Style::new(surroundings.is_terminal, surroundings.no_color),
            is_terminal: surroundings.is_terminal,
            // Whoever wants it wide wants all of it.
            room: surroundings.width.filter(|_| format == Format::Table),
            out,
        })
    }

    /// Namespace and name of a service.
    pub(super) fn place(&self, service: &ServiceName) -> (String, String) {
        (service.namespace.clone().unwrap_or_else(|| self.namespace.clone()), service.name.clone())
    }

    /// A service's name as it can be typed again: with its namespace, where that is not this command's.
    pub(super) fn shown(&self, namespace: &str, name: &str) -> String {
        if namespace == self.namespace || namespace.is_empty() {
            name.to_owned()
        } else {
            format!("{namespace}/{name}")
        }
    }

    /// All that is known of a service.
    pub(super) async fn info(&self, service: &ServiceName) -> Result<v1::GetServiceIsolationInfoResponse, Error> {
        let (namespace, service) = self.place(service);
        Ok(self.client.call(v1::GetServiceIsolationInfoRequest { namespace, service }).await?)
    }

    /// Prints a message, where the format is for programs.
    pub(super) fn document<M: Named>(&mut self, message: &M) -> Result<(), Error> {
        Ok(document(self.out, self.format, message)?)
    }

    /// Prints a table.
    pub(super) fn table(&mut self, table: &Table) -> Result<(), Error> {
        Ok(table.print_within(self.out, self.style, self.room)?)
    }
}

/// Says what an answer lacks: a store that is away, and managers that did not answer.
pub(super) fn say_lacks(stale_for: Option<prost_types::Duration>, unreachable: &[v1::UnreachableManager]) {
    for lack in lacks(stale_for, unreachable) {
        say(&lack);
    }
}

/// The same, a line each.
pub(super) fn lacks(stale_for: Option<prost_types::Duration>, unreachable: &[v1::UnreachableManager]) -> Vec<String> {
    let stale = std_duration(stale_for).map(|age| {
        format!("the store is out of reach: this is {} old", humantime::format_duration(whole_seconds(age)))
    });
    let managers = unreachable.iter().map(|manager| {
        let name = if manager.address.is_empty() { &manager.id } else { &manager.address };
        format!("manager {name} did not answer, so its instances are not counted: {}", manager.reason)
    });
    stale.into_iter().chain(managers).collect()
}

fn whole_seconds(age: Duration) -> Duration {
    Duration::from_secs(age.as_secs())
}

/// Where contexts are kept.
pub(super) fn contexts_path() -> Result<std::path::PathBuf, contexts::ContextError> {
    contexts::path(env::var_os("XDG_CONFIG_HOME"), env::var_os("HOME"))
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
}

fn actor() -> String {
    let text = |value: OsString| value.to_string_lossy().into_owned();
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".to_owned());
    format!("{user}@{}", text(gethostname::gethostname()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_with_its_namespace_or_without() {
        let named = |namespace: Option<&str>, name: &str| ServiceName {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        assert_eq!("payments".parse(), Ok(named(None, "payments")));
        assert_eq!("shop/payments".parse(), Ok(named(Some("shop"), "payments")));
        for text in ["", "/payments", "shop/", "a/b/c"] {
            assert!(text.parse::<ServiceName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_command_is_given_again_with_the_right_name() {
        let words = ["/usr/bin/cofferdam", "exec", "shop/paymnets", "Get", "--data-raw", "it's {}"];
        let surroundings = Surroundings { arguments: words.map(str::to_owned).to_vec(), ..Surroundings::default() };
        assert_eq!(
            surroundings.command_with("paymnets", "payments"),
            r"cofferdam exec shop/payments Get --data-raw 'it'\''s {}'"
        );
    }

    #[test]
    fn what_is_suggested_repeats_which_manager_was_said() {
        let said = Common { server: Some("http://m:1".to_owned()), actor: Some("ann".to_owned()), ..Common::default() };
        let hints = said.or(&Common { namespace: Some("*".to_owned()), ..Common::default() }).hints();
        assert_eq!(hints.command("cofferdam check"), "cofferdam -s http://m:1 -n '*' check");
        assert_eq!(Common::default().hints(), Hints::default());
    }

    /// Before, `--timeout 12000y` panicked, and a hold for as long was one without an end.
    #[test]
    fn a_time_that_nobody_waits_is_refused() {
        assert_eq!(span("1h 30m"), Ok(Duration::from_secs(5_400)));
        assert!(span("365d").is_ok());
        assert_eq!(patience("0s"), Err("must be above zero".to_owned()), "before: nobody answered within 0s");
        for text in ["366d", "12000y", "300000000000y", "soon", "10"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_an_answer_lacks_is_said() {
        let manager = v1::UnreachableManager { id: "m1".into(), address: "b:7420".into(), reason: "no answer".into() };
        let stale = prost_types::Duration { seconds: 75, nanos: 5 };
        assert_eq!(
            lacks(Some(stale), &[manager]),
            [
                "the store is out of reach: this is 1m 15s old",
                "manager b:7420 did not answer, so its instances are not counted: no answer",
            ]
        );
        assert!(lacks(None, &[]).is_empty());
    }
}
