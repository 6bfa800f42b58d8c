use super::*;
use crate::runtime::clocks;
use crate::{BreakerState, Cofferdam, Level, Origin, PolicySpec, Service};
use cofferdam_core::orders::{OrdersSpec, TemporaryLevel};
use cofferdam_core::policy::{BreakerPolicy, TimeoutPolicy};
use cofferdam_core::time::WallTime;
use std::fs;

fn identity(application: &str, namespace: &str) -> Identity {
    let instance_id = "checkout-1".to_owned();
    Identity { instance_id, application: application.to_owned(), namespace: namespace.to_owned(), labels: Vec::new() }
}

fn kept(service: &str, revision: u64, is_enabled: bool) -> Kept {
    let timeout = TimeoutPolicy { call_timeout: Duration::from_millis(123), ..TimeoutPolicy::default() };
    let breaker = BreakerPolicy { consecutive_failures: 3, ..BreakerPolicy::default() };
    let spec = PolicySpec { level: Level::Full, timeout, breaker, ..PolicySpec::default() };
    let policy = Policy::new(spec).unwrap();
    Kept {
        service: service.into(),
        policy,
        revision: Revision { epoch: 7, revision },
        is_enabled,
        orders: Orders::default(),
    }
}

/// The file that a process of the application writes.
fn file_of(application: &str, namespace: &str, kept: &[Kept]) -> Vec<u8> {
    let policies = kept.iter().map(crate::transport::encode_policy).collect();
    Seal::POLICY_FILE.seal(&crate::transport::encode_policies(&identity(application, namespace), policies))
}

/// An SDK without a manager that finds this in its directory, if anything.
fn started(dir: &Path, bytes: Option<&[u8]>) -> Cofferdam {
    if let Some(bytes) = bytes {
        fs::write(dir.join(disk::file_name("checkout", "default")), bytes).unwrap();
    }
    Cofferdam::builder("checkout").policy_dir(dir).start()
}

fn assert_default(service: &Service) {
    let policy = Cofferdam::builder("checkout").start().service("a").policy();
    assert_eq!((service.policy(), service.revision(), service.origin()), (policy, None, Origin::BuiltIn));
}

#[tokio::test(start_paused = true)]
async fn the_first_call_runs_under_the_policy_that_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = file_of("checkout", "default", &[kept("a", 5, true), kept("off", 6, false)]);
    let cofferdam = started(dir.path(), Some(&bytes));
    let service = cofferdam.service("a");
    assert_eq!((service.policy(), service.revision()), (kept("a", 5, true).policy, Some(kept("a", 5, true).revision)));
    assert_eq!(service.origin(), Origin::File);
    for _ in 0..3 {
        let call = service.execute("m", || async { std::future::pending::<Result<(), std::io::Error>>().await });
        let begin = tokio::time::Instant::now();
        call.await.unwrap_err();
        assert_eq!(begin.elapsed().as_millis(), 123);
    }
    assert_eq!(service.breaker_state(), Some(BreakerState::Open));

    assert!(!cofferdam.service("off").is_enabled());
    assert_default(&cofferdam.service("unknown"));
    let file = cofferdam.policy_file().unwrap();
    assert_eq!((file.found, file.unusable, file.refusal, file.writes), (2, 0, None, 0));
    assert_eq!(fs::read(file.path).unwrap(), bytes);
}

/// Without a manager nothing ended it: a process could stay without protection for ever.
#[tokio::test(start_paused = true)]
async fn a_temporary_level_that_was_kept_ends_on_time_where_there_is_no_manager() {
    let dir = tempfile::tempdir().unwrap();
    let since_1970 = clocks().wall.saturating_since(WallTime::after_1970(Duration::ZERO));
    let until = WallTime::after_1970(since_1970 + Duration::from_secs(60));
    let level = TemporaryLevel { level: Level::None, until, actor: "alice".to_owned(), reason: String::new() };
    let orders = Orders::new(OrdersSpec { level: Some(level), ..OrdersSpec::default() }).unwrap();
    let bytes = file_of("checkout", "default", &[Kept { orders, ..kept("a", 5, true) }]);
    let cofferdam = started(dir.path(), Some(&bytes));
    let service = cofferdam.service("a");
    assert_eq!(service.policy().level, Level::None);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(service.policy().level, Level::Full);
}

#[test]
fn a_file_cut_anywhere_is_refused_counted_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let whole = file_of("checkout", "default", &[kept("a", 5, true)]);
    for end in 0..whole.len() {
        let cofferdam = started(dir.path(), Some(&whole[..end]));
        assert_default(&cofferdam.service("a"));
        let file = cofferdam.policy_file().unwrap();
        assert!(file.refusal.is_some() && file.found == 0, "cut at {end}: {file:?}");
        assert_eq!(fs::read(file.path).unwrap(), &whole[..end]);
    }
}

