//! A real etcd server for tests: a child process on free loopback ports with its data in a temporary directory, killed
//! when it is dropped.

use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

/// How long etcd may take to start.
const START: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Etcd {
    child: Child,
    dir: TempDir,
    client_port: u16,
    peer_port: u16,
    arguments: Vec<String>,
}

impl Etcd {
    /// A cluster of one, ready to serve.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more arguments for etcd.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        loop {
            // Somebody else may take the ports in between; then etcd exits at once and others are tried.
            let dir = tempfile::tempdir().expect("a temporary directory");
            let (client_port, peer_port) = free_ports().await;
            let child = spawn(dir.path().to_str().expect("a readable path"), client_port, peer_port, &arguments);
            let mut etcd = Self { child, dir, client_port, peer_port, arguments: arguments.clone() };
            if etcd.is_ready().await {
                return etcd;
            }
        }
    }

    /// The client address.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Kills the process with SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("etcd can be killed");
    }

    /// Starts the killed process again on the same ports and data.
    pub(crate) async fn restart(&mut self) {
        let dir = self.dir.path().to_str().expect("a readable path");
        self.child = spawn(dir, self.client_port, self.peer_port, &self.arguments);
        assert!(self.is_ready().await, "etcd did not start again");
    }

    /// Stops the process with SIGSTOP: it keeps its connections and answers nothing.
    pub(crate) async fn freeze(&self) {
        self.signal("-STOP").await;
    }

    /// Lets a frozen process go on.
    pub(crate) async fn thaw(&self) {
        self.signal("-CONT").await;
    }

    /// A call to etcd's JSON gateway.
    pub(crate) async fn post(&self, path: &str, body: &str) -> String {
        self.request(path, "", body).await
    }

    /// The same with a token of `/v3/auth/authenticate`.
    pub(crate) async fn post_as(&self, token: &str, path: &str, body: &str) -> String {
        self.request(path, &format!("Authorization: {token}\r\n"), body).await
    }

    async fn request(&self, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        let request = format!("POST {path} HTTP/1.0\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        self.http(&request).await.expect("etcd answers")
    }

    /// The value of a metric without labels.
    pub(crate) async fn metric(&self, name: &str) -> usize {
        let metrics = self.http("GET /metrics HTTP/1.0\r\n\r\n").await.expect("etcd answers");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name}"))
    }

    async fn signal(&self, signal: &str) {
        let process = self.child.id().expect("etcd runs").to_string();
        let sent: ExitStatus = Command::new("kill").args([signal, &process]).status().await.expect("kill exists");
        assert!(sent.success(), "kill {signal} {process}: {sent}");
    }

    /// Waits until it serves; false when it exits instead.
    async fn is_ready(&mut self) -> bool {
        let ready = async {
            let mut pause = tokio::time::interval(Duration::from_millis(20));
            loop {
                pause.tick().await;
                if self.child.try_wait().expect("etcd is our child").is_some() {
                    return false;
                }
                let health = self.http("GET /health HTTP/1.0\r\n\r\n").await.unwrap_or_default();
                if health.contains(r#""health":"true""#) {
                    return true;
                }
            }
        };
        tokio::time::timeout(START, ready).await.expect("etcd starts or exits")
    }

    /// Sends a request and returns the whole answer.
    async fn http(&self, request: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.client_port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

async fn free_ports() -> (u16, u16) {
    let bind = || TcpListener::bind(("127.0.0.1", 0));
    let (client, peer) = (bind().await.expect("a free port"), bind().await.expect("a free port"));
    let port = |listener: &TcpListener| listener.local_addr().expect("a bound listener").port();
    (port(&client), port(&peer))
}

fn spawn(dir: &str, client_port: u16, peer_port: u16, arguments: &[String]) -> Child {
    let client = format!("http://127.0.0.1:{client_port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    Command::new("etcd")
        .args(["--name", "test", "--data-dir", dir, "--logger", "zap", "--log-level", "error"])
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("test={peer}")])
        // A lone member need not wait long for others before it elects itself.
        .args(["--heartbeat-interval", "20", "--election-timeout", "200"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("etcd cannot be started ({error}): run `make setup`, which installs it"))
}
