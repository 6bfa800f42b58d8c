//! The tables, as docs/performance.md has them.

use crate::conditions::Conditions;
use crate::harness::{FEW, ROUNDS, Times};
use std::fmt::Write as _;

/// A load from which on the machine has something else to do.
pub const BUSY: f64 = 0.5;

/// Threads that call a subject of which the memory is measured.
pub const THREADS: usize = 8;

/// What the last column of a table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Nothing.
    Nothing,
    /// How many times as long as the row that a case is compared with, which is ours.
    Ratio,
    /// How much more than the row that a case is compared with.
    Added,
}

/// Bytes for each of a kind: what it is itself, and what it holds on the heap.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// Before the first call.
    pub idle: i64,
    /// After some calls of one thread.
    pub one_thread: i64,
    /// After some calls of several threads.
    pub many_threads: i64,
}

/// A table of times.
pub struct Table {
    pub title: &'static str,
    pub compare: Compare,
    pub rows: Vec<Row>,
}

/// A case, measured.
pub struct Row {
    pub name: &'static str,
    /// With one thread, then with more, each with its number of threads.
    pub times: Vec<(usize, Times)>,
    /// Allocations of each call.
    pub allocations: Option<f64>,
    /// The row it is compared with, if not the first.
    pub versus: Option<&'static str>,
}

impl Row {
    fn median(&self) -> f64 {
        self.times.first().map_or(f64::NAN, |(_, times)| times.median)
    }
}

/// Everything between the marks.
pub fn page(tables: &[Table], memory: &[(String, Footprint)], before: &Conditions, after: &Conditions) -> String {
    let mut page = conditions(tables, before, after);
    for table in tables {
        page += &table.to_markdown();
    }
    page + &of_memory(memory)
}

/// The document with another text between the marks of a task of the Makefile. `None`: it has none.
pub fn replace(document: &str, task: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- make {task}: begin -->"), format!("<!-- make {task}: end -->"));
    let (head, rest) = document.split_once(&begin)?;
    let (_, tail) = rest.split_once(&end)?;
    Some(format!("{head}{begin}\n\n{}\n\n{end}{tail}", text.trim()))
}

impl Table {
    fn to_markdown(&self) -> String {
        let threads: Vec<usize> =
            self.rows.first().map_or(Vec::new(), |row| row.times.iter().map(|(n, _)| *n).collect());
        let mut heads = vec!["ns per call".to_owned()];
        for (index, count) in threads.iter().enumerate() {
            heads.push(format!("{count} thread{}", if *count == 1 { "" } else { "s" }));
            if index > 0 {
                heads.push(format!("{count} : 1"));
            }
        }
        heads.push("allocations".to_owned());
        match self.compare {
            Compare::Nothing => {}
            Compare::Ratio => heads.push("times ours".to_owned()),
            Compare::Added => heads.push("adds".to_owned()),
        }
        let mut text = format!("### {}\n\n", self.title);
        text += &line(&heads);
        text += &format!("|---|{}\n", "--:|".repeat(heads.len() - 1));
        for row in &self.rows {
            text += &line(&self.cells(row));
        }
        text + "\n"
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![row.name.to_owned()];
        for (index, (_, times)) in row.times.iter().enumerate() {
            cells.push(cell(times));
            if index > 0 {
                cells.push(format!("{:.1}", times.median / row.median()));
            }
        }
        cells.push(row.allocations.map_or_else(String::new, |count| format!("{}", (count * 10.0).round() / 10.0)));
        let other = match row.versus {
            Some(name) => self.rows.iter().find(|candidate| candidate.name == name),
            None => self.rows.first(),
        };
        let other = other.filter(|other| other.name != row.name);
        let is_ours = |name: &str| name.starts_with("Cofferdam");
        let compared = other.map_or_else(String::new, |other| match self.compare {
            Compare::Ratio if is_ours(row.name) => String::new(),
            Compare::Nothing | Compare::Ratio => ratio(row.median() / other.median()),
            Compare::Added => format!("{:+.1}", row.median() - other.median()),
        });
        if self.compare != Compare::Nothing {
            cells.push(compared);
        }
        cells
    }
}