#[test]
fn a_file_with_a_byte_changed_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = file_of("checkout", "default", &[kept("a", 5, true)]);
    for index in 0..whole.len() {
        let mut changed = whole.clone();
        changed[index] ^= 1 << (index % 8);
        let cofferdam = started(dir.path(), Some(&changed));
        assert_default(&cofferdam.service("a"));
        assert!(cofferdam.policy_file().unwrap().refusal.is_some(), "byte {index}");
    }
}

#[test]
fn what_is_not_ours_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |bytes: &[u8]| {
        let cofferdam = started(dir.path(), Some(bytes));
        assert_default(&cofferdam.service("a"));
        cofferdam.policy_file().unwrap().refusal.unwrap().to_string()
    };
    let policies = [kept("a", 5, true)];
    let mut later = file_of("checkout", "default", &policies);
    later[11] = 9;
    assert_eq!(refusal(b""), "it is empty");
    assert_eq!(refusal(b"[policies]\n"), "it does not begin as a file of policies of Cofferdam does");
    assert_eq!(refusal(&later), "it is of format 9; this release reads format 1");
    let foreign = refusal(&file_of("checkout", "production", &policies));
    assert_eq!(foreign, "it is of application \"checkout\", namespace \"production\"");
    let foreign = refusal(&file_of("billing", "default", &policies));
    assert_eq!(foreign, "it is of application \"billing\", namespace \"default\"");
    assert!(refusal(&Seal::POLICY_FILE.seal(b"\xff\xff")).starts_with("it holds something else: "));
}

#[test]
fn a_policy_that_cannot_be_used_is_refused_alone() {
    use cofferdam_proto::storage::v1::PolicyFile as Body;
    use prost::Message as _;
    let dir = tempfile::tempdir().unwrap();
    let whole = file_of("checkout", "default", &[kept("a", 5, true), kept("b", 6, true), kept("c", 7, true)]);
    let mut body = Body::decode(Seal::POLICY_FILE.open(&whole).unwrap()).unwrap();
    body.policies[0].policy.as_mut().unwrap().retry.as_mut().unwrap().max_attempts = Some(1_000_000);
    body.policies[1].revision = None;
    let cofferdam = started(dir.path(), Some(&Seal::POLICY_FILE.seal(&body.encode_to_vec())));
    assert_default(&cofferdam.service("a"));
    assert_default(&cofferdam.service("b"));
    assert_eq!(cofferdam.service("c").origin(), Origin::File);
    let file = cofferdam.policy_file().unwrap();
    assert_eq!((file.found, file.unusable), (1, 2));
    let refusal = file.refusal.unwrap();
    assert!(refusal.contains("\"a\"") && refusal.contains("retry.max_attempts"), "{refusal}");
}

#[test]
fn a_directory_that_is_none_is_a_warning_or_an_error_as_the_caller_likes() {
    let dir = tempfile::tempdir().unwrap();
    let occupied = dir.path().join("occupied");
    fs::write(&occupied, b"x").unwrap();
    let builder = || Cofferdam::builder("checkout").policy_dir(&occupied);
    assert!(matches!(builder().try_start(), Err(crate::InvalidSetting::PolicyDir { .. })));
    let cofferdam = builder().start();
    assert_default(&cofferdam.service("a"));
    assert!(cofferdam.policy_file().unwrap().refusal.is_some());
    assert_eq!(Cofferdam::builder("checkout").start().policy_file(), None);
}

/// A chain as long as one process follows, which must not be walked by recursion.
#[test]
fn services_that_stand_in_are_restored_along_with_those_they_stand_in_for() {
    use cofferdam_core::name::Name;
    use cofferdam_core::policy::{AlternativeFallback, FallbackPolicy, FallbackStep};
    let last = 9_999;
    let policies = (0..=last).map(|number| {
        let service = Name::new(&format!("s{}", (number + 1) % (last + 1))).unwrap();
        let alternative = AlternativeFallback { service, method: String::new(), timeout: Duration::from_secs(1) };
        let chain = vec![FallbackStep::Alternative(alternative)];
        let fallback = FallbackPolicy { chain, ..FallbackPolicy::default() };
        let policy = Policy::new(PolicySpec { level: Level::Enhanced, fallback, ..PolicySpec::default() }).unwrap();
        Kept { service: format!("s{number}").into(), policy, ..kept("", 1, true) }
    });
    let registry = crate::registry::Registry::new(Policy::default(), crate::events::Hub::new());
    registry.restore(policies.collect(), "checkout-1");
    registry.service("s0");
    assert_eq!(registry.find(&format!("s{last}")).unwrap().origin(), Origin::File);
    assert_eq!(registry.kept().len(), last + 1);
}
