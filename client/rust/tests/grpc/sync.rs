use crate::manager::{FakeManager, at, policy, soon};
use cofferdam::{Cofferdam, Event, Level, Service};
use cofferdam_core::wire::policy_hash;
use cofferdam_proto::v1::{self, sync_request, sync_response};
use std::io;
use std::time::Duration;

fn start(manager: &FakeManager) -> Cofferdam {
    Cofferdam::builder("checkout").manager(manager.url()).label("zone", "a").try_start().unwrap()
}

async fn call(service: &Service) -> Result<u32, cofferdam::Error<io::Error>> {
    service.execute("get", || async { Ok(1) }).await
}

async fn until(cd: &Cofferdam, is_connected: bool) {
    soon(async {
        while cd.connection().is_connected() != is_connected {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_instance_says_who_it_is_and_acknowledges_what_it_applies() {
    let mut manager = FakeManager::start().await;
    let cd = start(&manager);
    let db = cd.service("orders-db");
    let mut events = cd.events();
    let (mut stream, hello) = manager.accept().await;
    assert_eq!((hello.application.as_str(), hello.namespace.as_str()), ("checkout", "default"));
    assert_eq!(hello.instance_id, cd.instance_id());
    assert!(hello.instance_id.starts_with("checkout-") && hello.sdk.starts_with("rust/"));
    assert_eq!(hello.labels["zone"], "a");
    assert!(!hello.all_services && hello.applied.is_empty());
    if hello.services.is_empty() {
        // The stream was faster than the test.
        let subscribe = v1::SyncSubscribe { services: vec!["orders-db".to_owned()], unfollow: vec![] };
        assert_eq!(stream.answer().await, sync_request::Message::Subscribe(subscribe));
    } else {
        assert_eq!(hello.services, ["orders-db"]);
    }

    let (full, wire) = policy(Level::Full);
    stream.update("orders-db", 7, wire);
    let ack = v1::PolicyAck {
        service: "orders-db".to_owned(),
        revision: Some(at(7)),
        policy_hash: policy_hash(&full).as_bytes().to_vec().into(),
    };
    assert_eq!(stream.answer().await, sync_request::Message::Ack(ack));
    assert_eq!((db.policy(), db.revision().unwrap().revision), (full, 7));
    assert!(cd.connection().is_connected());
    let answer = db.execute("get", || async { Ok::<_, io::Error>(1) }).answer().await.unwrap();
    assert_eq!(answer.receipt.revision.unwrap().revision, 7);
    assert_eq!(soon(events.next()).await, Some(Event::Connected { manager: manager.url().into() }));
    assert!(matches!(soon(events.next()).await, Some(Event::PolicyApplied { .. })));
}

#[tokio::test]
async fn an_invalid_policy_is_refused_with_its_field() {
    let mut manager = FakeManager::start().await;
    let cd = start(&manager);
    let db = cd.service("orders-db");
    let (mut stream, _) = manager.accept().await;
    let (good, wire) = policy(Level::Enhanced);
    stream.update("orders-db", 1, wire.clone());
    while !matches!(stream.answer().await, sync_request::Message::Ack(_)) {}

    let mut poison = wire;
    poison.retry.get_or_insert_default().max_attempts = Some(1_000_000);
    stream.update("orders-db", 2, poison);
    let sync_request::Message::Nack(nack) = stream.answer().await else { panic!("not refused") };
    assert_eq!((nack.service.as_str(), nack.revision), ("orders-db", Some(at(2))));
    assert_eq!((nack.field_path.as_str(), nack.applied_revision), ("retry.max_attempts", Some(at(1))));
    assert!(nack.reason.contains("retry.max_attempts"), "{}", nack.reason);
    assert_eq!((db.policy(), db.revision().unwrap().revision), (good, 1));
}

#[tokio::test]
async fn calls_go_on_while_the_manager_is_killed_and_comes_back() {
    let mut manager = FakeManager::start().await;
    let cd = start(&manager);
    let db = cd.service("orders-db");
    let (mut stream, _) = manager.accept().await;
    let (full, wire) = policy(Level::Full);
    stream.update("orders-db", 3, wire);
    while !matches!(stream.answer().await, sync_request::Message::Ack(_)) {}

    let address = manager.kill();
    until(&cd, false).await;
    for _ in 0..100 {
        assert_eq!(call(&db).await.unwrap(), 1);
    }
    assert_eq!((db.policy(), db.revision().unwrap().revision), (full.clone(), 3));

    let mut manager = FakeManager::start_again(address).await;
    let (stream, hello) = manager.accept().await;
    let [applied] = &hello.applied[..] else { panic!("{hello:?}") };
    assert_eq!((applied.service.as_str(), applied.revision), ("orders-db", Some(at(3))));
    assert_eq!(applied.policy_hash, policy_hash(&full).as_bytes()[..]);
    stream.say(sync_response::Message::Complete(v1::SyncComplete::default()));
    until(&cd, true).await;
}

#[tokio::test]
async fn reports_add_up_over_two_managers() {
    let mut manager = FakeManager::start().await;
    let cd = start(&manager);
    let db = cd.service("orders-db");
    let (mut stream, _) = manager.accept().await;
    stream.say(sync_response::Message::Bookmark(v1::SyncBookmark::default()));
    for _ in 0..40 {
        call(&db).await.unwrap();
    }
    assert_eq!(stream.calls("orders-db", 40).await, 40);
    let address = manager.kill();
    until(&cd, false).await;
    for _ in 0..25 {
        call(&db).await.unwrap();
    }
    let mut manager = FakeManager::start_again(address).await;
    let (mut stream, _) = manager.accept().await;
    assert_eq!(stream.calls("orders-db", 25).await, 25);

    // Nothing is told twice: the goodbye has the rest and no more.
    call(&db).await.unwrap();
    let (rest, ()) = tokio::join!(
        async {
            let rest = stream.calls("orders-db", u64::MAX).await;
            drop(stream);
            rest
        },
        cd.shutdown()
    );
    assert_eq!(rest, 1);
}

#[tokio::test]
async fn a_manager_that_never_existed_is_not_missed() {
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cd = Cofferdam::builder("checkout").manager(format!("http://{address}")).start();
    let mut events = cd.events();
    let db = cd.service("orders-db");
    assert_eq!(call(&db).await.unwrap(), 1);
    assert_eq!(db.policy().level, Level::Enhanced);
    let Some(Event::Disconnected { reason }) = soon(events.next()).await else { panic!("not told") };
    assert!(reason.to_lowercase().contains("refused"), "{reason}");
    assert_eq!(call(&db).await.unwrap(), 1);
    let connection = cd.connection();
    assert_eq!((connection.is_connected(), connection.policy_age), (false, None));
    soon(cd.shutdown()).await;
    assert_eq!(call(&db).await.unwrap(), 1);
}

#[tokio::test]
async fn a_manager_that_is_mute_holds_nothing_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let cd = Cofferdam::builder("checkout").manager(format!("http://{}", listener.local_addr().unwrap())).start();
    let db = cd.service("orders-db");
    let (_connection, _) = soon(tokio::task::spawn_blocking(move || listener.accept())).await.unwrap().unwrap();
    for _ in 0..100 {
        assert_eq!(call(&db).await.unwrap(), 1);
    }
    soon(cd.shutdown()).await;
}

#[tokio::test]
async fn the_stream_ends_with_the_last_handle() {
    let mut manager = FakeManager::start().await;
    let cd = start(&manager);
    let db = cd.service("orders-db");
    let (mut stream, _) = manager.accept().await;
    stream.say(sync_response::Message::Complete(v1::SyncComplete::default()));
    drop(cd);
    call(&db).await.unwrap();
    assert_eq!(stream.calls("orders-db", 1).await, 1, "a service keeps the stream open");
    drop(db);
    assert_eq!(stream.calls("orders-db", u64::MAX).await, 0);
}

#[test]
fn an_application_without_a_runtime_is_in_step_as_well() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut manager = runtime.block_on(FakeManager::start());
    let cd = start(&manager);
    let db = cd.service("orders-db");
    let (full, wire) = policy(Level::Full);
    runtime.block_on(async {
        let (mut stream, _) = manager.accept().await;
        stream.update("orders-db", 1, wire);
        while !matches!(stream.answer().await, sync_request::Message::Ack(_)) {}
    });
    assert_eq!(db.policy(), full);
}