fn conditions(tables: &[Table], before: &Conditions, after: &Conditions) -> String {
    let Conditions { date, commit, rustc, cpu, cores, system, load } = before;
    let mut text = format!("{date}, commit {commit}; {rustc}; {cpu}; {cores} cores; {system}. ");
    let _ = write!(text, "Load average {load:.2} before, {:.2} after. ", after.load);
    text += "Median of the undisturbed rounds, lowest and highest in brackets.\n\n";
    let doubtful = doubtful(tables);
    if *load > BUSY || !doubtful.is_empty() {
        text += "**The machine was busy: these figures are doubtful.**";
        if !doubtful.is_empty() {
            let _ = write!(
                text,
                " Fewer than {FEW} of {ROUNDS} rounds were undisturbed for {} rows, marked \"?\".",
                doubtful.len()
            );
        }
        text += "\n\n";
    }
    text
}

fn doubtful(tables: &[Table]) -> Vec<&'static str> {
    let rows = tables.iter().flat_map(|table| &table.rows);
    let few = |row: &&Row| row.times.iter().any(|(_, times)| times.undisturbed < FEW);
    rows.filter(few).map(|row| row.name).collect()
}

fn of_memory(memory: &[(String, Footprint)]) -> String {
    let mut text = "### Memory of each, in bytes\n\n".to_owned();
    let many = format!("called by {THREADS} threads");
    text += &line(&["".to_owned(), "idle".to_owned(), "called by 1 thread".to_owned(), many]);
    text += "|---|--:|--:|--:|\n";
    for (name, Footprint { idle, one_thread, many_threads }) in memory {
        let number = |bytes: &i64| bytes.to_string();
        text += &line(&[name.clone(), number(idle), number(one_thread), number(many_threads)]);
    }
    text
}

fn cell(times: &Times) -> String {
    let mark = if times.undisturbed < FEW { " ?" } else { "" };
    format!("{} ({}..{}){mark}", figure(times.median), figure(times.lowest), figure(times.highest))
}

/// Three digits.
fn figure(nanos: f64) -> String {
    match nanos {
        ..10.0 => format!("{nanos:.2}"),
        ..100.0 => format!("{nanos:.1}"),
        _ => format!("{nanos:.0}"),
    }
}

fn ratio(ratio: f64) -> String {
    if ratio < 1.0 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }
}

/// A line of a table.
pub fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &'static str, median: f64, versus: Option<&'static str>) -> Row {
        let times = |median| Times { median, lowest: median - 1.0, highest: median + 1.0, undisturbed: ROUNDS };
        Row { name, times: vec![(1, times(median)), (2, times(median * 1.25))], allocations: Some(3.0), versus }
    }

    #[test]
    fn peers_are_compared_with_the_first_row_or_with_the_one_they_name() {
        let rows = vec![row("Cofferdam, a", 4.0, None), row("Cofferdam, b", 8.0, None), row("peer", 120.0, None)];
        let mut table = Table { title: "T", compare: Compare::Ratio, rows };
        table.rows.push(row("other peer", 4.0, Some("Cofferdam, b")));
        let expected = "\
### T

| ns per call | 1 thread | 2 threads | 2 : 1 | allocations | times ours |
|---|--:|--:|--:|--:|--:|
| Cofferdam, a | 4.00 (3.00..5.00) | 5.00 (4.00..6.00) | 1.2 | 3 |  |
| Cofferdam, b | 8.00 (7.00..9.00) | 10.0 (9.00..11.0) | 1.2 | 3 |  |
| peer | 120 (119..121) | 150 (149..151) | 1.2 | 3 | 30.0 |
| other peer | 4.00 (3.00..5.00) | 5.00 (4.00..6.00) | 1.2 | 3 | 0.50 |

";
        assert_eq!(table.to_markdown(), expected);
    }

    #[test]
    fn parts_say_what_they_add_and_doubtful_figures_that_they_are() {
        let mut rows = vec![row("base", 40.0, None), row("part", 42.5, Some("base"))];
        rows[1].times[0].1.undisturbed = FEW - 1;
        let table = Table { title: "T", compare: Compare::Added, rows };
        assert!(table.to_markdown().contains("| part | 42.5 (41.5..43.5) ? | 53.1 (52.1..54.1) | 1.2 | 3 | +2.5 |"));
        assert_eq!(doubtful(&[table]), ["part"]);
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let marked = |text: &str| format!("before\n<!-- make x: begin -->\n{text}\n<!-- make x: end -->\nafter\n");
        assert_eq!(replace(&marked("old"), "x", "\nnew\n\n"), Some(marked("\nnew\n")));
        assert_eq!(replace(&marked("old"), "y", "new"), None);
    }

    /// `make bench` and `make bench-fleet` would find no place for their tables.
    #[test]
    fn the_page_has_marks() {
        for task in ["bench", "bench-fleet"] {
            assert!(replace(include_str!("../../docs/performance.md"), task, "").is_some(), "{task}");
        }
    }
}
