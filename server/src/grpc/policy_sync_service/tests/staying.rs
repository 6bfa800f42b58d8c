//! How a stream begins, stays and ends.

use super::*;
use crate::{
    grpc::{SyncApi, SyncOptions},
    instances::Instances,
    listener::ListenerOptions,
    peer::Peer,
    peers::Peers,
    testing::{FaultyStore, reason, registry},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, codegen::Service as _};
use v1::sync_request::Message;

#[tokio::test]
async fn an_idle_stream_hears_that_nothing_is_missing() {
    let options = SyncOptions { bookmark_interval: Duration::from_millis(10), ..SyncOptions::default() };
    let manager = Manager::start_on(FaultyStore::new(), options).await;
    register(&manager, "payments").await;
    let mut instance = Instance::connect(&manager, hello("one", &["payments"])).await;
    let update = instance.update().await;
    instance.complete().await;
    for _ in 0..3 {
        let Some(Answer::Bookmark(bookmark)) = instance.next().await.unwrap() else { panic!("not a bookmark") };
        assert!(bookmark.revision.unwrap().revision >= update.revision.unwrap().revision);
    }
}

#[tokio::test]
async fn a_manager_that_stops_asks_to_come_again_and_does_not_wait() {
    let manager = Manager::start().await;
    let mut instance = Instance::connect(&manager, hello("one", &[])).await;
    instance.complete().await;
    manager.drain();
    let within = instance.reconnect().await;
    assert_eq!(within, Duration::from_secs(2));
    assert_eq!(instance.next().await.unwrap(), None);
    // The client keeps its connection and its half of the stream.
    manager.stop().await;
    drop(instance);
}

#[tokio::test]
async fn a_stream_that_is_old_is_asked_to_come_again() {
    let options = SyncOptions { max_age: Duration::from_millis(50), ..SyncOptions::default() };
    let manager = Manager::start_on(FaultyStore::new(), options).await;
    let mut instance = Instance::connect(&manager, hello("one", &[])).await;
    instance.complete().await;
    instance.reconnect().await;
    let mut instance = Instance::connect(&manager, hello("one", &[])).await;
    instance.complete().await;
}

/// The report that an SDK composes when it is asked to come again has been counted nowhere else.
#[tokio::test]
async fn who_was_asked_to_come_again_is_heard_to_its_last_word_and_expected_back() {
    let options = SyncOptions {
        max_age: Duration::from_millis(50),
        // Longer than the test: only the instance's own goodbye ends the stream.
        farewell: PATIENCE * 2,
        ..SyncOptions::default()
    };
    let manager = Manager::start_on(FaultyStore::new(), options).await;
    register(&manager, "payments").await;
    let mut instance = Instance::connect(&manager, hello("one", &["payments"])).await;
    instance.update().await;
    instance.complete().await;
    instance.reconnect().await;
    let counters = Some(v1::CallCounters { calls: 7, ..v1::CallCounters::default() });
    let services = vec![v1::ServiceReport { service: "payments".to_owned(), counters, ..Default::default() }];
    instance.say(Message::Report(v1::SyncReport { sequence: 1, services, ..v1::SyncReport::default() })).await;
    (instance.say, _) = mpsc::channel(1);
    assert_eq!(instance.next().await.unwrap(), None, "it ends when there is no more to hear");
    let stats = stats_become(&manager, "payments", |stats| stats.instances == 0).await;
    assert_eq!(stats.counters.unwrap().calls, 7);
    let convergence = manager.client().await.get_convergence(v1::GetConvergenceRequest::default()).await.unwrap();
    let services = convergence.into_inner().convergence.unwrap().services;
    assert_eq!((services[0].instances, services[0].silent), (1, 1), "it is not gone");
}

