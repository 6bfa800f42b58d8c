//! Reading keys at one revision, page by page.

use etcd_client::{GetOptions, GetResponse, SortOrder, SortTarget};

use super::{
    failure::Failure,
    keys::{Head, Keys, number},
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
    let key = session.keys.outer("").into_bytes();
    let answer = get(session, key, GetOptions::new()).await.map_err(report)?;
    Head::of(answer.header()).map_err(report)
}

pub(super) async fn list(session: &Session, prefix: &str) -> Result<Listing, StoreError> {
    let range = Range::of(&session.keys, prefix);
    list_by(&session.keys, &[range], |key, options| get(session, key, options)).await
}

pub(super) async fn list_without(session: &Session, prefixes: &[&str]) -> Result<Listing, StoreError> {
    let ranges = Range::of(&session.keys, "").without(&session.keys, prefixes);
    list_by(&session.keys, &ranges, |key, options| get(session, key, options)).await
}

/// Keys of etcd that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    from: Vec<u8>,
    /// The first key that is no part of it.
    end: Vec<u8>,
}

impl Range {
    /// All keys with a prefix.
    pub(super) fn of(keys: &Keys, prefix: &str) -> Self {
        let from = keys.outer(prefix).into_bytes();
        let end = after_prefix(&from);
        Self { from, end }
    }

    /// What is left of it without these prefixes: at least one range, in order, each with room for a key.
    fn without(self, keys: &Keys, prefixes: &[&str]) -> Vec<Self> {
        let mut gaps: Vec<_> = prefixes.iter().map(|prefix| Self::of(keys, prefix)).collect();
        gaps.sort_by(|a, b| a.from.cmp(&b.from));
        let mut left = Vec::new();
        let mut from = self.from;
        for gap in gaps {
            if from < gap.from {
                left.push(Self { from: from.clone(), end: gap.from });
            }
            from = from.max(gap.end);
        }
        left.push(Self { from, end: self.end });
        left
    }
}

/// The same by pages that come from somewhere.
pub(super) async fn list_by<F>(
    keys: &Keys,
    ranges: &[Range],
    page: impl Fn(Vec<u8>, GetOptions) -> F,
) -> Result<Listing, StoreError>
where
    F: Future<Output = Result<GetResponse, Failure>>,
{
    for _ in 0..=MAX_RESTARTS {
        match list_once(keys, ranges, &page).await {
            Err(Failure::Revision(reason)) => tracing::debug!(reason, "a list lost its revision and begins anew"),
            Err(failure) => return Err(report(failure)),
            Ok(listing) => return Ok(listing),
        }
    }
    Err(StoreError::Unavailable { reason: "history is compacted faster than it can be listed".to_owned() })
}

async fn list_once<F>(
    keys: &Keys,
    ranges: &[Range],
    page: impl Fn(Vec<u8>, GetOptions) -> F,
) -> Result<Listing, Failure>
where
    F: Future<Output = Result<GetResponse, Failure>>,
{
    let mut at: Option<StoreRevision> = None;
    let mut limit = PAGE_KEYS;
    let mut entries: Vec<Entry> = Vec::new();
    for Range { from, end } in ranges {
        let mut from = from.clone();
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_sort(SortTarget::Key, SortOrder::Ascend)
                .with_limit(limit)
                .with_revision(at.map_or(0, number));
            let mut page = match page(from.clone(), options).await {
                Err(Failure::AnswerTooLarge(_)) if limit > 1 => {
                    limit /= 2;
                    continue;
                }
                page => page?,
            };
            if at.is_none() {
                at = Some(Head::of(page.header())?.revision);
            }
            let more = page.more();
            for outer in page.take_kvs() {
                from.clone_from(&outer.0.key);
                entries.extend(keys.entry(outer.0));
            }
            if !more {
                break;
            }
            // The first key after the last one.
            from.push(0);
        }
    }
    Ok(Listing { revision: at.unwrap_or(StoreRevision::ZERO), entries })
}

pub(super) async fn get(session: &Session, key: Vec<u8>, options: GetOptions) -> Result<GetResponse, Failure> {
    session
        .call(Kind::Read, |client| {
            let (key, options) = (key.clone(), options.clone());
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
