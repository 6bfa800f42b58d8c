//! The operator's commands of the one binary, against a real manager: what they do, print where, and end with.

mod auto_level;
mod contexts;
mod declare;
mod docs;
mod docs_managers;
mod documents;
mod errors;
mod explain;
mod happening;
mod night;
mod orders;
mod reads;
mod rejected;
mod restored;
mod top;
mod writes;

use cofferdam_tests::{Manager, Said, Store, command};
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// An operator at a manager, with a home that nobody else has.
struct Operator {
    home: TempDir,
    server: String,
}

impl Operator {
    fn at(server: impl Into<String>) -> Self {
        Self { home: TempDir::new().unwrap(), server: server.into() }
    }

    /// A manager that forgets everything, and its operator.
    async fn with_manager() -> (Manager, Self) {
        let manager = Manager::start(Store::Memory).await;
        let operator = Self::at(manager.url());
        (manager, operator)
    }

    /// A command of this operator.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("XDG_CONFIG_HOME", self.home.path()).env("COFFERDAM_SERVER", &self.server).env_remove("NO_COLOR");
        command
    }

    /// Runs a command to its end.
    fn run(&self, arguments: &[&str]) -> Said {
        said(&mut self.command(arguments))
    }

    /// Runs a command that reads its standard input.
    fn feed(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        text(child.wait_with_output().unwrap())
    }

    /// Runs a command that succeeds, and returns what it printed.
    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
        said.out
    }

    /// Runs a command that succeeds, and returns the JSON that it printed.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let out = self.done(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// Writes a file into this operator's home, and returns its path.
    fn file(&self, name: &str, contents: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn said(command: &mut Command) -> Said {
    text(command.stdin(Stdio::null()).output().unwrap())
}

fn text(output: std::process::Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Asserts that a command ended with this code, printed no data, and said these words.
#[track_caller]
fn refused(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:?}");
    assert_eq!(said.out, "", "{said:?}");
    for word in words {
        assert!(said.err.contains(word), "no {word:?} in {said:?}");
    }
    assert!(!said.err.contains("panicked"), "{said:?}");
}
