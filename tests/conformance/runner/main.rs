//! The Rust engine against the conformance cases: each case, each file's schema and each file's mutants are a test of
//! their own, so that `cargo test -p cofferdam-tests --test conformance breaker/` runs some of them.
//!
//! What the cases say, and how to run them in another language, stands in `tests/conformance/README.md`.

#![expect(clippy::expect_used, clippy::panic, reason = "tests: a broken expectation ends the test, and says why")]

mod calls;
mod case;
mod clock;
mod coverage;
mod duration;
mod mutants;
mod operation;
mod policy;
mod run;
mod suite;
mod world;

use libtest_mimic::{Arguments, Failed, Trial};
use run::Broken;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let suites = Arc::new(suite::load());
    let mut trials = Vec::new();
    for index in 0..suites.len() {
        let name = &suites[index].name;
        let of = |suites: &Arc<Vec<suite::Suite>>| Arc::clone(suites);
        let own = of(&suites);
        trials.push(Trial::test(format!("schema {name}"), move || Ok(own[index].validate(&suite::schema()?)?)));
        let own = of(&suites);
        trials.push(Trial::test(format!("mutants {name}"), move || mutants_fail(&own[index])));
        let cases = suites[index].json["cases"].as_array().map_or(0, Vec::len);
        for case in 0..cases {
            let case_name = suites[index].json["cases"][case]["name"].as_str().unwrap_or_default();
            let own = of(&suites);
            trials.push(Trial::test(format!("{name} {case_name}"), move || holds(&own[index], case)));
        }
    }
    let own = Arc::clone(&suites);
    trials.push(Trial::test("suite", move || Ok(coverage::check(&own)?)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One case.
fn holds(suite: &suite::Suite, index: usize) -> Result<(), Failed> {
    let file = suite.file()?;
    let case = suite::case(&file.cases[index])?;
    match run::run(&case, file.policy.as_ref()) {
        Ok(()) => Ok(()),
        Err(Broken::Case(why) | Broken::Expectation(why)) => Err(format!("{}\n{why}", case.description).into()),
    }
}

/// All cases of a file with one expectation changed.
fn mutants_fail(suite: &suite::Suite) -> Result<(), Failed> {
    let file = suite.file()?;
    let mut count = 0;
    let mut survivors = Vec::new();
    for case in &file.cases {
        let (mutants, survived) = mutants::survivors(case, file.policy.as_ref());
        count += mutants;
        survivors.extend(survived);
    }
    if count == 0 {
        return Err("the file expects nothing".into());
    }
    if survivors.is_empty() { Ok(()) } else { Err(survivors.join("\n").into()) }
}
