use super::Operator;
use cofferdam_tests::{Behaviour, Upstream, manager_binary, shell_snippets, workspace_root};
use std::process::Command;

/// Runs the `sh` blocks of the README, of docs/cli.md and of those that it leads to that are commands of `cofferdam`, in order, in one folder and
/// against one fresh manager: each must succeed as it is printed, with `127.0.0.1:7420` standing for the manager and
/// `127.0.0.1:50051` for a service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_documentation_work_as_printed() {
    let upstream = Upstream::start(Behaviour::bytes("live data")).await;
    let (manager, operator) = Operator::with_manager().await;
    let snippets: Vec<_> = ["README.md", "docs/cli.md", "docs/events.md", "docs/explain.md", "docs/simulate.md"]
        .into_iter()
        .map(|name| {
            let text = std::fs::read_to_string(workspace_root().join(name)).unwrap();
            let is_ours = |commands: &str| commands.lines().any(|line| line.trim_start().starts_with("cofferdam "));
            let snippets: Vec<_> =
                shell_snippets(&text).into_iter().filter(|snippet| is_ours(&snippet.commands)).collect();
            assert!(!snippets.is_empty(), "{name} shows commands");
            (name, snippets)
        })
        .collect();
    let folder = manager_binary().parent().unwrap();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&paths))).unwrap();
    for (name, snippet) in snippets.iter().flat_map(|(name, snippets)| snippets.iter().map(move |one| (name, one))) {
        let commands = snippet.commands.replace("127.0.0.1:7420", &manager.address());
        let commands = commands.replace("127.0.0.1:50051", &upstream.address());
        let output = Command::new("sh")
            .args(["-euc", &commands])
            .current_dir(operator.home.path())
            .env("PATH", &paths)
            .env("COFFERDAM_SERVER", manager.url())
            .env("XDG_CONFIG_HOME", operator.home.path())
            .env("EDITOR", "true")
            .output()
            .unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name}:{}: as printed, this fails:\n{commands}\n{told}", snippet.line);
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
