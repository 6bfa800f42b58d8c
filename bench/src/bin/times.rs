//! `times COUNTS [PAGE]`: measures all cases, prints the tables in Markdown, and puts them into a page between its
//! marks. COUNTS is what `counts` printed.

use cofferdam_bench::cases::{Case, Group, groups};
use cofferdam_bench::conditions::Conditions;
use cofferdam_bench::harness::{Times, measure};
use cofferdam_bench::report::{BUSY, Footprint, Row, Table, page, replace};
use std::collections::HashMap;
use std::error::Error;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let counts = arguments.next().ok_or("usage: times COUNTS [PAGE]")?;
    let counts = Counts::parse(&fs::read_to_string(counts)?);
    let into = arguments.next();
    if let Some(path) = &into {
        // Now rather than when all is measured.
        replace(&fs::read_to_string(path)?, "bench", "").ok_or_else(|| format!("{path} has no marks"))?;
    }
    let before = Conditions::now();
    if before.load > BUSY {
        eprintln!(
            "warning: the load average is {}: the machine is busy, and the figures will be doubtful",
            before.load
        );
    }
    let groups = groups();
    let mut times: Vec<Vec<Vec<(usize, Times)>>> = groups.iter().map(|group| vec![vec![]; group.cases.len()]).collect();
    for threads in [1, 2] {
        eprintln!("measuring with {threads} thread(s)");
        let takes_part = |group: &&Group| group.threads.contains(&threads);
        let cases: Vec<&Case> = groups.iter().filter(takes_part).flat_map(|group| &group.cases).collect();
        let mut measured = measure(&cases, threads).into_iter();
        for (group, times) in groups.iter().zip(&mut times).filter(|(group, _)| takes_part(group)) {
            for (_, times) in group.cases.iter().zip(times) {
                times.extend(measured.next().map(|figures| (threads, figures)));
            }
        }
    }
    let table = |(group, times): (&Group, Vec<Vec<(usize, Times)>>)| {
        let row = |(case, times): (&Case, _)| Row {
            name: case.name,
            times,
            allocations: counts.allocations.get(&(group.title.to_owned(), case.name.to_owned())).copied(),
            versus: case.versus,
        };
        Table { title: group.title, compare: group.compare, rows: group.cases.iter().zip(times).map(row).collect() }
    };
    let tables: Vec<Table> = groups.iter().zip(times).map(table).collect();
    let text = page(&tables, &counts.memory, &before, &Conditions::now());
    println!("{text}");
    if let Some(path) = into {
        let document =
            replace(&fs::read_to_string(&path)?, "bench", &text).ok_or_else(|| format!("{path} has no marks"))?;
        fs::write(&path, document)?;
    }
    Ok(())
}

/// What `counts` printed.
#[derive(Default)]
struct Counts {
    /// By table and case.
    allocations: HashMap<(String, String), f64>,
    memory: Vec<(String, Footprint)>,
}

impl Counts {
    fn parse(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split('\t').collect();
            match words[..] {
                ["allocations", group, case, number] => {
                    let number = number.parse().unwrap_or(f64::NAN);
                    counts.allocations.insert((group.to_owned(), case.to_owned()), number);
                }
                ["memory", name, idle, one_thread, many_threads] => {
                    let bytes = |word: &str| word.parse().unwrap_or_default();
                    let (idle, one_thread, many_threads) = (bytes(idle), bytes(one_thread), bytes(many_threads));
                    counts.memory.push((name.to_owned(), Footprint { idle, one_thread, many_threads }));
                }
                _ => {}
            }
        }
        counts
    }
}
