//! The Sync stream, word by word: what a manager answers to an SDK of any language, and to none.

use cofferdam_proto::v1::sync_request::Message as Request;
use cofferdam_proto::v1::sync_response::Message as Response;
use cofferdam_proto::v1::{
    AppliedPolicy, CallCounters, IsolatedService, IsolationLevel, PolicyAck, PolicyNack, PolicyUpdate, ServiceReport,
    SyncHello, SyncReport, SyncSubscribe, UnregisterServiceRequest,
};
use cofferdam_tests::wire::{position, registration, revision};
use cofferdam_tests::{Client, Follower, Manager, Store, eventually, hello};
use tonic::Code;

async fn manager() -> (Manager, Client) {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    (manager, client)
}

async fn register(client: &Client, name: &str) -> IsolatedService {
    client.register(registration(name, IsolationLevel::Enhanced)).await.unwrap()
}

#[track_caller]
fn update(message: Response) -> PolicyUpdate {
    match message {
        Response::Update(update) => update,
        other => panic!("no update: {other:?}"),
    }
}

#[track_caller]
fn is_of(update: &PolicyUpdate, service: &IsolatedService) {
    assert_eq!(update.service, service.service.as_ref().unwrap().name);
    assert_eq!((update.revision, &update.policy_hash), (service.revision, &service.policy_hash));
    assert_eq!(update.policy, service.policy, "the policy is the effective one");
    assert!(update.enabled);
}

fn ack(service: &IsolatedService) -> PolicyAck {
    let name = service.service.as_ref().unwrap().name.clone();
    PolicyAck { service: name, revision: service.revision, policy_hash: service.policy_hash.clone() }
}

