//! Following a prefix.
//!
//! etcd sends what happened in messages that hold parts of transactions, whole ones or many; a message marked as a
//! fragment is continued by the next. Events are collected up to a message that is not, and cut where the revision
//! changes. The end of a watch has many faces (an error, the end of the stream, a message that says `canceled` while
//! the stream stays open, silence), each of which ends the [`Watch`] with its reason.

use std::{collections::VecDeque, mem, sync::Arc};

use etcd_client::{
    Client, WatchOptions, WatchResponse, WatchStream,
    proto::{PbEvent, PbWatchResponse},
};
use futures_util::stream;

use super::{
    failure::Failure,
    keys::{Head, number, revision},
    list::{self, MAX_ANSWER_BYTES},
    session::{Session, report},
};
use crate::store::{StoreError, StoreRevision, Watch, WatchBatch, WatchError, WatchEvent};

/// After how many questions without any answer a silent watch counts as dead. The connection itself is watched by
/// keep-alives, which are faster; this finds a watch that is stuck on a connection that lives.
const UNANSWERED: u32 = 2;

/// etcd's number for a deletion; 0 is a put.
const DELETE: i32 = 1;

pub(super) async fn watch(session: &Arc<Session>, prefix: &str, after: StoreRevision) -> Result<Watch, StoreError> {
    let start = number(after.next());
    let key = session.keys.outer(prefix);
    let opened = session.connect(|client| {
        let key = key.clone();
        async move {
            let options = WatchOptions::new().with_prefix().with_start_revision(start).with_fragment();
            let mut watches = client.watch_client().max_decoding_message_size(MAX_ANSWER_BYTES);
            let mut stream = watches.watch(key, Some(options)).await?;
            // Nothing is certain before the first message, not even that there is somebody to watch.
            match stream.message().await? {
                Some(first) if first.canceled() && first.compact_revision() == 0 => {
                    Err(Failure::of_cancelled_watch(first.cancel_reason()))
                }
                Some(first) => Ok((client, stream, first)),
                None => Err(Failure::Ambiguous("the watch ended before it began".to_owned())),
            }
        }
    });
    let (client, stream, first) = opened.await.map_err(report)?;
    if !first.canceled() && Head::of(first.header()).map_err(report)?.revision < after {
        // This member may just be behind; the cluster is not.
        let head = list::head(session).await?.revision;
        if head < after {
            return Ok(Watch::new(stream::iter([Err(WatchError::Ahead { head })])));
        }
    }
    let follower = Follower {
        session: Arc::clone(session),
        _client: client,
        stream,
        first: Some(first),
        position: after,
        pending: Vec::new(),
        ready: VecDeque::new(),
    };
    Ok(Watch::new(stream::unfold(follower, |mut follower| async move {
        let item = follower.next().await;
        Some((item, follower))
    })))
}

struct Follower {
    session: Arc<Session>,
    /// Holds the connection, which is this watch's alone.
    _client: Client,
    stream: WatchStream,
    /// The message that told that the watch was made.
    first: Option<WatchResponse>,
    /// The last revision that was collected whole.
    position: StoreRevision,
    /// Events of messages that are fragments so far.
    pending: Vec<PbEvent>,
    ready: VecDeque<WatchBatch>,
}

impl Follower {
    async fn next(&mut self) -> Result<WatchBatch, WatchError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(batch);
            }
            let message = match self.first.take() {
                Some(first) => first,
                None => self.message().await?,
            };
            self.collect(message.0)?;
        }
    }

    /// The next message, for which etcd is asked when it does not come by itself.
    async fn message(&mut self) -> Result<WatchResponse, WatchError> {
        let lost = |reason: String| WatchError::Disconnected { reason };
        let silence = self.session.silence;
        for asked in 0..=UNANSWERED {
            match tokio::time::timeout(silence, self.stream.message()).await {
                Ok(Ok(Some(message))) => return Ok(message),
                Ok(Ok(None)) => return Err(lost("etcd ended the watch".to_owned())),
                Ok(Err(error)) => return Err(ended(Failure::from(error))),
                Err(_) if asked < UNANSWERED => {
                    let question = tokio::time::timeout(silence, self.stream.request_progress());
                    if !matches!(question.await, Ok(Ok(()))) {
                        return Err(lost("etcd does not take requests".to_owned()));
                    }
                }
                Err(_) => {}
            }
        }
        Err(lost(format!("no sign of life from etcd for {:?}", silence * (UNANSWERED + 1))))
    }

    fn collect(&mut self, message: PbWatchResponse) -> Result<(), WatchError> {
        if message.compact_revision > 0 {
            return Err(WatchError::Compacted { oldest: revision(message.compact_revision) });
        }
        if message.canceled {
            return Err(ended(Failure::of_cancelled_watch(&message.cancel_reason)));
        }
        self.pending.extend(message.events);
        if !message.fragment {
            // Some versions of etcd repeat the past after a partition; time only goes forward here.
            let seen = self.position;
            for event in mem::take(&mut self.pending) {
                self.add(event, seen);
            }
        }
        Ok(())
    }

    /// Adds an event after the revision `seen` to the batch of its revision, which is the last one or a new one.
    fn add(&mut self, event: PbEvent, seen: StoreRevision) {
        let Some(kv) = event.kv else { return };
        let mod_revision = revision(kv.mod_revision);
        if mod_revision <= seen {
            return;
        }
        self.position = mod_revision;
        let event = if event.r#type == DELETE {
            self.session.keys.inner(&kv.key).map(|key| WatchEvent::Delete { key, mod_revision })
        } else {
            self.session.keys.entry(kv).map(WatchEvent::Put)
        };
        let Some(event) = event else { return };
        match self.ready.back_mut() {
            Some(batch) if batch.revision == mod_revision => batch.events.push(event),
            _ => self.ready.push_back(WatchBatch { revision: mod_revision, events: vec![event] }),
        }
    }
}

/// Why a watch that had begun has ended.
fn ended(failure: Failure) -> WatchError {
    match failure {
        Failure::Refused(StoreError::Denied { reason }) => WatchError::Denied { reason },
        failure => WatchError::Disconnected { reason: report(failure).to_string() },
    }
}
