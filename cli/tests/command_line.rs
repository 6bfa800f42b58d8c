//! The binary from outside: what it prints where, and its exit codes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};

fn cofferdam(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command.args(arguments).env_remove("RUST_LOG").output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn version_says_what_this_is() {
    let output = cofferdam(&["version"]);
    assert_eq!(output.status.code(), Some(0));
    let told = text(&output.stdout);
    assert!(told.starts_with(&format!("cofferdam {}\n", env!("CARGO_PKG_VERSION"))), "{told}");
    assert!(told.contains("cofferdam.v1") && told.contains("etcd"), "{told}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn help_is_data_and_names_every_command() {
    let output = cofferdam(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for command in ["serve", "demo", "version"] {
        assert!(text(&output.stdout).contains(command), "{command}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_exit_code_2() {
    for arguments in [
        &["fly"][..],
        &["--plain"],
        &["demo", "--seconds", "3"],
        &["demo", "--seed", "x"],
        &["version", "extra"],
        &["serve", "--store", "paper"],
    ] {
        let output = cofferdam(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert!(text(&output.stderr).contains("--help"), "{arguments:?}: {}", text(&output.stderr));
    }
}

/// `cofferdam demo --plain | head -1`: before, it ended with exit code 1 and the words for a disk that is full.
#[test]
fn a_demo_that_nobody_reads_any_more_ends_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cofferdam"));
    command.args(["demo", "--plain", "--seconds", "3600"]).env_remove("RUST_LOG");
    let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut lines, mut told) = (BufReader::new(demo.stdout.take().unwrap()), String::new());
    while told.trim().is_empty() {
        assert!(lines.read_line(&mut told).unwrap() > 0, "it had nothing to say");
    }
    drop(lines);
    // Far from its end: nothing but the closed pipe ends it.
    let status = demo.wait().unwrap();
    let mut words = String::new();
    demo.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert_eq!((status.code(), words.as_str()), (Some(0), ""));
}

#[test]
fn serve_says_how_to_mend_a_bad_address() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let serve = |listen: &str| cofferdam(&["serve", "--data-dir", data_dir, "--listen", listen]);

    let output = serve("nowhere");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--listen"), "{}", text(&output.stderr));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = serve(&address);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr).lines().last().unwrap();
    assert!(told.starts_with(&format!("cofferdam: cannot listen on {address}")) && told.contains("--listen"), "{told}");

    // Others could reach it, and this release has neither TLS nor authentication.
    let output = serve("0.0.0.0:0");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("127.0.0.1"), "{}", text(&output.stderr));
}
