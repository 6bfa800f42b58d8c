//! Enumerations, texts and lists: what they may hold, and that nothing else is at fault where they hold more.

use super::roomy::{
    Set, adaptive, alternative, breaker, bulkhead, cached, degraded, fallback, faults, fixed, pool, refused, retry,
};
use cofferdam_proto::v1;

#[test]
fn enumerations_have_their_numbers() {
    let fields: [(&str, i32, Set<i32>); 6] = [
        ("level", 4, |p, n| p.level = n),
        ("circuit_breaker.on_lease_expiry", 3, |p, n| breaker(p).on_lease_expiry = n),
        ("circuit_breaker.mode", 3, |p, n| breaker(p).mode = n),
        ("retry.jitter", 4, |p, n| retry(p).jitter = n),
        ("adaptive_limit.kind", 3, |p, n| adaptive(p).kind = n),
        ("fallback.on[1]", 5, |p, n| fallback(p).on = vec![1, if n == 0 { 2 } else { n }]),
    ];
    for (path, last, set) in fields {
        for good in 0..=last {
            let twice = path == "fallback.on[1]" && good == 1;
            assert_eq!(faults(set, good), if twice { refused("fallback.on") } else { vec![] }, "{path} at {good}");
        }
        for bad in [-1, 6, 99, i32::MIN, i32::MAX] {
            assert_eq!(faults(set, bad), refused(path), "{path} at {bad}");
        }
    }
    assert_eq!(faults(|p, on| fallback(p).on = on, vec![0]), refused("fallback.on[0]"));
}

#[test]
fn a_mode_ends_in_the_years_1_to_9999() {
    let set: Set<(i64, i32)> =
        |p, (seconds, nanos)| breaker(p).mode_until = Some(prost_types::Timestamp { seconds, nanos });
    for good in [(-62_135_596_800, 0), (0, 999_999_999), (253_402_300_799, 999_999_999)] {
        assert_eq!(faults(set, good), Vec::<String>::new());
    }
    for bad in [(-62_135_596_801, 0), (253_402_300_800, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, i32::MIN)] {
        assert_eq!(faults(set, bad), refused("circuit_breaker.mode_until"), "{bad:?}");
    }
}

#[test]
fn an_error_type_is_something() {
    let set: Set<i32> = |p, outcome| {
        let rule = v1::ErrorTypeRule { type_name: "UserNotFoundError".to_owned(), outcome };
        p.classification.get_or_insert_default().error_types = vec![rule];
    };
    for good in 1..=3 {
        assert_eq!(faults(set, good), Vec::<String>::new());
    }
    for bad in [-1, 0, 4, i32::MAX] {
        assert_eq!(faults(set, bad), refused("classification.error_types[0].outcome"));
    }
}

