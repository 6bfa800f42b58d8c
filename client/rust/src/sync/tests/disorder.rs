//! What a manager says, in any order: late, twice, of another epoch, of another release, or not usable at all. Whatever
//! comes, no older revision is put in force, nothing is removed but by a removal, and a policy is in force as a whole
//! (F8, P7).
//!
//! There are few revisions, so that a random sequence has every kind of disorder in it. Beside the SDK runs the rule in
//! its plainest words. The same rule finds each of the bugs in `broken`.

mod broken;

use self::broken::{Broken, Bug};
use super::super::apply::receive;
use super::*;
use cofferdam_core::runtime::Runtime as _;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};

const SERVICES: [&str; 2] = ["a", "b"];
const SEQUENCES: u32 = 1_000;
/// Those of the long form, `make chaos`.
const LONG_SEQUENCES: u32 = 1_000_000;

/// What a manager says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    /// A policy, by the number that all of its parts have to do with.
    Good {
        service: usize,
        revision: Revision,
        policy: u64,
        is_enabled: bool,
    },
    /// One that cannot be used.
    Bad {
        service: usize,
        revision: Revision,
    },
    /// One that does not say when it was written.
    Undated {
        service: usize,
    },
    Removal {
        service: usize,
        revision: Option<Revision>,
    },
    Complete,
    Bookmark,
    Unknown,
}

/// What is in force.
#[derive(Clone, Debug, PartialEq)]
struct InForce {
    revision: Option<Revision>,
    policy: Policy,
    is_enabled: bool,
}

/// Whoever hears it.
trait Instance {
    fn hear(&mut self, said: FromManager) -> Option<ToManager>;
    fn in_force(&self, service: usize) -> InForce;
}

struct Sdk(Shared);

impl Sdk {
    fn new() -> Self {
        let (instance_id, application, namespace) = ("checkout-1".into(), "checkout".into(), "default".into());
        let identity = Identity { instance_id, application, namespace, labels: Vec::new() };
        let shared = Shared::new(identity, Policy::default(), Vec::new());
        SERVICES.iter().for_each(|service| drop(shared.registry.service(service)));
        Self(shared)
    }
}

impl Instance for Sdk {
    fn hear(&mut self, said: FromManager) -> Option<ToManager> {
        receive(&self.0, said).map(|(_, answer)| answer)
    }

    fn in_force(&self, service: usize) -> InForce {
        let service = self.0.registry.find(SERVICES[service]).unwrap();
        let in_force = service.isolation.in_force();
        InForce { revision: in_force.revision, policy: in_force.policy.clone(), is_enabled: in_force.is_enabled }
    }
}

/// A policy of which any part tells the number.
fn numbered(number: u64) -> Policy {
    let mut spec = PolicySpec { level: Level::Full, ..PolicySpec::default() };
    spec.timeout.attempt_timeout = Duration::from_millis(100 + number);
    spec.bulkhead.max_concurrent = 1 + number as u32;
    spec.breaker.consecutive_failures = 1 + number as u32;
    Policy::new(spec).unwrap()
}

fn built_in() -> InForce {
    InForce { revision: None, policy: Policy::default(), is_enabled: true }
}

impl Said {
    fn service(self) -> Option<usize> {
        match self {
            Self::Good { service, .. } | Self::Bad { service, .. } | Self::Undated { service } => Some(service),
            Self::Removal { service, .. } => Some(service),
            Self::Complete | Self::Bookmark | Self::Unknown => None,
        }
    }

    fn message(self) -> FromManager {
        let named = |service: usize| SERVICES[service].to_owned();
        let update = |service, revision, policy, is_enabled| {
            FromManager::Update(Update {
                service: named(service),
                revision,
                policy,
                is_enabled,
                is_insisted: false,
                as_of: None,
                orders: Orders::default(),
            })
        };
        let refusal = || Refusal { reason: "too much".to_owned(), field_path: String::new() };
        match self {
            Self::Good { service, revision, policy, is_enabled } => {
                update(service, Some(revision), Ok(numbered(policy)), is_enabled)
            }
            Self::Bad { service, revision } => update(service, Some(revision), Err(refusal()), true),
            Self::Undated { service } => update(service, None, Ok(numbered(0)), true),
            Self::Removal { service, revision } => FromManager::Removal { service: named(service), revision },
            Self::Complete => FromManager::Complete(None),
            Self::Bookmark => FromManager::Bookmark(None),
            Self::Unknown => FromManager::Unknown,
        }
    }
}