#[tokio::test]
async fn a_stream_that_names_too_many_services_that_nobody_registered_is_told_so_and_when_to_come_again() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let made_up = |prefix: &str| (0..10_000).map(|n| format!("{prefix}-{n}")).collect();
    let mut all = Vec::new();
    for id in ["one", "two", "three", "four", "five"] {
        let hello = v1::SyncHello { services: made_up(id), ..hello(id, &[]) };
        let mut instance = Instance::connect(&manager, hello).await;
        while !matches!(instance.next().await.unwrap().unwrap(), Answer::Complete(_)) {}
        all.push(instance);
    }
    let mut refused = Instance::connect(&manager, hello("six", &["paymnts"])).await;
    let status = refused.failure().await;
    assert_eq!((status.code(), reason(&status)), (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()), "{status}");
    assert!(
        tonic_types::StatusExt::get_details_retry_info(&status).and_then(|info| info.retry_delay).is_some(),
        "{status:?}"
    );
    // What is registered is followed as ever.
    let mut instance = Instance::connect(&manager, hello("six", &["payments"])).await;
    instance.update().await;
    instance.complete().await;
    let subscribe = v1::SyncSubscribe { services: vec!["paymnts".to_owned()], ..Default::default() };
    instance.say(Message::Subscribe(subscribe)).await;
    assert_eq!(instance.failure().await.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn the_time_over_which_all_come_back_grows_with_their_number() {
    let options = SyncOptions { reconnect_rate: 1, ..SyncOptions::default() };
    let manager = Manager::start_on(FaultyStore::new(), options).await;
    let mut all = Vec::new();
    for seconds in 1..=3 {
        let mut instance = Instance::connect(&manager, hello(&seconds.to_string(), &[])).await;
        let window = instance.complete().await.reconnect_within.unwrap();
        assert_eq!((window.seconds, window.nanos), (seconds, 0));
        all.push(instance);
    }
    // One that has broken off is one of those who come back.
    drop(all.pop());
    manager.drain();
    assert_eq!(all[0].reconnect().await, Duration::from_secs(3));
}

#[tokio::test]
async fn instances_leave_the_last_connections_to_operators() {
    let bounds = ListenerOptions { max_connections: 2, reserved_connections: 1, ..ListenerOptions::default() };
    let manager = Manager::start_with(FaultyStore::new(), SyncOptions::default(), bounds).await;
    register(&manager, "payments").await;
    let mut first = Instance::connect(&manager, hello("one", &["payments"])).await;
    first.update().await;
    let channel = manager.channel().await;
    let mut operator = v1::isolation_service_client::IsolationServiceClient::new(channel.clone());
    operator.get_isolation_stats(v1::GetIsolationStatsRequest::default()).await.unwrap();
    let (_silent, said) = mpsc::channel(1);
    let refused = PolicySyncServiceClient::new(channel).sync(ReceiverStream::new(said)).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "QUOTA_EXCEEDED"));
    let retry = tonic_types::StatusExt::get_details_retry_info(&refused).unwrap();
    assert_eq!(retry.retry_delay, Some(Duration::from_secs(2)));
    // Its connection is asked to end: another one, which this client opens by itself, has the place again.
    let another = async {
        while operator.get_isolation_stats(v1::GetIsolationStatsRequest::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, another).await.expect("the place was never free again");
    set_level(&manager, "payments", v1::IsolationLevel::Full).await;
    first.complete().await;
    first.update().await;
}

#[tokio::test]
async fn a_second_stream_takes_the_place_of_the_first() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut first = Instance::connect(&manager, hello("one", &["payments"])).await;
    first.update().await;
    first.complete().await;
    let mut second = Instance::connect(&manager, hello("one", &["payments"])).await;
    second.update().await;
    let status = first.failure().await;
    assert_eq!(status.code(), Code::Aborted);
    let from = "another stream from 127.0.0.1:";
    assert!(status.message().contains(from) && status.message().contains("the instance id \"one\""), "{status}");
    let seen = stats(&manager, "payments").await;
    assert_eq!(seen.instances, 1);
}

#[tokio::test]
async fn an_sdk_that_says_goodbye_is_not_kept_waiting() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut instance = Instance::connect(&manager, hello("one", &["payments"])).await;
    instance.update().await;
    instance.complete().await;
    (instance.say, _) = mpsc::channel(1);
    assert_eq!(instance.next().await.unwrap(), None);
    // While it is still being told: what was said before the goodbye counts.
    let mut hasty = Instance::connect(&manager, hello("two", &["payments"])).await;
    let counters = Some(v1::CallCounters { calls: 7, ..v1::CallCounters::default() });
    let services = vec![v1::ServiceReport { service: "payments".to_owned(), counters, ..Default::default() }];
    hasty.say(Message::Report(v1::SyncReport { sequence: 1, services, ..v1::SyncReport::default() })).await;
    (hasty.say, _) = mpsc::channel(1);
    while hasty.next().await.unwrap().is_some() {}
    let stats = stats_become(&manager, "payments", |stats| stats.instances == 0).await;
    assert_eq!(stats.counters.unwrap().calls, 7);
}

