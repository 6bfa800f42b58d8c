//! Webhooks with real receivers, which fail, are slow and go away.

use super::*;
use crate::{
    clock::testing::FixedClock,
    events::{EventsOptions, News},
    testing::{EPOCH, PATIENCE},
};
use bytes::Bytes;
use cofferdam_core::name::Name;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{collections::VecDeque, convert::Infallible, net::SocketAddr};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::task::AbortOnDropHandle;

mod signing;

/// What a receiver answers.
#[derive(Clone, Copy)]
enum Reply {
    Status(u16),
    RetryAfter(u16, &'static str),
    /// Nothing, ever.
    Silence,
}

/// A request that came.
struct Got {
    headers: HeaderMap,
    body: serde_json::Value,
    text: String,
}

/// A receiver on a real socket. Once its replies are used up it takes everything.
struct Receiver {
    address: SocketAddr,
    got: mpsc::UnboundedReceiver<Got>,
    _serving: AbortOnDropHandle<()>,
}

impl Receiver {
    async fn start(replies: &[Reply]) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), replies).await
    }

    async fn at(address: SocketAddr, replies: &[Reply]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, got) = mpsc::unbounded_channel();
        let replies = Arc::new(Mutex::new(replies.iter().copied().collect::<VecDeque<_>>()));
        let serving = async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (tell, replies) = (tell.clone(), Arc::clone(&replies));
                let service = service_fn(move |request| answer(request, tell.clone(), Arc::clone(&replies)));
                connections
                    .spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(socket), service).await });
            }
        };
        Self { address, got, _serving: AbortOnDropHandle::new(tokio::spawn(serving)) }
    }

    async fn next(&mut self) -> Got {
        tokio::time::timeout(PATIENCE, self.got.recv()).await.expect("nothing was posted").unwrap()
    }
}

async fn answer(
    request: Request<Incoming>,
    tell: mpsc::UnboundedSender<Got>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", "/hooks/secret-path"));
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let reply = replies.lock().unwrap().pop_front().unwrap_or(Reply::Status(204));
    let _ = tell.send(Got { headers: head.headers, body: serde_json::from_str(&text).unwrap(), text });
    let answer = match reply {
        Reply::Status(status) => Response::builder().status(status),
        Reply::RetryAfter(status, after) => Response::builder().status(status).header("retry-after", after),
        Reply::Silence => std::future::pending().await,
    };
    Ok(answer.body(Full::default()).unwrap())
}

fn events(keep: usize) -> Arc<Events> {
    Arc::new(Events::new(Arc::new(FixedClock(EPOCH)), EventsOptions { keep, is_shared: false }))
}

fn tell(events: &Events, id: &str) {
    let namespace = Name::new("default").unwrap();
    events.tell(News::instance(v1::InstanceChange::Came, &namespace, id, "shop"));
}

fn webhook(address: SocketAddr) -> Webhook {
    Webhook {
        url: format!("http://{address}/hooks/secret-path").parse().unwrap(),
        filter: Filter::default(),
        secret: None,
        timeout: PATIENCE,
        give_up_after: Duration::from_secs(3600),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(20),
    }
}

/// Begins to deliver.
fn deliver(webhook: Webhook, events: &Arc<Events>) -> (Arc<Delivery>, AbortOnDropHandle<()>) {
    let delivery = Delivery::new(webhook, Client::new(Trust::Nobody).unwrap(), Arc::clone(events)).unwrap();
    let running = tokio::spawn(Arc::clone(&delivery).run());
    (delivery, AbortOnDropHandle::new(running))
}

