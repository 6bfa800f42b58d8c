//! The tables of a run: printed, and put into a page between the marks of its task.

use super::Outcome;
use super::args::Args;
use super::tables;
use crate::conditions::Conditions;
use crate::report::{BUSY, replace};
use std::fs;

/// Measures, and publishes what comes of it together with the conditions that it was measured under.
pub fn publish(task: &str, args: &Args, measure: impl FnOnce(&Args) -> Outcome<String>) -> Outcome<()> {
    if let Some(path) = &args.page {
        // Now rather than when all is measured.
        put(path, task, "")?;
    }
    let before = Conditions::now();
    if before.load > BUSY {
        eprintln!("warning: the load average is {}: the machine is busy, the figures will be doubtful", before.load);
    }
    let measured = measure(args)?;
    let text = tables::conditions(&before, &Conditions::now()) + &measured;
    println!("{text}");
    match &args.page {
        Some(path) => Ok(fs::write(path, put(path, task, &text)?)?),
        None => Ok(()),
    }
}

fn put(path: &str, task: &str, text: &str) -> Outcome<String> {
    replace(&fs::read_to_string(path)?, task, text).ok_or_else(|| format!("{path} has no marks of {task}").into())
}
