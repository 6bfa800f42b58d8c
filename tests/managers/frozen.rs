//! One of two managers is stopped where it is: what an operator sees at the other one, and at this one, and by when.

use super::Etcd;
use cofferdam_proto::v1::{GetConvergenceRequest, IsolationLevel};
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Manager, Said, Store, command, eventually, run};
use tempfile::TempDir;

const SERVICE: &str = "payments";

/// How long a manager waits for another one that says nothing: longer than half of [`TIMEOUT`], so that whoever waits
/// twice does so in vain; as much shorter than it as a slow machine needs for the rest; and less than the 3 s after which
/// its connection is taken for dead.
const PEERS_TIMEOUT: &str = "2900ms";

const TIMEOUT: &str = "5s";

/// What is said where it is over.
const OVER: &str = "within the 5s of --timeout";

/// Two managers over one etcd, with a service.
async fn two_managers(etcd: &Etcd) -> [Manager; 2] {
    // While its lease lasts, the other one goes on asking it.
    let variables = [("COFFERDAM_PEERS_LEASE", "60s"), ("COFFERDAM_PEERS_TIMEOUT", PEERS_TIMEOUT)];
    let one = Manager::start_with(Store::Etcd(etcd.endpoints()), &variables).await;
    let two = Manager::start_with(Store::Etcd(etcd.endpoints()), &variables).await;
    one.client().register(registration(SERVICE, IsolationLevel::Enhanced)).await.unwrap();
    [one, two]
}

/// Stops the second of two managers where it is, once they have heard of each other.
async fn freeze([one, two]: &mut [Manager; 2]) {
    for client in [one.client(), two.client()] {
        eventually("both managers to answer whoever is asked", async || {
            let request = GetConvergenceRequest { service: SERVICE.to_owned(), ..Default::default() };
            let seen = client.get_convergence(request).await.map_err(|refusal| format!("{refusal:?}"))?;
            let missing = seen.convergence.map(|convergence| convergence.unreachable_managers).unwrap_or_default();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
        })
        .await;
    }
    two.process().pause().await;
}

/// Runs `cofferdam` at a manager, without the settings of whoever runs the tests.
fn ask(url: &str, arguments: &[&str]) -> Said {
    let home = TempDir::new().unwrap();
    run(command(arguments).env("XDG_CONFIG_HOME", home.path()).env("COFFERDAM_SERVER", url))
}

/// `describe` printed nothing: three of its answers were asked for when the first was there, and one of them waited for
/// the other manager twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn describe_and_check_show_what_can_be_read_and_name_the_manager_that_is_frozen() {
    let etcd = Etcd::start(1).await;
    let mut managers = two_managers(&etcd).await;
    freeze(&mut managers).await;
    let [one, two] = &managers;
    let frozen = format!("manager {} did not answer", two.address());

    let described = ask(&one.url(), &["describe", "service", SERVICE, "--timeout", TIMEOUT]);
    assert_eq!(described.code, Some(0), "{described:?}");
    assert_eq!(described.err.matches(&frozen).count(), 1, "{described:?}");
    for shown in ["payments", "no instance uses it", "calls, last 5m", "policy in force"] {
        assert!(described.out.contains(shown), "{shown}: {described:?}");
    }
    let checked = ask(&one.url(), &["check", "--timeout", TIMEOUT]);
    assert_eq!(checked.code, Some(3), "{checked:?}");
    assert!(checked.out.contains(&format!("{} does not answer", two.address())), "{checked:?}");
}

/// Each answer had the whole time for itself: a command of three answers took three times as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeout_is_one_deadline_over_the_whole_command() {
    let etcd = Etcd::start(1).await;
    let mut managers = two_managers(&etcd).await;
    freeze(&mut managers).await;
    let [one, two] = &mut managers;

    // Its first answer comes, its second would be too late.
    let waited = ask(&one.url(), &["wait", SERVICE, "--revision", "1", "--timeout", TIMEOUT]);
    assert_eq!(waited.code, Some(1), "{waited:?}");
    assert!(waited.err.contains("did not answer ") && waited.err.contains(OVER), "{waited:?}");

    // What was written by then is said. Later on, the connection to the other one is dead, and that is not waited for.
    two.process().resume();
    freeze(&mut managers).await;
    let [one, two] = &managers;
    let set = ask(&one.url(), &["set-level", SERVICE, "full", "--wait", "--timeout", TIMEOUT]);
    assert_eq!(set.code, Some(3), "{set:?}");
    assert!(set.out.contains("payments: enhanced -> full"), "{set:?}");
    assert!(set.err.contains("it is stored, and ") && set.err.contains(OVER), "{set:?}");
    let info = one.client().info(SERVICE).await.unwrap();
    assert_eq!(info.service.unwrap().policy.unwrap().level(), IsolationLevel::Full);
    assert_eq!(info.unreachable_managers[0].address, two.address());

    // The one that is frozen says nothing to anybody.
    let described = ask(&two.url(), &["describe", "service", SERVICE, "--timeout", TIMEOUT]);
    assert_eq!((described.code, described.out.as_str()), (Some(1), ""), "{described:?}");
    assert!(described.err.contains(&two.url()) && described.err.contains(OVER), "{described:?}");
}
