//! `store MANAGER [--short] [PAGE]`: measures what a durable write of a policy costs, beside a bare put of etcd, and what
//! ten thousand services cost a manager that starts; prints the tables in Markdown, and puts them into a page between its
//! marks.

use cofferdam_bench::fleet::Outcome;
use cofferdam_bench::fleet::args::Args;
use cofferdam_bench::fleet::page::publish;
use cofferdam_bench::fleet::process::Process;
use cofferdam_bench::fleet::subjects::{BarePut, BareTxn, Manager, PolicyWrite, SERVICES, Start, etcd};
use cofferdam_bench::fleet::tables;
use cofferdam_bench::fleet::writes::{Figures, measure};
use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const WRITERS: [usize; 2] = [1, 64];

fn main() -> Outcome<()> {
    publish("bench-store", &Args::parse(env::args().skip(1))?, |args| {
        let folder = tempfile::tempdir()?;
        let (_etcd, address) = etcd(folder.path())?.ok_or("there is no etcd on the PATH")?;
        let mut text = String::new();
        for (title, rows) in writes(args, address)? {
            text += &tables::writes(&title, &rows);
        }
        Ok(text + &tables::starts(SERVICES, &starts(&args.manager, address)?))
    })
}

/// A table: its title, and the figures of each subject.
type Table = (String, Vec<(&'static str, Figures)>);

fn writes(args: &Args, etcd: SocketAddr) -> Outcome<Vec<Table>> {
    let time = Duration::from_secs(if args.is_short { 1 } else { 5 });
    let services = WRITERS.into_iter().max().unwrap_or(1) as u64;
    let on_etcd = Manager::with_services(&args.manager, Some(etcd), services)?;
    let embedded = Manager::with_services(&args.manager, None, services)?;
    let mut run = 0;
    let mut tables = Vec::new();
    for writers in WRITERS {
        let mut rows: Vec<(&str, Figures)> = Vec::new();
        for pass in 1..=args.passes() {
            let mut add = |name: &'static str, figures: Figures| match rows.iter_mut().find(|row| row.0 == name) {
                Some((_, all)) => all.add(figures),
                None => rows.push((name, figures)),
            };
            eprintln!("{writers} writers, pass {pass}");
            add("etcd, bare puts", measure(BarePut, etcd, writers, time, None)?);
            run += 1;
            add("etcd, the same transaction", measure(BareTxn { run }, etcd, writers, time, None)?);
            for (manager, name, has_request_id) in [
                (&on_etcd, "Cofferdam on that etcd", false),
                (&on_etcd, "Cofferdam on that etcd, with a request id", true),
                (&embedded, "Cofferdam, embedded store", false),
                (&embedded, "Cofferdam, embedded store, with a request id", true),
            ] {
                run += 1;
                let process: &Process = &manager.process;
                let write = PolicyWrite { run, has_request_id };
                add(name, measure(write, manager.address, writers, time, Some(process))?);
            }
        }
        tables.push((format!("Policy writes, {writers} at a time"), rows));
    }
    Ok(tables)
}

fn starts(binary: &Path, etcd: SocketAddr) -> Outcome<Vec<(&'static str, Start)>> {
    eprintln!("{SERVICES} services");
    // The first services are there from the writes.
    let embedded = Manager::with_services(binary, None, SERVICES)?.restart()?;
    let on_etcd = Manager::with_services(binary, Some(etcd), SERVICES)?.restart()?;
    Ok(vec![("embedded store", embedded), ("etcd", on_etcd)])
}
