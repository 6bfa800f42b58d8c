//! `top` on a real terminal, which util-linux's `script` makes.

use super::{Operator, refused};
use cofferdam_tests::{eventually, manager_binary, without_settings};
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

/// What a terminal is told when a program that has taken it gives it back.
const LEAVES: &str = "\u{1b}[?1049l";

/// A program on a terminal of 80 by 24.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(operator: &Operator, arguments: &str) -> Self {
        let line = format!("stty cols 80 rows 24; exec {} {arguments}", manager_binary().display());
        let mut child = without_settings(&mut Command::new("script"))
            .args(["-qfec", &line, "/dev/null"])
            .env("XDG_CONFIG_HOME", operator.home.path())
            .env("COFFERDAM_SERVER", &operator.server)
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keys = child.stdin.take().unwrap();
        let mut out = child.stdout.take().unwrap();
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let written = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut chunk) {
                written.lock().unwrap().extend_from_slice(&chunk[..length]);
            }
        });
        Self { child, keys, screen }
    }

    fn written(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// Only what changes is written, so spaces that were there before are not.
    async fn shows(&self, text: &str) {
        let bare = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
        eventually(text, async || {
            let written = self.written();
            if bare(&without_escapes(&written)).contains(&bare(text)) { Ok(()) } else { Err(written) }
        })
        .await;
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for its end; what it ended with.
    async fn ends(&mut self) -> Option<i32> {
        eventually("the end", async || self.child.try_wait().unwrap().ok_or(())).await.code()
    }
}

impl Drop for Terminal {
    /// A test that fails leaves nothing behind that writes to its output.
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// What stands on a terminal, less where it stands and how it looks.
fn without_escapes(written: &str) -> String {
    let mut parts = written.split("\u{1b}[");
    let mut bare = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| letter.is_ascii_alphabetic()).map_or(part.len(), |end| end + 1);
        bare.push_str(&part[end..]);
    }
    bare
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a9_top_shows_services_changes_what_is_confirmed_and_gives_the_terminal_back() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    let mut terminal = Terminal::start(&operator, "top --every 200ms");
    terminal.shows("payments").await;
    terminal.press("l3");
    terminal.shows("set level full for payments? y/n").await;
    terminal.press("y");
    // Letters that were there before are not written again, so what it says of it may not be read off the bytes.
    eventually("the change", async || {
        let last = operator.done(&["history", "payments", "--limit", "1"]);
        if last.contains("by hand, from cofferdam top") { Ok(()) } else { Err(last) }
    })
    .await;
    terminal.press("q");
    assert_eq!(terminal.ends().await, Some(0));
    assert!(terminal.written().contains(LEAVES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_says_that_a_manager_is_away_and_a_signal_gives_the_terminal_back() {
    let (manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments"]);
    let mut terminal = Terminal::start(&operator, "top --every 200ms");
    terminal.shows("payments").await;
    drop(manager);
    terminal.shows("no manager answers").await;
    let script = terminal.child.id().to_string();
    let children = std::fs::read_to_string(format!("/proc/{script}/task/{script}/children")).unwrap();
    assert!(Command::new("kill").args(["-TERM", children.trim()]).status().unwrap().success());
    assert_eq!(terminal.ends().await, Some(0), "it is asked to end, and does");
    assert!(terminal.written().contains(LEAVES));
    refused(&operator.run(&["top"]), 2, &["this is none", "try: cofferdam get services -w"]);
}

/// Before, only instances that said that they were held showed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_shows_a_hold_over_a_service_that_nobody_uses() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "mail", "--level", "enhanced"]);
    operator.done(&["hold", "mail", "open", "--reason", "a drill"]);
    let mut terminal = Terminal::start(&operator, "top --every 200ms");
    terminal.shows("mail enhanced held open").await;
    terminal.press("q");
    assert_eq!(terminal.ends().await, Some(0));
}