#[test]
fn texts_have_their_form() {
    type Text = (&'static str, Set<String>, Vec<String>, Vec<String>);
    let x = |length| "x".repeat(length);
    let control = || vec!["\0".to_owned(), "line\nbreak".to_owned(), "\u{85}".to_owned()];
    let names = ["", "-a", "a-", "A", "a/b", "..", "a b", "\u{e9}"].map(str::to_owned).to_vec();
    let pools = ["", "1pool", "-pool", "read pool", "p\u{f6}l"].map(str::to_owned).to_vec();
    let with = |mut some: Vec<String>, more: String| {
        some.push(more);
        some
    };
    let fields: [Text; 10] = [
        (
            "fallback.chain[1].alternative.service",
            |p, s| alternative(p).service = s,
            vec!["backup-service".to_owned(), x(128)],
            with(names, x(129)),
        ),
        (
            "fallback.chain[1].alternative.method",
            |p, s| alternative(p).method = s,
            vec![x(0), x(512)],
            with(control(), x(513)),
        ),
        (
            "fallback.chain[2].static.content_type",
            |p, s| fixed(p).content_type = s,
            vec![x(0), x(256)],
            with(control(), x(257)),
        ),
        (
            "fallback.chain[3].degraded.reason",
            |p, s| degraded(p).reason = s,
            vec![x(0), x(256)],
            with(control(), x(257)),
        ),
        (
            "fallback.chain[3].degraded.features[0]",
            |p, s| degraded(p).features = vec![s],
            vec![x(64)],
            with(control(), x(65)),
        ),
        (
            "fallback.chain[0].cached.key_fields[0]",
            |p, s| cached(p).key_fields = vec![s],
            vec!["user_id".to_owned(), x(128)],
            with(with(control(), x(129)), String::new()),
        ),
        ("bulkhead.pools[0].name", |p, s| pool(p).name = s, vec!["authPool".to_owned(), x(64)], with(pools, x(65))),
        (
            "bulkhead.pools[0].method_globs[0]",
            |p, s| pool(p).method_globs = vec![s],
            vec!["*".to_owned(), "/orders.v1.Orders/Get*".to_owned(), x(256)],
            with(with(control(), x(257)), String::new()),
        ),
        (
            "classification.error_types[0].type_name",
            |p, type_name| {
                let rule = v1::ErrorTypeRule { type_name, outcome: v1::OutcomeClass::Neutral.into() };
                p.classification.get_or_insert_default().error_types = vec![rule];
            },
            vec!["UserNotFoundError".to_owned(), x(256)],
            with(with(control(), x(257)), String::new()),
        ),
        ("preset", |p, s| p.preset = s, vec!["stripe".to_owned()], vec!["Stripe".to_owned(), x(1000)]),
    ];
    for (path, set, good, bad) in fields {
        for text in good {
            assert_eq!(faults(set, text.clone()), Vec::<String>::new(), "{path} at {text:?}");
        }
        for text in bad {
            assert_eq!(faults(set, text.clone()), refused(path), "{path} at {text:?}");
        }
    }
}

#[test]
fn lists_have_their_length_and_hold_things_once() {
    let codes: [(&str, Set<Vec<u32>>); 3] = [
        ("classification.grpc_failure_codes", |p, c| p.classification.get_or_insert_default().grpc_failure_codes = c),
        ("classification.grpc_neutral_codes", |p, c| p.classification.get_or_insert_default().grpc_neutral_codes = c),
        ("retry.retryable_grpc_codes", |p, c| retry(p).retryable_grpc_codes = c),
    ];
    for (path, set) in codes {
        for good in [vec![], vec![0], vec![14], (0..=16).collect()] {
            assert_eq!(faults(set, good.clone()), Vec::<String>::new(), "{path} at {good:?}");
        }
        for bad in [vec![17], vec![u32::MAX], vec![14, 14], vec![1, 2, 17], (0..=17).collect()] {
            assert_eq!(faults(set, bad.clone()), refused(path), "{path} at {bad:?}");
        }
    }
    let set_pools = |p: &mut v1::IsolationPolicy, count: usize| {
        bulkhead(p).pools =
            (0..count).map(|i| v1::BulkheadPool { name: format!("p{i}"), ..Default::default() }).collect();
    };
    assert_eq!(faults(set_pools, 32), Vec::<String>::new());
    assert_eq!(faults(set_pools, 33), refused("bulkhead.pools"));
    let same = |p: &mut v1::IsolationPolicy, count: usize| {
        bulkhead(p).pools = vec![v1::BulkheadPool { name: "p".to_owned(), ..Default::default() }; count];
    };
    assert_eq!(faults(same, 2), refused("bulkhead.pools[1].name"));
    let globs = |p: &mut v1::IsolationPolicy, count| pool(p).method_globs = vec!["*".to_owned(); count];
    assert_eq!(faults(globs, 32), Vec::<String>::new());
    assert_eq!(faults(globs, 33), refused("bulkhead.pools[0].method_globs"));
    let features = |p: &mut v1::IsolationPolicy, count| degraded(p).features = vec!["x".to_owned(); count];
    assert_eq!(faults(features, 32), Vec::<String>::new());
    assert_eq!(faults(features, 33), refused("fallback.chain[3].degraded.features"));
    let key_fields = |p: &mut v1::IsolationPolicy, count: usize| {
        cached(p).key_fields = (0..count).map(|number| number.to_string()).collect();
    };
    assert_eq!(faults(key_fields, 32), Vec::<String>::new());
    assert_eq!(faults(key_fields, 33), refused("fallback.chain[0].cached.key_fields"));
    let again =
        |p: &mut v1::IsolationPolicy, field: &str| cached(p).key_fields = vec!["a".to_owned(), field.to_owned()];
    assert_eq!(faults(again, "b"), Vec::<String>::new());
    assert_eq!(faults(again, "a"), refused("fallback.chain[0].cached.key_fields[1]"));
    let steps = |p: &mut v1::IsolationPolicy, count| fallback(p).chain = vec![fallback(p).chain[1].clone(); count];
    assert_eq!(faults(steps, 4), Vec::<String>::new());
    assert_eq!(faults(steps, 5), refused("fallback.chain"));
    let twice = |p: &mut v1::IsolationPolicy, kind: usize| fallback(p).chain[1] = fallback(p).chain[kind].clone();
    for (kind, path) in
        [(0, "fallback.chain[1].cached"), (2, "fallback.chain[2].static"), (3, "fallback.chain[3].degraded")]
    {
        assert_eq!(faults(twice, kind), refused(path));
    }
    let empty = |p: &mut v1::IsolationPolicy, index: usize| fallback(p).chain[index].strategy = None;
    for index in 0..4 {
        assert_eq!(faults(empty, index), refused(&format!("fallback.chain[{index}]")));
    }
    let payload = |p: &mut v1::IsolationPolicy, length| fixed(p).payload = vec![0; length].into();
    assert_eq!(faults(payload, 65_536), Vec::<String>::new());
    assert_eq!(faults(payload, 65_537), refused("fallback.chain[2].static.payload"));
}
