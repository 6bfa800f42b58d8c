//! A real etcd for tests: child processes on free loopback ports with their data in a temporary directory, killed when
//! it is dropped.

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

/// A lone member need not wait long for others before it elects itself.
const ALONE: [&str; 4] = ["--heartbeat-interval", "20", "--election-timeout", "200"];

/// Which etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The oldest one that is supported, as Debian has it, or what else is installed as `etcd`.
    Oldest,
    /// The one that `tools/etcd` pins.
    Current,
}

#[derive(Debug)]
pub(crate) struct Etcd {
    release: Release,
    members: Vec<Member>,
    dir: TempDir,
    arguments: Vec<String>,
}

#[derive(Debug)]
struct Member {
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
}

impl Etcd {
    /// A cluster of one, ready to serve.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more arguments for etcd.
    pub(crate) async fn start_with(arguments: &[&str]) -> Self {
        Self::cluster(Release::Oldest, 1, arguments).await
    }

    /// A cluster of so many members of a release, ready to serve.
    pub(crate) async fn cluster(release: Release, members: usize, arguments: &[&str]) -> Self {
        let alone: &[&str] = if members == 1 { &ALONE } else { &[] };
        let arguments: Vec<String> = alone.iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        loop {
            // Somebody else may take the ports in between; then etcd exits at once and others are tried.
            let ports = free_ports(2 * members).await;
            let member = |ports: &[u16]| Member { client_port: ports[0], peer_port: ports[1], child: None };
            let members = ports.chunks_exact(2).map(member).collect();
            let dir = tempfile::tempdir().expect("a temporary directory");
            let mut etcd = Self { release, members, dir, arguments: arguments.clone() };
            for index in 0..etcd.members.len() {
                etcd.spawn(index);
            }
            if etcd.is_ready().await {
                return etcd;
            }
        }
    }

    /// The client address of the first member.
    pub(crate) fn endpoint(&self) -> String {
        self.members[0].endpoint()
    }

    /// The client addresses of all members.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// Kills the first member with SIGKILL.
    pub(crate) async fn kill(&mut self) {
        self.child().kill().await.expect("etcd can be killed");
    }

    /// Starts the killed member again on the same ports and data.
    pub(crate) async fn restart(&mut self) {
        self.spawn(0);
        assert!(self.is_ready().await, "etcd did not start again");
    }

    /// Stops the first member with SIGSTOP: it keeps its connections and answers nothing.
    pub(crate) async fn freeze(&mut self) {
        self.signal("-STOP").await;
    }

    /// Lets a frozen member go on.
    pub(crate) async fn thaw(&mut self) {
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
        self.members[0].http(&request).await.expect("etcd answers")
    }

    /// The sum of a metric without labels over all members.
    pub(crate) async fn metric(&self, name: &str) -> usize {
        let mut sum = 0;
        for member in &self.members {
            let metrics = member.http("GET /metrics HTTP/1.0\r\n\r\n").await.expect("etcd answers");
            let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<usize>().ok());
            sum += value.unwrap_or_else(|| panic!("no metric {name}"));
        }
        sum
    }

    fn child(&mut self) -> &mut Child {
        self.members[0].child.as_mut().expect("it was started")
    }

    async fn signal(&mut self, signal: &str) {
        let process = self.child().id().expect("etcd runs").to_string();
        let sent: ExitStatus = Command::new("kill").args([signal, &process]).status().await.expect("kill exists");
        assert!(sent.success(), "kill {signal} {process}: {sent}");
    }

    /// Waits until all members serve; false when one exits instead.
    async fn is_ready(&mut self) -> bool {
        let ready = async {
            let mut pause = tokio::time::interval(Duration::from_millis(20));
            for member in &mut self.members {
                loop {
                    pause.tick().await;
                    let child = member.child.as_mut().expect("it was started");
                    if child.try_wait().expect("etcd is our child").is_some() {
                        return false;
                    }
                    let health = member.http("GET /health HTTP/1.0\r\n\r\n").await.unwrap_or_default();
                    if health.contains(r#""health":"true""#) {
                        break;
                    }
                }
            }
            true
        };
        tokio::time::timeout(START, ready).await.expect("etcd starts or exits")
    }

    fn spawn(&mut self, index: usize) {
        let name = |index: usize| format!("member{index}");
        let (client, peer) = (self.members[index].endpoint(), self.members[index].peer());
        let peers = self.members.iter().enumerate().map(|(i, member)| format!("{}={}", name(i), member.peer()));
        let peers: Vec<String> = peers.collect();
        let binary = match self.release {
            Release::Oldest => "etcd",
            Release::Current => "etcd-current",
        };
        let child = Command::new(binary)
            .args(["--name", &name(index), "--logger", "zap", "--log-level", "error"])
            .arg("--data-dir")
            .arg(self.dir.path().join(name(index)))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &peers.join(",")])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let refused = |error| panic!("{binary} cannot be started ({error}): run `make setup`, which installs it");
        self.members[index].child = Some(child.unwrap_or_else(refused));
    }
}

impl Member {
    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    fn peer(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
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

async fn free_ports(count: usize) -> Vec<u16> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port"));
    }
    listeners.iter().map(|listener| listener.local_addr().expect("a bound listener").port()).collect()
}