/// As grpcurl, which ends its side where its input ends.
#[tokio::test]
async fn a_client_without_an_sdk_that_has_said_all_still_hears() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let hello = v1::SyncHello { sdk: String::new(), ..hello("one", &["payments"]) };
    let mut instance = Instance::connect(&manager, hello).await;
    instance.update().await;
    instance.complete().await;
    let (closed, _) = mpsc::channel(1);
    instance.say = closed;
    set_level(&manager, "payments", v1::IsolationLevel::Full).await;
    assert_eq!(policy(&instance.update().await).level, cofferdam_core::level::Level::Full);
}

#[tokio::test]
async fn a_hello_is_checked_as_a_whole() {
    let manager = Manager::start().await;
    let good = || hello("one", &[]);
    let long = |length| "a".repeat(length);
    let labels = (0..17).map(|index| (index.to_string(), String::new())).collect();
    let applied = v1::AppliedPolicy { service: "a".to_owned(), ..v1::AppliedPolicy::default() };
    let cases = [
        (v1::SyncHello { instance_id: String::new(), ..good() }, "hello.instance_id"),
        (v1::SyncHello { instance_id: long(129), ..good() }, "hello.instance_id"),
        (v1::SyncHello { application: "ä".to_owned(), ..good() }, "hello.application"),
        (v1::SyncHello { namespace: "A".to_owned(), ..good() }, "hello.namespace"),
        (v1::SyncHello { sdk: long(65), ..good() }, "hello.sdk"),
        (v1::SyncHello { labels, ..good() }, "hello.labels"),
        (v1::SyncHello { services: vec!["a".to_owned(), "A".to_owned()], ..good() }, "hello.services[1]"),
        (v1::SyncHello { services: vec!["a".to_owned(); 10_001], ..good() }, "hello.services"),
        (v1::SyncHello { applied: vec![applied], ..good() }, "hello.applied[0].revision"),
    ];
    for (hello, path) in cases {
        let status = Instance::connect(&manager, hello).await.failure().await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "INVALID_FIELD"), "{path}");
        let details = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
        assert_eq!(details.field_violations[0].field, path);
    }
    assert_eq!(manager.instances.count(None), 0);
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_stream() {
    let manager = Manager::start().await;
    let mut silent = Instance::connect(&manager, hello("one", &[])).await;
    silent.complete().await;
    silent.say(Message::Hello(hello("one", &[]))).await;
    assert_eq!(silent.failure().await.code(), Code::InvalidArgument);

    let nameless = v1::PolicyAck { policy_hash: vec![0; 16].into(), ..v1::PolicyAck::default() };
    let unhashed = v1::PolicyAck {
        service: "a".to_owned(),
        revision: Some(v1::Revision::default()),
        policy_hash: vec![0; 15].into(),
    };
    let too_many = v1::SyncSubscribe { services: vec!["a".to_owned(); 10_001], unfollow: vec![] };
    let too_many_less = v1::SyncSubscribe { services: vec![], unfollow: vec!["a".to_owned(); 10_001] };
    let subscribes = [too_many, too_many_less].map(Message::Subscribe);
    for message in [Message::Ack(nameless), Message::Ack(unhashed)].into_iter().chain(subscribes) {
        let mut instance = Instance::connect(&manager, hello("two", &[])).await;
        instance.complete().await;
        instance.say(message).await;
        assert_eq!(instance.failure().await.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_taken_is_refused_in_the_contracts_words() {
    let manager = Manager::start().await;
    let too_large = v1::SyncHello { sdk: "x".repeat(super::super::MAX_MESSAGE_BYTES), ..hello("one", &[]) };
    let refused = Instance::connect(&manager, too_large).await.failure().await;
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"));

    let mut instance = Instance::connect(&manager, hello("one", &[])).await;
    instance.complete().await;
    let ack = v1::PolicyAck { service: "x".repeat(super::super::MAX_MESSAGE_BYTES), ..v1::PolicyAck::default() };
    instance.say(Message::Ack(ack)).await;
    let refused = instance.failure().await;
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"));

    let mut client = PolicySyncServiceClient::new(manager.channel().await);
    let (_silent, said) = mpsc::channel(1);
    let mut compressed = tonic::Request::new(ReceiverStream::new(said));
    compressed.metadata_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    let refused = client.sync(compressed).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

/// Without a socket, whose bytes do not know that time is paused.
#[tokio::test(start_paused = true)]
async fn a_message_that_stops_half_way_ends_the_stream() {
    let registry = Arc::new(registry(&FaultyStore::new()).await);
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let (peers, drain) = (Peers::alone(), CancellationToken::new());
    let mut api = SyncApi::new(registry, Arc::clone(&instances), peers, SyncOptions::default(), drain);
    let hello = request(Message::Hello(hello("one", &["payments"]))).encode_to_vec();
    let length = u32::try_from(hello.len()).unwrap().to_be_bytes();
    let hello = [&[0], &length[..], &hello].concat();
    let said = [Bytes::from(hello), Bytes::from_static(b"\0\0\x10\0\0half of it")];
    let said = stream::iter(said).chain(stream::pending()).map(|bytes| Ok::<_, Status>(Frame::data(bytes)));
    let mut request = http::Request::new(StreamBody::new(said));
    *request.uri_mut() = "/cofferdam.v1.PolicySyncService/Sync".parse().unwrap();
    let (drain, hang_up) = Default::default();
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), is_beyond: None, drain, hang_up };
    request.extensions_mut().insert(peer);
    let answer = api.call(request).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE * 2, answer.into_body().collect()).await.expect("it is held").unwrap();
    let trailers = heard.trailers().cloned().unwrap_or_default();
    assert_eq!(Status::from_header_map(&trailers).unwrap().code(), Code::DeadlineExceeded, "{trailers:?}");
    assert_eq!(instances.count(None), 0);
}

#[tokio::test]
async fn another_first_message_or_none_is_refused() {
    let options = SyncOptions { hello_timeout: Duration::from_millis(20), ..SyncOptions::default() };
    let manager = Manager::start_on(FaultyStore::new(), options).await;
    let mut client = PolicySyncServiceClient::new(manager.channel().await);
    let ack = request(Message::Ack(v1::PolicyAck::default()));
    let mut answers = client.sync(tokio_stream::iter([ack])).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::InvalidArgument);

    let (_silent, said) = mpsc::channel(1);
    let mut answers = client.sync(ReceiverStream::new(said)).await.unwrap().into_inner();
    let refused = tokio::time::timeout(PATIENCE, answers.message()).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn who_does_not_read_is_hung_up_on_and_disturbs_nobody() {
    let manager = Manager::start().await;
    let mut stuck = Instance::connect(&manager, v1::SyncHello { all_services: true, ..hello("stuck", &[]) }).await;
    stuck.complete().await;
    let mut reading = Instance::connect(&manager, v1::SyncHello { all_services: true, ..hello("reads", &[]) }).await;
    reading.complete().await;
    // More than the stream's window and the socket's buffers hold.
    let large: &'static [u8] = vec![7; 60 * 1024].leak();
    let mut version = 0;
    let stalled = async {
        loop {
            version += 1;
            for name in ["a", "b", "c", "d"] {
                let mut request = registration(name);
                request.service.as_mut().unwrap().version = version.to_string();
                request.fallback = Some(crate::testing::fallback(vec![crate::testing::static_step(large)]));
                manager.registry.register(request).await.unwrap();
                reading.update().await;
            }
            if manager.registry.hang_up_on_stalled(Duration::from_millis(200)) > 0 {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, stalled).await.expect("the stuck one was never noticed");
    let gone = async {
        while manager.instances.count(None) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the stuck one was never let go");
    set_level(&manager, "a", v1::IsolationLevel::Full).await;
    assert_eq!(reading.update().await.service, "a");
    drop(stuck);
}