/// Waits until so many instances use a service, have applied its policy, and have refused it.
async fn counted(client: &Client, service: &str, expected: (u32, u32, u32)) {
    eventually("the manager to count", async || {
        let stats = client.info(service).await.unwrap().stats.unwrap();
        let seen = (stats.instances, stats.applied_instances, stats.refused_instances);
        if seen == expected { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_is_answered_for_each_service_and_then_changes_come() {
    let (manager, client) = manager().await;
    let payments = register(&client, "payments").await;
    register(&client, "unrelated").await;
    let (mut follower, answers) = Follower::start(&manager, "one", &["payments", "nowhere"]).await;
    let (updates, removals): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| matches!(answer, Response::Update(_)));
    assert_eq!((updates.len(), removals.len()), (1, 1), "{updates:?} {removals:?}");
    is_of(&update(updates.into_iter().next().unwrap()), &payments);
    let Some(Response::Removal(removal)) = removals.first() else { panic!("no removal: {removals:?}") };
    assert_eq!(removal.service, "nowhere");
    assert!(removal.revision.is_some());

    client.set_level("unrelated", IsolationLevel::Full).await.unwrap();
    let raised = client.set_level("payments", IsolationLevel::Full).await.unwrap();
    is_of(&update(follower.next().await.unwrap()), &raised);
    let nowhere = register(&client, "nowhere").await;
    is_of(&update(follower.next().await.unwrap()), &nowhere);
    let request = UnregisterServiceRequest { service: "payments".into(), ..Default::default() };
    let gone = client.unregister_service(request).await.unwrap().revision;
    let removal = follower.next().await.unwrap();
    let Response::Removal(removal) = removal else { panic!("no removal: {removal:?}") };
    assert_eq!((&removal.service[..], removal.revision), ("payments", gone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_instance_has_already_is_not_sent_again() {
    let (manager, client) = manager().await;
    let payments = register(&client, "payments").await;
    let ack = ack(&payments);
    let applied = AppliedPolicy { service: ack.service, revision: ack.revision, policy_hash: ack.policy_hash };
    let mut follower = Follower::open(&manager).await;
    let hello = SyncHello { applied: vec![applied], ..hello("again", &["payments"]) };
    follower.say(Request::Hello(hello)).await;
    assert!(matches!(follower.next().await.unwrap(), Response::Complete(_)));
    counted(&client, "payments", (1, 1, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_services_means_those_to_come_too_and_subscribing_adds_some() {
    let (manager, client) = manager().await;
    let payments = register(&client, "payments").await;
    let mut all = Follower::open(&manager).await;
    all.say(Request::Hello(SyncHello { all_services: true, ..hello("all", &[]) })).await;
    is_of(&update(all.next().await.unwrap()), &payments);
    assert!(matches!(all.next().await.unwrap(), Response::Complete(_)));

    let (mut some, answers) = Follower::start(&manager, "some", &[]).await;
    assert!(answers.is_empty(), "{answers:?}");
    let orders = register(&client, "orders").await;
    is_of(&update(all.next().await.unwrap()), &orders);
    some.say(Request::Subscribe(SyncSubscribe { services: vec!["orders".into()], unfollow: vec![] })).await;
    is_of(&update(some.next().await.unwrap()), &orders);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_acknowledgement_of_the_newest_policy_counts_as_applied() {
    let (manager, client) = manager().await;
    let payments = register(&client, "payments").await;
    let (one, _) = Follower::start(&manager, "one", &["payments"]).await;
    let (two, _) = Follower::start(&manager, "two", &["payments"]).await;
    counted(&client, "payments", (2, 0, 0)).await;
    one.say(Request::Ack(ack(&payments))).await;
    counted(&client, "payments", (2, 1, 0)).await;
    let nack = PolicyNack {
        service: "payments".into(),
        revision: payments.revision,
        reason: "no such thing".into(),
        field_path: "retry.max_attempts".into(),
        applied_revision: None,
        ..PolicyNack::default()
    };
    two.say(Request::Nack(nack)).await;
    counted(&client, "payments", (2, 1, 1)).await;
    let raised = client.set_level("payments", IsolationLevel::Full).await.unwrap();
    counted(&client, "payments", (2, 0, 0)).await;
    two.say(Request::Ack(ack(&raised))).await;
    counted(&client, "payments", (2, 1, 0)).await;
    one.say(Request::Ack(ack(&payments))).await;
    drop(one);
    counted(&client, "payments", (1, 1, 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_add_up_over_instances_and_streams() {
    let (manager, client) = manager().await;
    register(&client, "payments").await;
    let report = |sequence, calls| {
        let counters = CallCounters { calls, served_live: calls, ..CallCounters::default() };
        let service = ServiceReport { service: "payments".into(), counters: Some(counters), ..Default::default() };
        Request::Report(SyncReport { sequence, interval: None, services: vec![service] })
    };
    let total = async |expected| {
        eventually("the sum", async || {
            let counters = client.stats().await.unwrap().stats.unwrap().counters.unwrap();
            if (counters.calls, counters.served_live) == (expected, expected) { Ok(()) } else { Err(counters) }
        })
        .await;
    };
    let (one, _) = Follower::start(&manager, "one", &["payments"]).await;
    let (mut two, _) = Follower::start(&manager, "two", &["payments"]).await;
    one.say(report(1, 5)).await;
    two.say(report(1, 7)).await;
    one.say(report(2, 1)).await;
    total(13).await;
    drop(one);
    let (one, _) = Follower::start(&manager, "one", &["payments"]).await;
    one.say(report(1, 2)).await;
    total(15).await;
    // A sum that no number holds would hide whatever comes after it.
    two.say(report(2, u64::MAX)).await;
    assert_eq!(two.next().await.unwrap_err().code(), Code::InvalidArgument);
    one.say(report(2, 1)).await;
    total(16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_slowly_still_gets_the_newest() {
    let (manager, client) = manager().await;
    register(&client, "payments").await;
    let (mut slow, _) = Follower::start(&manager, "slow", &["payments"]).await;
    let mut newest = None;
    for round in 0..300 {
        let level = if round % 2 == 0 { IsolationLevel::Full } else { IsolationLevel::Basic };
        newest = client.set_level("payments", level).await.unwrap().revision;
    }
    let mut last = (0, 0);
    while last < position(newest.unwrap()) {
        let update = update(slow.next().await.unwrap());
        let at = position(update.revision.unwrap());
        assert!(at > last, "revisions only grow: {last:?}, then {at:?}");
        last = at;
    }
    assert_eq!(last, position(revision(client.info("payments").await.unwrap().service.as_ref())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_breaks_the_rules_is_told_which_one_and_harms_nobody() {
    let (manager, client) = manager().await;
    let payments = register(&client, "payments").await;
    let bad_hellos = [
        ("no instance", hello("", &[])),
        ("a long instance", hello(&"i".repeat(129), &[])),
        ("an instance that is no text", hello("a\nb", &[])),
        ("no application", SyncHello { application: String::new(), ..hello("i", &[]) }),
        ("a name that is none", hello("i", &["No Name"])),
        ("a namespace that is none", SyncHello { namespace: "No Name".into(), ..hello("i", &[]) }),
        ("too many services", SyncHello { services: vec!["a".into(); 10_001], ..hello("i", &[]) }),
        ("too many labels", {
            let labels = (0..17).map(|n| (n.to_string(), String::new())).collect();
            SyncHello { labels, ..hello("i", &[]) }
        }),
    ];
    for (what, hello) in bad_hellos {
        let mut follower = Follower::open(&manager).await;
        follower.say(Request::Hello(hello)).await;
        let status = follower.next().await.expect_err(what);
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
    }
    let mut impatient = Follower::open(&manager).await;
    impatient.say(Request::Ack(ack(&payments))).await;
    assert_eq!(impatient.next().await.unwrap_err().code(), Code::InvalidArgument, "hello comes first");
    let (mut twice, _) = Follower::start(&manager, "twice", &[]).await;
    twice.say(Request::Hello(hello("twice", &[]))).await;
    assert_eq!(twice.next().await.unwrap_err().code(), Code::InvalidArgument, "hello comes once");

    let (mut other, _) = Follower::start(&manager, "other", &["payments"]).await;
    let raised = client.set_level("payments", IsolationLevel::Full).await.unwrap();
    is_of(&update(other.next().await.unwrap()), &raised);
}
