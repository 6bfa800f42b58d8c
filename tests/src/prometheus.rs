//! A real Prometheus, and promtool.

use crate::curl::Curl;
use crate::ports;
use crate::process::Process;
use crate::tools::tool;
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A Prometheus that scrapes managers twice a second.
#[derive(Debug)]
pub struct Prometheus {
    curl: Curl,
    _process: Process,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these addresses and evaluates these rules, and returns when it answers.
    ///
    /// # Panics
    ///
    /// If there is none to start, or it does not come up.
    pub async fn start(targets: &[String], rules: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file of its own");
        write("rules.yaml", rules);
        let targets = serde_json::to_string(targets).expect("texts are JSON");
        write(
            "prometheus.yaml",
            &format!(
                "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\n\
                 rule_files: [rules.yaml]\n\
                 scrape_configs:\n  - {{job_name: cofferdam, honor_labels: true, static_configs: [{{targets: {targets}}}]}}\n"
            ),
        );
        let address = format!("127.0.0.1:{}", ports::reserve());
        let mut command = Command::new(tool("prometheus"));
        command.current_dir(folder.path()).args([
            "--config.file=prometheus.yaml",
            "--storage.tsdb.path=data",
            &format!("--web.listen-address={address}"),
        ]);
        let mut process = Process::start("prometheus", &mut command);
        process.printed("its start line", |line| line.contains("ready to receive web requests").then_some(())).await;
        Self { curl: Curl::at(format!("http://{address}")), _process: process, _folder: folder }
    }

    /// The series that a query finds now.
    ///
    /// # Errors
    /// What Prometheus says of the query.
    pub fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let parameter = format!("query={query}");
        let answer = self.curl.ask(&["--get", "--data-urlencode", &parameter], "/api/v1/query").json();
        answer["data"]["result"].as_array().cloned().ok_or_else(|| answer.to_string())
    }

    /// The alerts that fire, by name.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn firing(&self) -> Vec<String> {
        let answer = self.curl.ask(&[], "/api/v1/alerts").json();
        let alerts = answer["data"]["alerts"].as_array().cloned().expect("a list of alerts");
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned)).collect()
    }
}

/// Runs promtool, in the checkout, with this on its standard input.
///
/// # Panics
///
/// If it is not there.
pub fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(tool("promtool"));
    command.current_dir(crate::workspace_root()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool starts");
    let mut stdin = child.stdin.take().expect("its standard input is ours");
    stdin.write_all(input.as_bytes()).expect("promtool reads");
    drop(stdin);
    child.wait_with_output().expect("promtool ends")
}
