//! A real etcd, of one node or several.

use crate::authority::Authority;
use crate::ports;
use crate::process::Process;
use crate::tools::tool;
use crate::wait::eventually;
use etcd_client::ConnectOptions;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

mod network;

use network::Network;

/// A running etcd cluster on loopback ports, with its data in a folder of its own.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    setup: Setup,
    binary: PathBuf,
    /// Who issued the members' certificates, and whose managers they let in by TLS.
    authority: Option<Authority>,
    /// What is between the members, where they can be parted.
    network: Option<Network>,
    folder: TempDir,
}

/// What cluster to start.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Of which etcd.
    pub release: Release,
    /// Of how many nodes; one or more.
    pub nodes: usize,
    /// What else is said to each node.
    pub arguments: &'static [&'static str],
    /// Whether each node listens for TLS as well, and wants a certificate there.
    pub is_secure: bool,
    /// Whether the network between the nodes can fail.
    pub can_part: bool,
}

/// An etcd that `make setup` brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The oldest one that is supported, as Debian has it, or what else is installed as `etcd`.
    Oldest,
    /// The one that `tools/etcd` pins.
    Current,
}

impl Default for Setup {
    fn default() -> Self {
        Self { release: Release::Oldest, nodes: 1, arguments: &[], is_secure: false, can_part: false }
    }
}

#[derive(Debug)]
struct Member {
    client_port: u16,
    peer_port: u16,
    secure_port: Option<u16>,
    process: Option<Process>,
}

impl Etcd {
    /// Starts a cluster of so many nodes of the oldest release, and returns when it takes writes.
    ///
    /// # Panics
    ///
    /// If there is no etcd to start, or it does not come up.
    pub async fn start(nodes: usize) -> Self {
        Self::start_as(Setup { nodes, ..Setup::default() }).await
    }

    /// Starts a cluster, and returns when it takes writes.
    ///
    /// # Panics
    ///
    /// If there is no etcd to start, or it does not come up.
    pub async fn start_as(setup: Setup) -> Self {
        let nodes = setup.nodes;
        let folder = TempDir::new().expect("a temporary folder");
        let authority = setup.is_secure.then(|| Authority::new(folder.path(), "authority"));
        let member = || Member {
            client_port: ports::reserve(),
            peer_port: ports::reserve(),
            secure_port: setup.is_secure.then(ports::reserve),
            process: None,
        };
        let members: Vec<_> = std::iter::repeat_with(member).take(nodes).collect();
        let ports: Vec<_> = members.iter().map(|member| member.peer_port).collect();
        let network = if setup.can_part { Some(Network::between(&ports).await) } else { None };
        let binary = match setup.release {
            Release::Oldest => tool("etcd"),
            Release::Current => tool("etcd-current"),
        };
        let mut etcd = Self { members, setup, binary, authority, network, folder };
        for index in 0..nodes {
            etcd.spawn(index);
        }
        for index in 0..nodes {
            etcd.ready(index).await;
        }
        etcd
    }

    /// The members' addresses, host and port, parted by commas: what `--etcd-endpoints` takes.
    pub fn endpoints(&self) -> String {
        let addresses: Vec<_> = self.members.iter().map(Member::address).collect();
        addresses.join(",")
    }

    /// The address of a member, host and port.
    pub fn address(&self, member: usize) -> String {
        self.members[member].address()
    }

    /// The members' addresses for TLS, host and port, parted by commas.
    ///
    /// # Panics
    ///
    /// If they have none.
    pub fn secure_endpoints(&self) -> String {
        let port = |member: &Member| member.secure_port.expect("a secure cluster");
        let addresses: Vec<_> = self.members.iter().map(|member| format!("127.0.0.1:{}", port(member))).collect();
        addresses.join(",")
    }

    /// Who issued the members' certificates, and whose they accept.
    ///
    /// # Panics
    ///
    /// If they have none.
    pub fn authority(&self) -> &Authority {
        self.authority.as_ref().expect("a secure cluster")
    }

    /// The member that leads, as soon as there is one that says so itself.
    ///
    /// # Panics
    ///
    /// If there is none for long.
    pub async fn leader(&self) -> usize {
        eventually("a leader", async || {
            for (index, member) in self.members.iter().enumerate() {
                let Ok(mut client) = etcd_client::Client::connect([member.address()], Some(in_time())).await else {
                    continue;
                };
                let Ok(status) = client.status().await else { continue };
                if status.header().is_some_and(|header| header.member_id() == status.leader()) {
                    return Ok(index);
                }
            }
            Err("nobody leads")
        })
        .await
    }

    /// A client of the cluster's own, for what managers must not see coming.
    ///
    /// # Panics
    ///
    /// If no member answers.
    pub async fn client(&self) -> etcd_client::Client {
        let addresses: Vec<_> = self.members.iter().map(Member::address).collect();
        etcd_client::Client::connect(addresses, None).await.expect("etcd answers")
    }