/// Waits until it has come to this.
async fn until(delivery: &Delivery, wanted: impl Fn(Deliveries) -> bool) -> Deliveries {
    let waiting = async {
        while !wanted(delivery.so_far()) {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(in_time.is_ok(), "it never came to it: {:?}", delivery.so_far());
    delivery.so_far()
}

#[tokio::test]
async fn a_receiver_that_fails_gets_each_event_in_its_order_under_the_same_id() {
    let mut receiver = Receiver::start(&[Reply::Status(503), Reply::Status(500), Reply::Status(429)]).await;
    let events = events(100);
    let (delivery, _running) = deliver(webhook(receiver.address), &events);
    tell(&events, "one");
    tell(&events, "two");
    let mut ids = Vec::new();
    for _ in 0..5 {
        let got = receiver.next().await;
        assert_eq!(got.headers["webhook-id"], got.body["id"].as_str().unwrap());
        assert_eq!(got.headers["content-type"], "application/json");
        assert_eq!(got.body["kind"], "EVENT_KIND_INSTANCE");
        ids.push(got.body["instanceId"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids, ["one", "one", "one", "one", "two"]);
    let done = until(&delivery, |done| done.posted == 2).await;
    assert_eq!(done, Deliveries { posted: 2, retried: 3, ..Deliveries::default() });
}

#[tokio::test]
async fn a_receiver_that_refuses_for_good_is_not_asked_again_for_that_event() {
    let mut receiver = Receiver::start(&[Reply::Status(400), Reply::Status(301)]).await;
    let events = events(100);
    let (delivery, _running) = deliver(webhook(receiver.address), &events);
    for id in ["one", "two", "three"] {
        tell(&events, id);
    }
    for id in ["one", "two", "three"] {
        assert_eq!(receiver.next().await.body["instanceId"], id);
    }
    let done = until(&delivery, |done| done.posted == 1).await;
    assert_eq!(done, Deliveries { posted: 1, given_up: 2, ..Deliveries::default() });
}

#[tokio::test]
async fn a_receiver_that_is_slow_holds_up_nobody_and_is_asked_again() {
    let mut receiver = Receiver::start(&[Reply::Silence]).await;
    let events = events(100);
    let (delivery, _running) =
        deliver(Webhook { timeout: Duration::from_millis(50), ..webhook(receiver.address) }, &events);
    tell(&events, "one");
    assert_eq!(receiver.next().await.body["instanceId"], "one");
    assert_eq!(receiver.next().await.body["instanceId"], "one");
    until(&delivery, |done| done.posted == 1 && done.retried >= 1).await;
}

#[tokio::test]
async fn a_receiver_that_goes_away_and_comes_back_gets_what_it_missed_as_far_as_it_is_kept() {
    let mut receiver = Receiver::start(&[]).await;
    let events = events(3);
    let address = receiver.address;
    let (delivery, _running) = deliver(webhook(address), &events);
    tell(&events, "one");
    receiver.next().await;
    until(&delivery, |done| done.posted == 1).await;
    drop(receiver);
    for id in ["a", "b", "c", "d", "e", "f"] {
        tell(&events, id);
    }
    until(&delivery, |done| done.retried > 1).await;
    let mut receiver = Receiver::at(address, &[]).await;
    let mut ids = Vec::new();
    while ids.last().is_none_or(|last| last != "f") {
        ids.push(receiver.next().await.body["instanceId"].as_str().unwrap().to_owned());
    }
    let done = until(&delivery, |done| done.posted == 1 + ids.len() as u64).await;
    assert_eq!(done.lost + ids.len() as u64, 6, "what is not posted is counted: {ids:?} {done:?}");
    assert!(ids.ends_with(&["d".to_owned(), "e".to_owned(), "f".to_owned()]), "{ids:?}");
}

#[tokio::test]
async fn what_is_not_taken_in_time_is_given_up() {
    let mut receiver = Receiver::start(&[Reply::Status(500); 3]).await;
    let events = events(100);
    let short =
        Webhook { give_up_after: Duration::ZERO, first_pause: Duration::from_secs(3600), ..webhook(receiver.address) };
    let (delivery, _running) = deliver(short, &events);
    tell(&events, "one");
    receiver.next().await;
    until(&delivery, |done| done.given_up == 1).await;
}

#[tokio::test]
async fn a_receiver_says_when_to_come_again() {
    let mut receiver = Receiver::start(&[Reply::RetryAfter(503, "7200")]).await;
    let events = events(100);
    // It would be tried again at once; what the receiver says is past the time.
    let hasty = Webhook { give_up_after: Duration::from_secs(60), ..webhook(receiver.address) };
    let (delivery, _running) = deliver(hasty, &events);
    tell(&events, "one");
    receiver.next().await;
    assert_eq!(until(&delivery, |done| done.given_up == 1).await.retried, 0);
}

/// The next event met the receiver at once, as if it had asked for nothing.
#[tokio::test]
async fn a_receiver_that_wants_rest_has_it_from_the_events_that_follow_too() {
    for after in ["7200", "Fri, 22 Nov 2199 00:00:00 GMT"] {
        let receiver = Receiver::start(&[Reply::RetryAfter(503, after)]).await;
        let events = events(100);
        let hasty = Webhook { give_up_after: Duration::from_secs(60), ..webhook(receiver.address) };
        let delivery = Delivery::new(hasty, Client::new(Trust::Nobody).unwrap(), Arc::clone(&events)).unwrap();
        tell(&events, "one");
        let page = events.after(0, 1, &Filter::default());
        let rest = delivery.post(&page.events[0]).await.saturating_duration_since(Instant::now());
        assert_eq!(delivery.so_far().given_up, 1, "{after}");
        assert!(rest > MAX_RETRY_AFTER / 2 && rest <= MAX_RETRY_AFTER, "{after}: {rest:?}");
    }
}

/// As it does after a panic. All that the ring keeps would be posted once more.
#[tokio::test]
async fn a_delivery_that_begins_anew_goes_on_behind_what_it_had_begun() {
    let mut receiver = Receiver::start(&[]).await;
    let events = events(100);
    let (delivery, running) = deliver(webhook(receiver.address), &events);
    tell(&events, "one");
    receiver.next().await;
    until(&delivery, |done| done.posted == 1).await;
    drop(running);
    tell(&events, "two");
    let _running = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&delivery).run()));
    assert_eq!(receiver.next().await.body["instanceId"], "two");
}

#[tokio::test]
async fn a_date_that_is_past_is_no_rest() {
    let mut receiver = Receiver::start(&[Reply::RetryAfter(503, "Sun, 06 Nov 1994 08:49:37 GMT")]).await;
    let events = events(100);
    let (delivery, _running) = deliver(webhook(receiver.address), &events);
    tell(&events, "one");
    receiver.next().await;
    receiver.next().await;
    until(&delivery, |done| done.posted == 1).await;
}

#[tokio::test]
async fn only_what_is_wanted_is_posted_and_the_last_event_ends_it() {
    let mut receiver = Receiver::start(&[]).await;
    let events = events(100);
    let filter = Filter::new("*", "", &[v1::EventKind::Manager.into()]).unwrap();
    let (_delivery, running) = deliver(Webhook { filter, ..webhook(receiver.address) }, &events);
    tell(&events, "one");
    events.close(News::manager(v1::ManagerChange::Stopped, events.manager_id(), "", ""));
    assert_eq!(receiver.next().await.body["manager"]["change"], "MANAGER_CHANGE_STOPPED");
    tokio::time::timeout(PATIENCE, running).await.expect("it goes on").unwrap();
}
