//! Chaos under writes: managers and stores are killed, paused and cut off at random while clients write, read and follow,
//! and what they were told is a history that a correct system could have told.
//!
//! Eight writers change four services that they share, each a field of its own: some writes are on the condition of a
//! revision, most are repeated under a `request_id` until an answer comes, some are given up. Readers stay with one manager
//! each, SDKs follow all services, and a watch on etcd by our own client is cut with the rest. At the end the store's log
//! from its first revision is the witness of all of it: see [`cofferdam_tests::history`].
//!
//! The faults of a run are drawn from a seed, which is printed; `COFFERDAM_TEST_SEED=n` repeats them. A run in which a kind
//! of fault or of outcome never happened has failed. `COFFERDAM_LONG=1` is the long form: 200 faults for each store.

mod faults;
mod load;
mod site;

use cofferdam_tests::history::{Tally, Violation, Witness, check, check_follower, check_watch};
use cofferdam_tests::{Numbers, eventually, wire};
use faults::{Fault, Faults};
use load::Load;
use site::Site;

const LONG_FAULTS: usize = 200;
const SERVICES: [&str; 4] = ["service-0", "service-1", "service-2", "service-3"];
/// Acknowledged writes that a long run has at least.
const LONG_WRITES: usize = 1_000;

fn is_long() -> bool {
    std::env::var_os("COFFERDAM_LONG").is_some()
}

/// So many faults, each kind in its turn, so that none is left out.
async fn chaos(mut site: Site, faults: usize) {
    let mut numbers = Numbers::seeded();
    let faults = if is_long() { LONG_FAULTS } else { faults };
    let load = Load::start(&site, &SERVICES, &mut numbers).await;
    let mut seen = Faults::none_yet(&site);
    for turn in 0..faults {
        load.proceed(1 + numbers.below(12)).await;
        let fault = Fault::draw(&site, turn, &mut numbers);
        seen.count(fault);
        site.suffer(fault, &load).await;
    }
    let (tally, unanswered) = judge(site, load, &SERVICES).await;
    eprintln!("{seen:?}; {tally:?}; {unanswered} attempts without an answer");
    for (kind, count) in seen.each() {
        assert!(count > 0, "no {kind:?} in {seen:?}");
    }
    assert!(unanswered > 0, "every attempt was answered: nothing was under way when something failed");
    assert!(tally.acknowledged > 0 && tally.reads > 0 && tally.mismatches > 0, "{tally:?}");
    if is_long() {
        assert!(tally.acknowledged >= LONG_WRITES, "{tally:?}");
        assert!(tally.unknown_applied > 0 && tally.unknown_not_applied > 0, "{tally:?}");
    }
}

/// Ends it, and holds all that was told against the store. What it was, and how many attempts got no answer.
async fn judge(mut site: Site, load: Load, services: &[&str]) -> (Tally, u64) {
    converge(&site, &load, services).await;
    let told = load.finish().await;
    let log = site.end().await;
    let witness = Witness::of(&log);

    let tally = check(&told.operations, &witness).unwrap_or_else(|found| panic!("{}", report(&found)));
    for (follower, service, applied) in &told.followed {
        let found = check_follower(service, applied, &witness);
        found.unwrap_or_else(|found| panic!("follower {follower} of {service}: {}", report(&found)));
    }
    if site.is_on_etcd() {
        let told = check_watch(&told.sightings, &log).unwrap_or_else(|found| panic!("the watch: {found:?}"));
        assert!(told > tally.acknowledged, "the watch told {told} changes only");
    }
    (tally, told.unanswered)
}

/// Waits until every manager and every follower is where the others are.
async fn converge(site: &Site, load: &Load, services: &[&str]) {
    load.rest().await;
    for service in services {
        eventually("all managers and followers to be at one", async || {
            let mut places = Vec::new();
            for client in site.clients() {
                let info = client.info(service).await.map_err(|refusal| format!("{service}: {refusal:?}"))?;
                places.push(Some(wire::position(wire::revision(info.service.as_ref()))));
            }
            places.extend(load.followers_at(service));
            if places.iter().all(|place| *place == places[0]) { Ok(()) } else { Err(format!("{service}: {places:?}")) }
        })
        .await;
    }
}

fn report(found: &[Violation]) -> String {
    let named: Vec<_> = found.iter().take(5).map(|violation| format!("{}: {violation:#?}", violation.name())).collect();
    format!("{} violations, the first of them:\n{}", found.len(), named.join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_manager_with_an_embedded_store_tells_a_correct_history() {
    chaos(Site::embedded().await, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_managers_on_one_etcd_tell_a_correct_history() {
    chaos(Site::on_etcd(1).await, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_managers_on_three_etcd_nodes_tell_a_correct_history() {
    chaos(Site::on_etcd(3).await, 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_of_one_service_are_merged_or_told_the_current_revision() {
    let site = Site::on_etcd(1).await;
    let load = Load::start(&site, &["contended"], &mut Numbers::seeded()).await;
    load.proceed(200).await;
    let (tally, _) = judge(site, load, &["contended"]).await;
    // None was given up for the others' sake.
    assert_eq!(tally.refused, 0, "{tally:?}");
    assert!(tally.mismatches > 0, "{tally:?}");
}
