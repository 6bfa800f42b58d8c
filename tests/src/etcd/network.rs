//! A network between the members of a cluster, which can part them.
//!
//! A member has one address for all others, so a proxy in front of it cannot tell whose bytes it holds back: with it, a
//! member can be cut off from what others begin, and goes on with what it begins itself. So each member has a gate that
//! asks the system which process a connection comes from, and there is a [`FaultProxy`] for each way from one member to
//! another.

use crate::fault_proxy::{Direction, Fault, FaultProxy};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// The network between the members. Dropped, it is gone, with all its connections.
#[derive(Debug)]
pub(super) struct Network {
    gates: Vec<SocketAddr>,
    /// From each member to each.
    ways: Vec<Vec<FaultProxy>>,
    processes: Processes,
    _accepting: Vec<AbortOnDropHandle<()>>,
}

/// The process of each member, once it has one.
type Processes = Arc<Mutex<Vec<Option<u32>>>>;

impl Network {
    /// A network without a fault between members that listen at these ports.
    pub(super) async fn between(ports: &[u16]) -> Self {
        let mut ways = Vec::new();
        for _ in ports {
            let mut from = Vec::new();
            for port in ports {
                from.push(FaultProxy::start((Ipv4Addr::LOCALHOST, *port).into()).await);
            }
            ways.push(from);
        }
        let processes = Processes::new(Mutex::new(vec![None; ports.len()]));
        let (mut gates, mut accepting) = (Vec::new(), Vec::new());
        for to in 0..ports.len() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            gates.push(listener.local_addr().expect("a bound address"));
            let on = ways.iter().map(|from: &Vec<FaultProxy>| from[to].address()).collect();
            let gate = tokio::spawn(keep(listener, on, Arc::clone(&processes)));
            accepting.push(AbortOnDropHandle::new(gate));
        }
        Self { gates, ways, processes, _accepting: accepting }
    }

    /// Where the others find a member.
    pub(super) fn gate(&self, member: usize) -> SocketAddr {
        self.gates[member]
    }

    /// From now on this process is the member.
    pub(super) fn is(&self, member: usize, process: u32) {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)[member] = Some(process);
    }

    /// Nothing that a member says reaches the others, and nothing that they say reaches it.
    pub(super) fn cut_off(&self, member: usize) {
        self.around(member, Fault::Blackhole(Direction::Both), Fault::Blackhole(Direction::Both));
    }

    /// Nothing that the others say reaches a member; they hear it.
    pub(super) fn deafen(&self, member: usize) {
        self.around(member, Fault::Blackhole(Direction::ToClient), Fault::Blackhole(Direction::ToServer));
    }

    /// All is well again.
    pub(super) fn heal(&self) {
        self.ways.iter().flatten().for_each(|way| way.set(Fault::None));
    }

    /// How often there was something to pass on, and it was held back.
    pub(super) fn held_back(&self) -> u64 {
        self.ways.iter().flatten().map(|way| way.seen().held_back).sum()
    }

    /// Puts faults in force on the ways that begin at a member, and on those that end there.
    fn around(&self, member: usize, begun: Fault, ending: Fault) {
        for other in (0..self.gates.len()).filter(|other| *other != member) {
            self.ways[member][other].set(begun);
            self.ways[other][member].set(ending);
        }
    }
}

/// Sends each connection on by the way of the member that it comes from.
async fn keep(listener: TcpListener, on: Vec<SocketAddr>, processes: Processes) {
    let gate = listener.local_addr().expect("a bound address");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((mut stream, from)) = accepted else { continue };
                let members = processes.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Whoever is gone already, or is no member, is turned away.
                let Some(way) = owner(from, gate, &members).map(|member| on[member]) else { continue };
                connections.spawn(async move {
                    let Ok(mut onward) = TcpStream::connect(way).await else { return };
                    for stream in [&stream, &onward] {
                        let _ = stream.set_nodelay(true);
                    }
                    // Its end is the end of the connection, whichever way it comes about.
                    let _ = copy_bidirectional(&mut stream, &mut onward).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Which of these processes has the socket at `from` that is connected to `to`, as Linux has it.
fn owner(from: SocketAddr, to: SocketAddr, processes: &[Option<u32>]) -> Option<usize> {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux says so");
    let (from, to) = (format!(":{:04X}", from.port()), format!(":{:04X}", to.port()));
    let socket = sockets.lines().find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let ends = columns.next()?.ends_with(&from) && columns.next()?.ends_with(&to);
        // State, queues, timer, retransmissions, user and timeout come before it.
        if ends { columns.nth(6) } else { None }
    })?;
    let socket = format!("socket:[{socket}]");
    let has_it = |process: u32| {
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|file| file.as_os_str() == &*socket)
    };
    processes.iter().position(|process| process.is_some_and(has_it))
}
