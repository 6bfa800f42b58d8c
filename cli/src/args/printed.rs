//! What the documents and `--help` print as commands of ours is a command line: no flag in them rots.
//!
//! Whether they do what is said is for the tests that run them; most need a manager, and some a store or a cluster.

use super::Cli;
use clap::{Command, CommandFactory as _, Parser as _};
use std::path::{Path, PathBuf};

/// Words of the shell that end a command.
const ENDS: &[&str] = &["|", "||", "&&", ";", "&", ">", ">>", "<", "<<END", "2>"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The text of all documents, each with its path.
fn documents() -> Vec<(String, String)> {
    let folders = ["", "docs", "docs/observability", "client/rust", "tests/conformance"];
    let paths = folders.iter().flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    let paths = paths.map(|entry| entry.unwrap().path());
    let documents = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The commands of ours in a line as a shell reads it, which may have several.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ").replace("cargo run -- ", "cofferdam ");
    if !line.contains("cofferdam ") {
        return Vec::new();
    }
    let Some(words) = shlex::split(&substituted(line)) else { return Vec::new() };
    let parts = words.split(|word| ENDS.contains(&word.as_str()));
    parts.filter(|part| part.first().is_some_and(|first| first == "cofferdam")).map(<[String]>::to_vec).collect()
}

/// A line with a 1 for each `$(...)`, whatever a shell would find there.
fn substituted(mut line: String) -> String {
    while let Some(begin) = line.find("$(")
        && let Some(length) = line[begin..].find(')')
    {
        line.replace_range(begin..=begin + length, "1");
    }
    line
}

/// What the code blocks of a document, and the code within its lines, have of them. Blocks that are not the shell's show
/// output as well: there, a command is what begins with the name of one, and has no columns.
fn printed(text: &str) -> Vec<Vec<String>> {
    let (mut found, mut prose, mut is_code, mut is_shell, mut is_here) =
        (Vec::new(), String::new(), false, false, false);
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            is_shell = is_code && line.trim() == "```sh";
        } else if !is_code {
            prose.push_str(line);
            prose.push(' ');
        } else if is_here {
            is_here = line != "END";
        } else {
            is_here = line.contains("<<END");
            let has_columns = line.trim().contains("  ");
            let is_ours = |words: &Vec<String>| is_shell || !has_columns && is_name(&words[..words.len().min(2)]);
            found.extend(commands(line).into_iter().filter(is_ours));
        }
    }
    let spans = prose.split('`').skip(1).step_by(2);
    let is_whole = |span: &&str| !span.contains(['[', '{', '…']);
    found.extend(spans.filter(is_whole).flat_map(commands).filter(|words| !is_name(words)));
    found
}

/// Whether words only name a command, such as `cofferdam policy set`.
fn is_name(words: &[String]) -> bool {
    let command = Cli::command();
    words[1..].iter().try_fold(&command, |command, word| command.find_subcommand(word)).is_some()
}

/// What `--help` of a command and all below it gives as examples.
fn examples(command: &Command, found: &mut Vec<Vec<String>>) {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().filter(|line| line.starts_with("  cofferdam "));
    found.extend(lines.flat_map(commands));
    command.get_subcommands().for_each(|below| examples(below, found));
}

/// Why words are no command line. A word in capitals stands for a value.
fn refusal(words: &[String]) -> Option<String> {
    let value = |word| match word {
        "N" => "1",
        "STORE" => "embedded:DIR",
        word => word,
    };
    let words = words.iter().map(|word| value(word.as_str()));
    match Cli::try_parse_from(words).and_then(Cli::into_command) {
        Ok(_) => None,
        Err(error) if error.exit_code() == 0 => None,
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn every_command_that_the_documents_print_is_one() {
    let mut count = 0;
    for (path, text) in documents() {
        for words in printed(&text) {
            count += 1;
            let refusal = refusal(&words);
            assert_eq!(refusal, None, "{path}: {words:?}: {}", refusal.as_deref().unwrap_or_default());
        }
    }
    assert!(count > 120, "{count} commands were found");
}

#[test]
fn every_example_of_the_help_is_one() {
    let mut found = Vec::new();
    examples(&Cli::command(), &mut found);
    assert!(found.len() > 60, "{} examples were found", found.len());
    for words in found {
        let refusal = refusal(&words);
        assert_eq!(refusal, None, "{words:?}: {}", refusal.as_deref().unwrap_or_default());
    }
}

#[test]
fn commands_are_found_and_wrong_ones_refused() {
    let text = "Say `cofferdam reset SERVICE`, or `cofferdam policy set`.\n```sh\necho x | cofferdam import opossum - \\\n  \
                --service a | cofferdam apply -f -\ncat > f <<END\ncofferdam: yes\nEND\n$ cofferdam get services | head\n```\n\
                ```text\ncofferdam  level full\ncofferdam top  a:1\n$ cofferdam check -A\n```\n";
    let found = printed(text);
    let found: Vec<_> = found.iter().map(|words| words.join(" ")).collect();
    assert_eq!(
        found,
        [
            "cofferdam import opossum - --service a",
            "cofferdam apply -f -",
            "cofferdam get services",
            "cofferdam check -A",
            "cofferdam reset SERVICE",
        ]
    );
    let refusal = |line: &str| commands(line).iter().find_map(|words| refusal(words));
    assert!(refusal("cofferdam reset SERVICE").is_some_and(|why| why.contains("--reason")));
    assert_eq!(refusal("cofferdam reset SERVICE --reason 'why' --wait"), None);
    assert_eq!(refusal("cofferdam rollback a --to-revision \"$(cofferdam history a | sed -n 2p)\" --wait"), None);
}
