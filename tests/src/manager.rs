//! A real manager: a `cofferdam serve` process.

use crate::cli::without_settings;
use crate::client::Client;
use crate::etcd::Etcd;
use crate::grpcurl::Grpcurl;
use crate::ports;
use crate::process::Process;
use crate::tools::manager_binary;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// A manager that was started, with its data; it may be down at the moment.
#[derive(Debug)]
pub struct Manager {
    store: Store,
    variables: Vec<(String, String)>,
    folder: TempDir,
    port: u16,
    process: Process,
}

/// Where a manager keeps its state.
#[derive(Clone, Debug)]
pub enum Store {
    /// In the embedded store, in a folder of the manager's own.
    Embedded,
    /// In etcd, at these endpoints.
    Etcd(String),
    /// Nowhere.
    Memory,
}

impl Manager {
    /// Starts a manager with an empty embedded store, and returns when it serves.
    pub async fn embedded() -> Self {
        Self::start(Store::Embedded).await
    }

    /// Starts a manager on an etcd, and returns when it serves.
    pub async fn on(etcd: &Etcd) -> Self {
        Self::start(Store::Etcd(etcd.endpoints())).await
    }

    /// Starts a manager, and returns when it serves.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub async fn start(store: Store) -> Self {
        Self::start_with(store, &[]).await
    }

    /// Starts a manager with these variables in its environment, and returns when it serves.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub async fn start_with(store: Store, variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = ports::reserve();
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let process = spawn(&store, &variables, folder.path(), port);
        let mut manager = Self { store, variables, folder, port, process };
        manager.serving().await;
        manager
    }

    /// Starts `cofferdam serve` with these arguments and variables of the environment, and waits for nothing.
    pub fn bare(arguments: &[&str], variables: &[(&str, &str)]) -> Process {
        let mut command = serve();
        Process::start("manager", command.args(arguments).envs(variables.iter().copied()))
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What an SDK is given.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A client of the operators' plane. It outlives restarts.
    pub fn client(&self) -> Client {
        Client::new(self.channel())
    }

    /// A connection, made when it is first used and again after each break.
    ///
    /// # Panics
    ///
    /// Never: the address is one.
    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url())
            .expect("the address is one")
            .connect_timeout(std::time::Duration::from_secs(5))
            .timeout(std::time::Duration::from_secs(20))
            .connect_lazy()
    }

    /// grpcurl, aimed at this manager.
    pub fn grpcurl(&self) -> Grpcurl {
        Grpcurl::at(self.address())
    }

    /// The folder of its embedded store.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The process, to be killed, paused, asked to end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same address on the same data, and returns when it serves.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub async fn restart(&mut self) {
        self.process = spawn(&self.store, &self.variables, self.folder.path(), self.port);
        self.serving().await;
    }

    /// Has its next start use another store.
    pub fn move_to(&mut self, store: Store) {
        self.store = store;
    }

    /// Starts another manager process on the same store and data, at another port.
    pub fn rival(&self) -> Process {
        spawn(&self.store, &self.variables, self.folder.path(), ports::reserve())
    }

    async fn serving(&mut self) {
        let address = self.address();
        self.process.printed("its start line", |line| line.contains(&address).then_some(())).await;
    }
}

/// `cofferdam serve`.
fn serve() -> Command {
    // Whoever runs the tests may ignore the end of a terminal, as under nohup, and what is ignored stays so in a child.
    let mut command = Command::new("env");
    without_settings(command.arg("--default-signal=HUP").arg(manager_binary()).arg("serve"));
    command
}

fn spawn(store: &Store, variables: &[(String, String)], folder: &Path, port: u16) -> Process {
    let mut command = serve();
    command.envs(variables.iter().cloned());
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    match store {
        Store::Embedded => command.args(["--store", "embedded", "--data-dir"]).arg(folder),
        Store::Etcd(endpoints) => command.args(["--store", "etcd", "--etcd-endpoints", endpoints]),
        Store::Memory => command.args(["--store", "memory"]),
    };
    Process::start(format!("manager at port {port}"), &mut command)
}
