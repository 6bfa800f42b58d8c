//! Events as a browser hears them.

use super::*;
use crate::testing::PATIENCE;

/// A stream of blocks.
struct Blocks {
    body: Content,
    read: String,
}

impl Blocks {
    async fn open(manager: &Manager, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = Request::get(path);
        for (name, value) in [HOST].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        let answer = manager.http.answer(request.body(Full::<Bytes>::default()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        Self { body: answer.into_body(), read: String::new() }
    }

    /// The next block, as its lines.
    async fn next(&mut self) -> Vec<String> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let lines = block.lines().map(str::to_owned).collect();
                self.read = rest.to_owned();
                return lines;
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("nothing came");
            let data = frame.expect("it ended").unwrap().into_data().unwrap();
            self.read.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// The id and the data of the next event.
    async fn event(&mut self) -> (String, Value) {
        loop {
            let block = self.next().await;
            let line = |name: &str| block.iter().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            assert_eq!(line("event: "), None, "{block:?}");
            if let Some(data) = line("data: ") {
                return (line("id: ").unwrap(), serde_json::from_str(&data).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn events_are_messages_with_their_cursor_as_id_and_a_browser_goes_on_after_the_last() {
    let manager = Manager::start().await;
    let mut blocks = Blocks::open(&manager, "/v1/events?kinds=EVENT_KIND_CHANGE", &[]).await;
    let first = blocks.next().await;
    assert_eq!(first[0], "retry: 2000");
    assert!(first[1].starts_with(": ") && first[2].starts_with("id: "), "{first:?}");
    for name in ["a", "b", "c"] {
        manager.registry.register(registration(name)).await.unwrap();
    }
    let (id, event) = blocks.event().await;
    assert_eq!((&event["service"], &event["kind"]), (&json!("a"), &json!("EVENT_KIND_CHANGE")));
    assert_eq!(event["change"]["level"], "ISOLATION_LEVEL_BASIC");
    // Where a browser says where it was, what the path says of that is over.
    let headers = [("last-event-id", id.as_str()), ("accept", "text/event-stream")];
    let mut again = Blocks::open(&manager, "/v1/services/b/events?since=60s", &headers).await;
    assert_eq!(again.event().await.1["service"], "b");
    let list = get(&manager, "/v1/events:list?kinds=EVENT_KIND_CHANGE&max_events=2").await.json();
    assert_eq!((&list["events"][1]["service"], &list["hasOlder"]), (&json!("c"), &json!(true)));
    assert_eq!(get(&manager, "/v1/services/a/events:list").await.json()["events"][0]["service"], "a");
}

#[tokio::test]
async fn a_gap_has_a_name() {
    let manager = Manager::start().await;
    let mut blocks = Blocks::open(&manager, "/v1/events?after=0,0123456789abcdef.7", &[]).await;
    let gap = loop {
        let block = blocks.next().await;
        if block[0] == "event: gap" {
            break block;
        }
    };
    assert!(gap[1].starts_with("id: ") && gap[2].contains("0123456789abcdef"), "{gap:?}");
}

#[tokio::test]
async fn what_is_wrong_is_said_before_the_stream_begins() {
    let manager = Manager::start().await;
    let said = ask(&manager, "GET /v1/events", &[("last-event-id", "x")], "").await;
    assert_eq!((said.status, said.header("content-type")), (400, "application/problem+json"));
    assert_eq!(said.json()["violations"][0]["field"], "after");
    assert_eq!(ask(&manager, "GET /v1/events", &[("accept", JSON)], "").await.status, 406);
    assert_eq!(get(&manager, "/v1/events?kinds=NO").await.status, 400);
    let head = ask(&manager, "HEAD /v1/events", &[], "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}
