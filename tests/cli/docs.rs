use super::{Operator, said};
use cofferdam::Cofferdam;
use cofferdam_tests::{
    Behaviour, Manager, Said, Snippet, Upstream, eventually, manager_binary, shell_snippets, without_settings,
    workspace_root,
};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// The `sh` blocks of a document that are commands of `cofferdam`.
pub(super) fn commands_of(name: &str) -> Vec<Snippet> {
    let text = std::fs::read_to_string(workspace_root().join(name)).unwrap();
    let is_ours = |commands: &str| commands.lines().any(|line| line.trim_start().starts_with("cofferdam "));
    let snippets: Vec<_> = shell_snippets(&text).into_iter().filter(|snippet| is_ours(&snippet.commands)).collect();
    assert!(!snippets.is_empty(), "{name} shows commands");
    snippets
}

impl Operator {
    /// Runs commands in a shell that knows the binary, in this operator's folder.
    pub(super) fn paste(&self, commands: &str) -> Said {
        let folder = manager_binary().parent().unwrap();
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&paths));
        let mut shell = Command::new("sh");
        without_settings(&mut shell)
            .args(["-euc", commands])
            .current_dir(self.home.path())
            .env("PATH", std::env::join_paths(paths).unwrap());
        said(shell.env("COFFERDAM_SERVER", &self.server).env("XDG_CONFIG_HOME", self.home.path()).env("EDITOR", "true"))
    }
}

/// A process that uses a service, and has its policy in force.
async fn instance(manager: &Manager, service: &str) -> Cofferdam {
    let instance = Cofferdam::builder("checkout").manager(manager.url()).start();
    let service = instance.service(service);
    eventually("the first policy", async || service.revision().ok_or(())).await;
    instance
}

/// Runs the `sh` blocks of the README, of docs/cli.md and of those that it leads to that are commands of `cofferdam`, in
/// order, in one folder and against one fresh manager: each must succeed as it is printed, with `127.0.0.1:7420` standing
/// for the manager and `127.0.0.1:50051` for a service. Where one waits for instances, there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_documentation_work_as_printed() {
    let upstream = Upstream::start(Behaviour::bytes("live data")).await;
    let (manager, operator) = Operator::with_manager().await;
    for name in ["README.md", "docs/cli.md", "docs/events.md", "docs/explain.md", "docs/simulate.md"] {
        for snippet in commands_of(name) {
            let commands = snippet.commands.replace("127.0.0.1:7420", &manager.address());
            let instance = if commands.contains("--wait") { Some(instance(&manager, "prices").await) } else { None };
            let told = operator.paste(&commands.replace("127.0.0.1:50051", &upstream.address()));
            assert_eq!(told.code, Some(0), "{name}:{}: as printed, this fails:\n{commands}\n{told:?}", snippet.line);
            if let Some(instance) = instance {
                instance.shutdown().await;
            }
        }
    }
}

/// What the demo says to try next works as it prints it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_demo_says_to_try_next_works_as_printed() {
    let (_manager, operator) = Operator::with_manager().await;
    let mut demo = operator.command(&["demo", "--plain", "--seconds", "3600"]);
    let mut demo = demo.env_remove("CARGO_MANIFEST_DIR").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    // By then it listens for the signal.
    assert!(lines.any(|line| line.contains(" instances in ")), "it had nothing to say");
    let stopped = Command::new("sh").args(["-c", &format!("kill -INT {}", demo.id())]).status().unwrap();
    assert!(stopped.success());
    let next: Vec<_> = lines.skip_while(|line| line != "try next").skip(1).collect();
    demo.wait().unwrap();
    let (serve, others) = next.split_first().unwrap();
    assert_eq!((serve.as_str(), others[0].as_str()), ("  cofferdam serve", "and in another terminal"));
    let others = others[1..].join("\n");
    assert_eq!(others.lines().filter(|line| line.starts_with("  cofferdam ")).count(), 3, "{others}");
    let told = operator.paste(&others);
    assert_eq!(told.code, Some(0), "as printed, this fails:\n{others}\n{told:?}");
    assert!(told.out.contains("enhanced -> full"), "{told:?}");
}

/// What docs/incident.md says to type works for a service that somebody has changed, and then held open. Revision 41 stands
/// for the one to go back to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_for_the_night_work_as_printed_while_a_breaker_is_held_open() {
    let (manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    let _instance = instance(&manager, "payments").await;
    let good = operator.done(&["history", "payments", "-o", "name"]);
    operator.done(&["policy", "set", "payments", "timeout.call_timeout=900ms"]);
    operator.done(&["hold", "payments", "open", "--reason", "the database is being moved"]);
    let mut said = String::new();
    for snippet in commands_of("docs/incident.md") {
        let told =
            operator.paste(&snippet.commands.replace("--to-revision 41", &format!("--to-revision {}", good.trim())));
        let expected = if snippet.commands == "cofferdam check -A\n" { 4 } else { 0 };
        let (line, commands) = (snippet.line, &snippet.commands);
        assert_eq!(told.code, Some(expected), "docs/incident.md:{line}: as printed, this fails:\n{commands}\n{told:?}");
        said.push_str(&told.out);
    }
    for words in [
        "try: cofferdam release payments --reason TEXT",
        "to end it: cofferdam release payments --reason TEXT",
        "timeout.call_timeout 5s (unset) -> 900ms",
        "payments: breakers released",
        &format!("payments: would go back to {}", good.trim()),
        "payments: breakers reset",
        "payments: breakers held disabled for 10m",
        "payments: none until ",
    ] {
        assert!(said.contains(words), "no {words:?} in\n{said}");
    }
}

/// The reference names every command, so that none is added without a word about it.
#[test]
fn the_reference_names_every_command() {
    let text = std::fs::read_to_string(workspace_root().join("docs/cli.md")).unwrap();
    let help = Operator::at("").done(&["--help"]);
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names: Vec<_> = commands.map_while(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    assert!(names.len() > 15, "{help}");
    for name in names.iter().filter(|name| **name != "help") {
        assert!(text.contains(&format!("`{name}")), "docs/cli.md does not say what `{name}` is");
    }
}
