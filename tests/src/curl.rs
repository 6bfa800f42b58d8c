//! The real curl, aimed at one manager.

use serde_json::Value;
use std::process::Command;

/// curl, aimed at one manager.
#[derive(Clone, Debug)]
pub struct Curl {
    base: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Curl {
    /// Aims curl at a manager's URL.
    pub fn at(base: impl Into<String>) -> Self {
        Self { base: base.into() }
    }

    /// Asks for a path, with these options before it.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn ask(&self, options: &[&str], path: &str) -> Answer {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--include", "--max-time", "20"])
            .args(options)
            .arg(format!("{}{path}", self.base))
            .output()
            .expect("curl starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "curl {options:?} {path}: {stderr}");
        let text = String::from_utf8_lossy(&output.stdout);
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer has a status");
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// Sends JSON.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.ask(&["-X", method, "-H", "Content-Type: application/json", "-d", &body], path)
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A header by its name in lower case. Empty: it is not there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_default()
    }
}
