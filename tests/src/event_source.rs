//! A client of server-sent events as HTML specifies `EventSource`: it remembers the id of the last event, and comes back with
//! it. Only when it comes back the test says.

use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

/// The client.
#[derive(Debug)]
pub struct EventSource {
    client: Client<HttpConnector, Empty<Bytes>>,
    url: Uri,
    body: Option<Incoming>,
    unread: String,
    /// The id that is sent when it comes back.
    pub last_event_id: String,
    /// How often it was connected.
    pub connections: u32,
}

/// An event that was dispatched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// Its type. Empty: it is a message.
    pub name: String,
    /// Its data.
    pub data: String,
}

impl EventSource {
    /// A client of a URL, not connected yet.
    ///
    /// # Panics
    ///
    /// If it is no URL.
    pub fn new(url: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url: url.parse().expect("a URL"),
            body: None,
            unread: String::new(),
            last_event_id: String::new(),
            connections: 0,
        }
    }

    /// The connection breaks, and what came by it and was not dispatched is lost.
    pub fn break_off(&mut self) {
        self.body = None;
        self.unread.clear();
    }

    /// The next event; connects where there is no connection.
    ///
    /// # Panics
    ///
    /// If the connection fails, or the answer is no stream of events.
    pub async fn next(&mut self) -> Dispatched {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                let dispatched = self.dispatch(&block);
                if !dispatched.data.is_empty() {
                    return dispatched;
                }
            }
            if self.body.is_none() {
                self.body = Some(self.connect().await);
            }
            let body = self.body.as_mut().expect("it is connected");
            let frame = body.frame().await.expect("the stream goes on").expect("the connection holds");
            if let Ok(data) = frame.into_data() {
                self.unread.push_str(std::str::from_utf8(&data).expect("UTF-8"));
            }
        }
    }

    async fn connect(&mut self) -> Incoming {
        let mut request = Request::get(self.url.clone()).header("accept", "text/event-stream");
        if !self.last_event_id.is_empty() {
            request = request.header("last-event-id", &self.last_event_id);
        }
        let request = request.body(Empty::new()).expect("a request");
        let answer = self.client.request(request).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        self.connections += 1;
        answer.into_body()
    }

    fn dispatch(&mut self, block: &str) -> Dispatched {
        let mut dispatched = Dispatched::default();
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => value.clone_into(&mut self.last_event_id),
                "event" => value.clone_into(&mut dispatched.name),
                "data" if dispatched.data.is_empty() => value.clone_into(&mut dispatched.data),
                "data" => dispatched.data.extend(["\n", value]),
                _ => {}
            }
        }
        dispatched
    }
}
