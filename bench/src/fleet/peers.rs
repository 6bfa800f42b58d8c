//! Redis and etcd: what else one might tell a fleet of a change with.

use super::Outcome;
use super::changes::Operator;
use super::floor::Counted;
use super::process::{Process, free_port};
use super::streams::{Meaning, Protocol};
use super::unary::Caller;
use prost::Message;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

/// Bytes of what a peer tells: about those of an update with a policy.
pub const PAYLOAD: usize = 500;

/// Starts a Redis that keeps nothing. `None`: there is none on this machine.
pub fn start_redis() -> Outcome<Option<(Process, SocketAddr)>> {
    if Command::new("redis-server").arg("--version").output().is_err() {
        return Ok(None);
    }
    let address = free_port()?;
    let port = address.port().to_string();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--maxclients", "12000"]);
    Ok(Some((Process::serving(&mut command, address)?, address)))
}

/// The clients of Redis, subscribed to one channel.
pub fn subscribers() -> Counted {
    let confirmed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n".len();
    let message = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${PAYLOAD}\r\n{}\r\n", "x".repeat(PAYLOAD)).len();
    Counted::new(b"SUBSCRIBE c\r\n".to_vec(), confirmed, message, false)
}

/// Publishes on that channel.
pub struct Publisher(TcpStream);

impl Publisher {
    pub fn connect(address: SocketAddr) -> Outcome<Self> {
        Ok(Self(TcpStream::connect(address)?))
    }
}

impl Operator for Publisher {
    const CONFIRMS: bool = false;

    fn change(&mut self, _: u32) -> Outcome<()> {
        let command = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n${PAYLOAD}\r\n{}\r\n", "x".repeat(PAYLOAD));
        self.0.write_all(command.as_bytes())?;
        let mut answer = [0; 64];
        if self.0.read(&mut answer)? == 0 { Err("Redis is gone".into()) } else { Ok(()) }
    }
}

/// Starts an etcd of one member, in this folder. `None`: there is none on this machine.
pub fn start_etcd(folder: &Path) -> Outcome<Option<(Process, SocketAddr)>> {
    if Command::new("etcd").arg("--version").output().is_err() {
        return Ok(None);
    }
    let address = free_port()?;
    let (url, peer) = (format!("http://{address}"), format!("http://{}", free_port()?));
    let mut command = Command::new("etcd");
    command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url, "--listen-peer-urls", &peer]);
    command.args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}")]);
    command.arg("--data-dir").arg(folder);
    Ok(Some((Process::serving(&mut command, address)?, address)))
}

/// Of etcd's contract, the field of a watch's request that is used here.
#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create: Option<WatchCreateRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchCreateRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

/// What a watch tells first, and then not any more.
#[derive(Clone, PartialEq, Message)]
struct WatchResponse {
    #[prost(bool, tag = "3")]
    created: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {}

/// A client of etcd that watches one key.
pub struct Watcher;

impl Protocol for Watcher {
    const PATH: &'static str = "/etcdserverpb.Watch/Watch";

    fn hello(&self, _: usize) -> Vec<u8> {
        WatchRequest { create: Some(WatchCreateRequest { key: b"k".to_vec() }) }.encode_to_vec()
    }

    fn hear(&mut self, message: &[u8]) -> Meaning {
        match WatchResponse::decode(message) {
            Ok(response) if response.created => Meaning::Ready(None),
            Ok(_) => Meaning::Change(None),
            Err(_) => Meaning::Nothing,
        }
    }
}

/// Puts that key.
pub struct Putter(Caller);

impl Putter {
    pub fn connect(address: SocketAddr) -> Outcome<Self> {
        Ok(Self(Caller::connect(address)?))
    }
}

impl Operator for Putter {
    const CONFIRMS: bool = false;

    fn change(&mut self, _: u32) -> Outcome<()> {
        let put = PutRequest { key: b"k".to_vec(), value: vec![b'x'; PAYLOAD] };
        self.0.call::<PutResponse>("/etcdserverpb.KV/Put", &put).map(|_| ())
    }
}
