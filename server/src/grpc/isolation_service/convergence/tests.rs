//! GetConvergence and WaitForConvergence under random histories, beside a naive model.
//!
//! After every step the manager must say exactly what the model says, of every service and of the namespace. A wait must
//! end at the first step after which the model says that it is over, and at no earlier one. Time stands still but for the
//! steps that let it pass, and there is no socket: a run is its seed. `SEED=n` repeats one run, `COFFERDAM_LONG=1` makes
//! a hundred times as many.

use self::world::{Bug, Seen, World};

mod behind;
mod checks;
mod clients;
mod last_look;
mod model;
mod waits;
mod world;

const RUNS: u64 = 1_000;
const STEPS: usize = 40;
/// How many runs a bug may go unnoticed.
const RUNS_TO_NOTICE: u64 = 100;

/// One history. What the manager said that is not so; with the steps that led to it, where they are to be told.
fn run(seed: u64, bug: Option<Bug>, tells: bool) -> Result<Seen, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // A wait is polled by hand: that it must not use up the task's turn.
    runtime.block_on(tokio::task::unconstrained(async {
        let mut world = World::new(seed, bug, tells).await;
        for _ in 0..STEPS {
            if let Err(untrue) = world.step().await {
                return Err(format!("{untrue}\nSEED={seed}, after {:#?}", world.history.unwrap_or_default()));
            }
        }
        Ok(world.seen)
    }))
}

#[test]
fn whatever_becomes_of_instances_n_of_m_is_exact_and_nothing_is_done_too_early() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("SEED is a number");
            seed..seed + 1
        }
        Err(_) if std::env::var_os("COFFERDAM_LONG").is_some() => 0..RUNS * 100,
        Err(_) => 0..RUNS,
    };
    let is_whole = seeds.end - seeds.start > 1;
    let mut seen = Seen::default();
    for seed in seeds {
        match run(seed, None, false) {
            Ok(other) => seen.merge(&other),
            Err(untrue) => panic!("{}", run(seed, None, true).err().unwrap_or(untrue)),
        }
    }
    assert!(!is_whole || seen.is_everything(), "something never happened: {seen:?}");
}

#[test]
fn a_manager_that_is_wrong_is_found_out() {
    for bug in
        [Bug::LosesNacks, Bug::TakesNacksForAcks, Bug::TakesTheBrokenForGone, Bug::KeepsTheBroken, Bug::GivesUpAsDone]
    {
        let noticed = (0..RUNS_TO_NOTICE).any(|seed| run(seed, Some(bug), false).is_err());
        assert!(noticed, "{bug:?} was never noticed");
    }
}
