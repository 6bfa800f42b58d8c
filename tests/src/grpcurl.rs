//! The real grpcurl, which knows of the contract only what reflection tells it.

use crate::tools::tool;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

/// grpcurl, aimed at one manager.
#[derive(Clone, Debug)]
pub struct Grpcurl {
    binary: PathBuf,
    address: String,
    headers: Vec<String>,
}

/// A call that grpcurl reports as failed.
#[derive(Clone, Debug)]
pub struct GrpcurlError {
    /// The name of the status code, for example `NotFound`. Empty: it failed before a status came.
    pub code: String,
    /// All that it printed about the failure.
    pub text: String,
}

/// What a shell command printed.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its standard output.
    pub stdout: String,
    /// Its standard output as a JSON value. `None`: it is none.
    pub json: Option<Value>,
}

impl Grpcurl {
    /// Aims grpcurl at an address.
    ///
    /// # Panics
    ///
    /// If grpcurl is not installed.
    pub fn at(address: impl Into<String>) -> Self {
        Self { binary: tool("grpcurl"), address: address.into(), headers: Vec::new() }
    }

    /// The same, with metadata in every call: `name: value`.
    pub fn with_header(&self, header: &str) -> Self {
        Self { headers: vec![header.to_owned()], ..self.clone() }
    }

    /// Calls a method with a JSON request and returns the JSON answer.
    ///
    /// # Errors
    ///
    /// [`GrpcurlError`], where the call fails.
    ///
    /// # Panics
    ///
    /// If grpcurl cannot be started or answers with something else than JSON.
    pub fn call(&self, method: &str, request: &Value) -> Result<Value, GrpcurlError> {
        let output = self.run(&["-d", &request.to_string()], &[method]);
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).expect("grpcurl prints JSON"))
        } else {
            Err(GrpcurlError::new(&output))
        }
    }

    /// Calls a method of the isolation service.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    pub fn isolation(&self, method: &str, request: &Value) -> Result<Value, GrpcurlError> {
        self.call(&format!("cofferdam.v1.IsolationService/{method}"), request)
    }

    /// What grpcurl prints for words such as `list` or `describe X`, which it answers from reflection alone.
    ///
    /// # Errors
    ///
    /// [`GrpcurlError`], where grpcurl fails.
    ///
    /// # Panics
    ///
    /// If grpcurl cannot be started.
    pub fn ask(&self, words: &[&str]) -> Result<String, GrpcurlError> {
        let output = self.run(&[], words);
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).expect("grpcurl prints text"))
        } else {
            Err(GrpcurlError::new(&output))
        }
    }

    /// Runs a command as a reader would paste it into a shell, with `localhost:7420` standing for this manager.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn paste(&self, command: &str) -> Script {
        let folder = self.binary.parent().expect("the binary lies in a folder");
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&paths));
        let output = Command::new("sh")
            .args(["-euc", &command.replace("localhost:7420", &self.address)])
            .env("PATH", std::env::join_paths(paths).expect("the paths are joined again"))
            .output()
            .expect("a shell starts");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "as printed, this fails:\n{command}\n{stdout}{stderr}");
        let json = serde_json::from_str(&stdout).ok();
        Script { stdout, json }
    }

    fn run(&self, options: &[&str], words: &[&str]) -> Output {
        Command::new(&self.binary)
            .args(["-plaintext", "-max-time", "20"])
            .args(self.headers.iter().flat_map(|header| ["-H", header]))
            .args(options)
            .arg(&self.address)
            .args(words)
            .output()
            .expect("grpcurl starts")
    }
}

impl GrpcurlError {
    fn new(output: &Output) -> Self {
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let code = text.lines().find_map(|line| line.trim().strip_prefix("Code: "));
        Self { code: code.unwrap_or_default().to_owned(), text }
    }
}