fn said() -> impl Strategy<Value = Said> {
    let revision = || (0..3_u64, 0..5_u64).prop_map(|(epoch, revision)| at(epoch, revision));
    let service = || 0..SERVICES.len();
    prop_oneof![
        // Now and then there is another policy under the same revision: that of a manager of another release.
        12 => (service(), revision(), 0..8_u64, any::<bool>()).prop_map(|(service, revision, other, is_enabled)| {
            let policy = revision.epoch * 10 + revision.revision + if other == 0 { 100 } else { 0 };
            Said::Good { service, revision, policy, is_enabled: is_enabled || other > 1 }
        }),
        2 => (service(), revision()).prop_map(|(service, revision)| Said::Bad { service, revision }),
        1 => service().prop_map(|service| Said::Undated { service }),
        3 => (service(), revision()).prop_map(|(service, at)| Said::Removal { service, revision: Some(at) }),
        1 => service().prop_map(|service| Said::Removal { service, revision: None }),
        1 => prop_oneof![Just(Said::Complete), Just(Said::Bookmark), Just(Said::Unknown)],
    ]
}

/// The rule, in its plainest words, of each thing that is said.
fn obeys(mut instance: impl Instance, sequence: &[Said]) -> Result<(), TestCaseError> {
    let mut newest = [None; SERVICES.len()];
    let mut expected = [built_in(), built_in()];
    for (index, &said) in sequence.iter().enumerate() {
        let answer = instance.hear(said.message());
        let (mut is_outdated, mut is_refused) = (false, false);
        if let Said::Good { service, revision, .. }
        | Said::Bad { service, revision }
        | Said::Removal { service, revision: Some(revision) } = said
        {
            is_outdated = newest[service].is_some_and(|newest| revision < newest);
            newest[service] = newest[service].max(Some(revision));
        }
        match said {
            _ if is_outdated => {}
            Said::Good { service, revision, policy, is_enabled } => {
                expected[service] = InForce { revision: Some(revision), policy: numbered(policy), is_enabled };
            }
            Said::Removal { service, revision: Some(_) } => expected[service] = built_in(),
            Said::Bad { .. } | Said::Undated { .. } => is_refused = true,
            Said::Removal { revision: None, .. } | Said::Complete | Said::Bookmark | Said::Unknown => {}
        }
        for (service, expected) in expected.iter().enumerate() {
            prop_assert_eq!(&instance.in_force(service), expected, "service {} after step {}", service, index);
        }
        match (answer, said.service()) {
            (Some(ToManager::Applied(told)), Some(service)) if !is_outdated && !is_refused => {
                let InForce { revision, policy, .. } = &expected[service];
                prop_assert_eq!(Some(told), revision.map(|revision| applied(SERVICES[service], revision, policy)));
            }
            (Some(ToManager::Refused { in_force, .. }), Some(service)) if is_refused => {
                prop_assert_eq!(in_force.map(|applied| applied.revision), expected[service].revision, "step {}", index);
            }
            (None, _) => {
                let is_answered = !is_outdated && matches!(said, Said::Good { .. }) || is_refused;
                prop_assert!(!is_answered, "no answer to step {}", index);
            }
            (answer, _) => prop_assert!(false, "{:?} to step {}", answer, index),
        }
    }
    Ok(())
}

/// Runs random sequences. The smallest one that was found to break the rule, and the seed, where one is.
fn try_all<I: Instance>(sequences: u32, new: impl Fn() -> I) -> Result<(), String> {
    let mut config = ProptestConfig { cases: sequences, failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(crate::runtime::Tokio.random());
    }
    let seed = config.rng_seed;
    let strategy = proptest::collection::vec(said(), 1..24);
    match TestRunner::new(config).run(&strategy, |sequence| obeys(new(), &sequence)) {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, sequence)) => Err(format!("{reason}\nwith {seed:?}, smallest: {sequence:#?}")),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// `PROPTEST_RNG_SEED=n` repeats a run.
#[test]
fn in_whatever_order_the_manager_is_heard_nothing_older_is_in_force_and_only_a_removal_removes() {
    let is_long = std::env::var_os("COFFERDAM_LONG").is_some();
    try_all(if is_long { LONG_SEQUENCES } else { SEQUENCES }, Sdk::new).unwrap_or_else(|broken| panic!("{broken}"));
}

#[test]
fn an_instance_that_is_wrong_is_found_out() {
    try_all(SEQUENCES, || Broken::new(None)).expect("it is right but for its bugs");
    for bug in Bug::ALL {
        assert!(try_all(SEQUENCES, || Broken::new(Some(bug))).is_err(), "{bug:?} was never noticed");
    }
}
