//! `operate MANAGER [--short] [PAGE]`: measures how long an operator waits for the command line, for the page of metrics
//! and for a rollback of a fleet; prints the table in Markdown, and puts it into a page between its marks.

use cofferdam_bench::fleet::args::Args;
use cofferdam_bench::fleet::page::publish;
use cofferdam_bench::fleet::{Outcome, operate, tables};
use std::env;

fn main() -> Outcome<()> {
    publish("bench-operate", &Args::parse(env::args().skip(1))?, |args| {
        let times = if args.is_short { 4 } else { 20 };
        Ok(tables::operations(&operate::all(&args.manager, times)?))
    })
}