    /// Runs commands in a shell that knows `etcdctl`, which is told where the first member is.
    ///
    /// # Panics
    ///
    /// If one fails.
    pub fn control(&self, commands: &str) {
        let (paths, programs) = (std::env::var_os("PATH").unwrap_or_default(), tool("etcdctl"));
        let paths = programs.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&paths));
        let mut shell = Command::new("sh");
        shell.args(["-euc", commands]).env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", self.address(0));
        shell.env("PATH", std::env::join_paths(paths).expect("paths without a colon"));
        let output = shell.output().expect("sh starts");
        assert!(output.status.success(), "{commands}\n{output:?}");
    }

    /// Ends a member as a power cut would.
    pub fn kill(&mut self, member: usize) {
        if let Some(process) = &mut self.members[member].process {
            process.kill();
        }
    }

    /// Starts a killed member again on its data, and returns when it takes writes.
    pub async fn restart(&mut self, member: usize) {
        self.members[member].process = None;
        self.spawn(member);
        self.ready(member).await;
    }

    /// A copy of the data of a member, which must be down.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub fn copy(&self, member: usize) -> TempDir {
        let copy = TempDir::new().expect("a temporary folder");
        copy_folder(&self.data_dir(member), copy.path());
        copy
    }

    /// Puts other data in the place of that of a member, which must be down. `None`: none, as on its first day.
    ///
    /// # Panics
    ///
    /// If that is not possible.
    pub fn replace(&self, member: usize, data: Option<&TempDir>) {
        let folder = self.data_dir(member);
        std::fs::remove_dir_all(&folder).expect("a folder that can be removed");
        if let Some(data) = data {
            std::fs::create_dir(&folder).expect("a folder that can be made");
            copy_folder(data.path(), &folder);
        }
    }

    fn data_dir(&self, member: usize) -> PathBuf {
        self.folder.path().join(format!("node{member}"))
    }

    /// Stops a member where it is: its sockets stay open and it does not answer.
    pub async fn pause(&self, member: usize) {
        self.process(member).pause().await;
    }

    /// Lets a paused member go on.
    pub fn resume(&self, member: usize) {
        self.process(member).resume();
    }

    /// Waits for a line of a member's log that holds all of these.
    ///
    /// # Panics
    ///
    /// If it never comes.
    pub async fn logged(&mut self, member: usize, words: &[&str]) {
        let process = self.members[member].process.as_mut().expect("every member was started");
        let found = |line: &str| words.iter().all(|word| line.contains(word)).then_some(());
        process.printed(&format!("{words:?}"), found).await;
    }

    /// Parts a member from the others: nothing that one side says reaches the other. Clients reach both.
    ///
    /// # Panics
    ///
    /// If the network between them cannot fail.
    pub fn cut_off(&self, member: usize) {
        self.network().cut_off(member);
    }

    /// Has a member hear nothing more of the others, who hear it.
    ///
    /// # Panics
    ///
    /// If the network between them cannot fail.
    pub fn deafen(&self, member: usize) {
        self.network().deafen(member);
    }

    /// Lets the members hear each other again.
    ///
    /// # Panics
    ///
    /// If the network between them cannot fail.
    pub fn heal(&self) {
        self.network().heal();
    }

    /// How often the network between the members held something back.
    ///
    /// # Panics
    ///
    /// If it cannot fail.
    pub fn held_back(&self) -> u64 {
        self.network().held_back()
    }

    fn network(&self) -> &Network {
        self.network.as_ref().expect("a cluster that can part")
    }

    fn process(&self, member: usize) -> &Process {
        self.members[member].process.as_ref().expect("every member was started")
    }

    fn spawn(&mut self, index: usize) {
        let name = |index: usize| format!("node{index}");
        let found_at = |index: usize| match &self.network {
            Some(network) => format!("http://{}", network.gate(index)),
            None => self.members[index].peer_url(),
        };
        let peers: Vec<_> =
            (0..self.members.len()).map(|index| format!("{}={}", name(index), found_at(index))).collect();
        let advertised = found_at(index);
        let member = &mut self.members[index];
        let mut command = Command::new(&self.binary);
        let mut listen = format!("http://{}", member.address());
        if let (Some(authority), Some(port)) = (&self.authority, member.secure_port) {
            let own = authority.issue(&name(index), &["127.0.0.1"]);
            listen.push_str(&format!(",https://127.0.0.1:{port}"));
            command
                .arg(format!("--cert-file={}", own.certificate.display()))
                .arg(format!("--key-file={}", own.key.display()))
                .arg(format!("--trusted-ca-file={}", authority.file.display()))
                .arg("--client-cert-auth");
        }
        command
            // Tests kill processes and never the machine, so what was written is there without being synced; and a slow
            // disk is not a fault that they have made. Releases before 3.4.15 kept nothing at all with this.
            .arg("--unsafe-no-fsync")
            .arg(format!("--name={}", name(index)))
            .arg(format!("--data-dir={}", self.folder.path().join(name(index)).display()))
            .arg(format!("--listen-client-urls={listen}"))
            .arg(format!("--advertise-client-urls=http://{}", member.address()))
            .arg(format!("--listen-peer-urls={}", member.peer_url()))
            .arg(format!("--initial-advertise-peer-urls={advertised}"))
            .arg(format!("--initial-cluster={}", peers.join(",")))
            .args(["--initial-cluster-state=new", "--initial-cluster-token=cofferdam-tests"])
            .args(self.setup.arguments);
        let process = Process::start(format!("etcd {}", name(index)), &mut command);
        if let Some(network) = &self.network {
            network.is(index, process.id());
        }
        member.process = Some(process);
    }

    /// Waits until a member answers a read that the majority agrees on.
    async fn ready(&self, member: usize) {
        let address = self.members[member].address();
        eventually("etcd to answer", async || {
            let mut client = etcd_client::Client::connect([&address], Some(in_time())).await?;
            client.get("ready", None).await.map(drop)
        })
        .await;
    }
}

impl Member {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }
}

/// Copies what is in a folder into another one.
fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().expect("cp starts");
    assert!(status.success(), "{} cannot be copied", from.display());
}

/// A member may be paused: then it takes a connection and never answers.
fn in_time() -> ConnectOptions {
    ConnectOptions::new().with_timeout(Duration::from_secs(2))
}
