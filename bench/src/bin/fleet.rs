//! `fleet MANAGER [--short] [PAGE]`: measures what a change of policy costs a manager, prints the tables in Markdown,
//! and puts them into a page between its marks.

use cofferdam_bench::fleet::args::Args;
use cofferdam_bench::fleet::changes::{Figures, Heard, Operator, assemble, make};
use cofferdam_bench::fleet::crowd::Crowd;
use cofferdam_bench::fleet::floor::{self, Counted, Trigger};
use cofferdam_bench::fleet::manager::{Admin, Instance, start_empty};
use cofferdam_bench::fleet::page::publish;
use cofferdam_bench::fleet::peers::{self, Publisher, Putter, Watcher};
use cofferdam_bench::fleet::process::Process;
use cofferdam_bench::fleet::streams::Streams;
use cofferdam_bench::fleet::tables::{self, Row};
use cofferdam_bench::fleet::{Outcome, storm, stuck};
use std::env;
use std::net::SocketAddr;
use std::path::Path;

/// Streams of each connection, where one carries many.
const MANY: usize = 100;

fn main() -> Outcome<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [word, connections, is_answered] = &words[..]
        && word == floor::WORD
    {
        return floor::run(connections.parse()?, is_answered.parse()?);
    }
    publish("bench-fleet", &Args::parse(words.into_iter())?, tables)
}

fn tables(args: &Args) -> Outcome<String> {
    let mut text = String::new();
    for streams in args.streams() {
        let mut rows: Vec<Row> = Vec::new();
        for pass in 1..=args.passes() {
            for (name, subject) in SUBJECTS {
                eprintln!("{streams} streams, pass {pass}: {name}");
                let Some(figures) = subject(&args.manager, streams, args.changes())? else { continue };
                match rows.iter_mut().find(|row| row.name == *name) {
                    Some(row) => row.figures.add(figures),
                    None => rows.push(Row { name: (*name).to_owned(), figures }),
                }
            }
        }
        text += &tables::changes(streams, &rows);
    }
    eprintln!("a storm of {}", args.storm());
    let storm = storm::run(&args.manager, args.storm())?;
    eprintln!("instances that are stuck");
    Ok(text + &tables::troubles(&storm, &stuck::run(&args.manager)?))
}

/// Measures one, with the manager's program, so many streams and so many changes. `None`: it is not on this machine.
type Subject = fn(&Path, usize, u32) -> Outcome<Option<Figures>>;

const SUBJECTS: &[(&str, Subject)] = &[
    ("bare writes to sockets", |_, n, changes| floor(n, changes, false)),
    ("bare writes, and reading an answer to each", |_, n, changes| floor(n, changes, true)),
    ("Cofferdam, acknowledged", |manager, n, changes| ours(manager, n, changes, 1, true)),
    ("Cofferdam, not acknowledged", |manager, n, changes| ours(manager, n, changes, 1, false)),
    ("Redis, published", |_, n, changes| redis(n, changes)),
    ("etcd, watched", |_, n, changes| etcd(n, changes, 1)),
    ("Cofferdam, acknowledged, 100 streams to a connection", |manager, n, changes| {
        ours(manager, n, changes, MANY, true)
    }),
    ("Cofferdam, not acknowledged, 100 to a connection", |manager, n, changes| ours(manager, n, changes, MANY, false)),
    ("etcd, watched, 100 to a connection", |_, n, changes| etcd(n, changes, MANY)),
];

fn floor(n: usize, changes: u32, is_answered: bool) -> Outcome<Option<Figures>> {
    let (mut process, address) = floor::start(n, is_answered)?;
    let mut trigger = Trigger(process.take_input()?);
    let mut figures = measure(Counted::of_floor(is_answered), &process, address, n, n, &mut trigger, changes)?;
    // It keeps nothing about a connection; the kernel does.
    figures.memory.clear();
    Ok(Some(figures))
}

fn ours(manager: &Path, n: usize, changes: u32, per_connection: usize, acknowledges: bool) -> Outcome<Option<Figures>> {
    let (process, address) = start_empty(manager)?;
    let mut admin = Admin::register(address, 0, if acknowledges { u32::try_from(n)? } else { 0 })?;
    let streams = Streams::new(Instance::new(acknowledges), per_connection, 0);
    let mut figures = measure(streams, &process, address, n, n / per_connection, &mut admin, changes)?;
    if !acknowledges {
        figures.confirmed.clear();
    }
    Ok(Some(figures))
}

fn redis(n: usize, changes: u32) -> Outcome<Option<Figures>> {
    let Some((process, address)) = peers::start_redis()? else { return Ok(None) };
    let mut publisher = Publisher::connect(address)?;
    measure(peers::subscribers(), &process, address, n, n, &mut publisher, changes).map(Some)
}

fn etcd(n: usize, changes: u32, per_connection: usize) -> Outcome<Option<Figures>> {
    let folder = tempfile::tempdir()?;
    let Some((process, address)) = peers::start_etcd(folder.path())? else { return Ok(None) };
    let mut putter = Putter::connect(address)?;
    putter.change(0)?;
    let streams = Streams::new(Watcher, per_connection, 0);
    measure(streams, &process, address, n, n / per_connection, &mut putter, changes).map(Some)
}

fn measure<S: Heard>(
    clients: S,
    process: &Process,
    address: SocketAddr,
    n: usize,
    connections: usize,
    operator: &mut impl Operator,
    changes: u32,
) -> Outcome<Figures> {
    let mut crowd = Crowd::new(clients)?;
    let before = process.memory()?;
    assemble(&mut crowd, address, connections, n)?;
    let memory = (process.memory()? - before) / n as f64;
    let figures = make(&mut crowd, process, operator, n, changes)?;
    Ok(Figures { memory: vec![memory], ..figures })
}
