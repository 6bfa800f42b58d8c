//! Reading a prefix at one revision, page by page.

use etcd_client::{GetOptions, GetResponse, SortOrder, SortTarget};

use super::{
    failure::Failure,
    keys::{Head, number},
    session::{Kind, Session, report},
};
use crate::store::{Entry, Listing, StoreError, StoreRevision};

/// How many keys a page has at most.
const PAGE_KEYS: i64 = 500;

/// The largest answer we accept, in bytes. A page that is larger is asked for again in halves.
pub(super) const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// How often a list begins anew because etcd forgot its revision between two pages.
const MAX_RESTARTS: usize = 5;

/// The cluster and its revision, which is at least that of any write acknowledged before.
pub(super) async fn head(session: &Session) -> Result<Head, StoreError> {
    // A key that never exists: only the header counts, and any key that we may read has it.
    let answer = get(session, session.keys.outer(""), GetOptions::new()).await.map_err(report)?;
    Head::of(answer.header()).map_err(report)
}

pub(super) async fn list(session: &Session, prefix: &str) -> Result<Listing, StoreError> {
    for _ in 0..=MAX_RESTARTS {
        match list_once(session, prefix).await {
            Err(Failure::Revision(reason)) => tracing::debug!(reason, "a list lost its revision and begins anew"),
            Err(failure) => return Err(report(failure)),
            Ok(listing) => return Ok(listing),
        }
    }
    Err(StoreError::Unavailable { reason: "history is compacted faster than it can be listed".to_owned() })
}

async fn list_once(session: &Session, prefix: &str) -> Result<Listing, Failure> {
    let mut from = session.keys.outer(prefix).into_bytes();
    let end = after_prefix(&from);
    let mut at: Option<StoreRevision> = None;
    let mut limit = PAGE_KEYS;
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let options = GetOptions::new()
            .with_range(end.clone())
            .with_sort(SortTarget::Key, SortOrder::Ascend)
            .with_limit(limit)
            .with_revision(at.map_or(0, number));
        let mut page = match get(session, &from, options).await {
            Err(Failure::AnswerTooLarge(_)) if limit > 1 => {
                limit /= 2;
                continue;
            }
            page => page?,
        };
        let revision = match at {
            Some(revision) => revision,
            None => Head::of(page.header())?.revision,
        };
        at = Some(revision);
        let more = page.more();
        for outer in page.take_kvs() {
            from.clone_from(&outer.0.key);
            entries.extend(session.keys.entry(outer.0));
        }
        if !more {
            return Ok(Listing { revision, entries });
        }
        // The first key after the last one.
        from.push(0);
    }
}

async fn get(session: &Session, key: impl AsRef<[u8]>, options: GetOptions) -> Result<GetResponse, Failure> {
    let key = key.as_ref();
    session
        .call(Kind::Read, |client| {
            let (key, options) = (key.to_vec(), options.clone());
            async move {
                let mut kv = client.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES);
                Ok(kv.get(key, Some(options)).await?)
            }
        })
        .await
}

/// The first key that does not begin with the prefix, which is ASCII and not empty.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
