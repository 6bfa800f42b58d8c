//! Many transactions as one: what waits at the same time, and has nothing to do with each other, shares a round trip.
//!
//! A transaction of etcd costs a proposal to its members, a sync of their disks, a call and a message on each watch,
//! whether it puts one key or sixty. So while some are under way, those that come meanwhile wait, and then go together. Who
//! comes alone waits for nobody.
//!
//! That is allowed because they are independent: none puts or deletes a key that another one touches, be it only in a
//! condition. Whatever order they are thought to have, each finds the same. They then have one revision in common. Where
//! a condition does not hold, the conflict says of which, at the very revision at which all were judged: those are
//! answered, and the others go again, without them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt::{self, Debug},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::{CommitError, Committed, Conflict, MAX_OPS, MAX_TXN_BYTES, Op, Precondition, StoreError, Txn};
use crate::supervise::caught;

/// How many may be under way at once. With one, a second writer would wait for the first one's round trip and then for
/// its own; with many, nobody would ever wait for company.
const UNDER_WAY: usize = 4;

/// How one transaction is committed.
type Commit = dyn Fn(Txn) -> BoxFuture<'static, Result<Committed, CommitError>> + Send + Sync;

/// Transactions that wait for company. Cheap to clone.
#[derive(Clone)]
pub(super) struct Group {
    commit: Arc<Commit>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    under_way: usize,
}

#[derive(Debug)]
struct Waiting {
    txn: Txn,
    reply: oneshot::Sender<Result<Committed, CommitError>>,
}

impl Group {
    /// Transactions that `commit` commits, one by one or together.
    pub(super) fn new(
        commit: impl Fn(Txn) -> BoxFuture<'static, Result<Committed, CommitError>> + Send + Sync + 'static,
    ) -> Self {
        Self { commit: Arc::new(commit), state: Arc::default() }
    }

    /// Commits a transaction that was checked, with others or alone. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// As the transaction alone would fail; where the outcome of all is not known, that of each is not.
    pub(super) async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        let (reply, answer) = oneshot::channel();
        let is_one_more = {
            let mut state = self.lock();
            state.waiting.push_back(Waiting { txn, reply });
            let is_one_more = state.under_way < UNDER_WAY;
            state.under_way += usize::from(is_one_more);
            is_one_more
        };
        if is_one_more {
            tokio::spawn(self.clone().run());
        }
        let lost = || StoreError::Unknown { reason: "the commit ended before there was an answer".to_owned() };
        answer.await.unwrap_or_else(|_| Err(lost().into()))
    }

    /// Commits what waits until nothing does.
    async fn run(self) {
        loop {
            let together = {
                let mut state = self.lock();
                let together = state.take();
                if together.is_empty() {
                    state.under_way -= 1;
                    return;
                }
                together
            };
            // Those of a commit that panics are told that its outcome is not known; who waits goes on.
            if let Err(panic) = caught(|| self.commit_all(together)).await {
                tracing::error!(panic, "a defect of this program: a commit has ended early");
            }
        }
    }

    /// Commits independent transactions, and answers each.
    async fn commit_all(&self, mut together: Vec<Waiting>) {
        while !together.is_empty() {
            let is_one = together.len() == 1;
            let outcome = (self.commit)(merge(&together)).await;
            match outcome {
                Err(CommitError::Conflict(conflict)) if !is_one => {
                    let before = together.len();
                    together = answer_failed(mem::take(&mut together), &conflict);
                    if together.len() == before {
                        // Not to be had of a store that keeps its word; alone, each hears what it has to say.
                        return self.commit_each(together).await;
                    }
                }
                // One of them is to blame, and nothing says which. A full store still takes what puts nothing.
                Err(CommitError::Store(
                    StoreError::LeaseNotFound { .. }
                    | StoreError::TooLarge { .. }
                    | StoreError::Full { .. }
                    | StoreError::Invalid(_),
                )) if !is_one => return self.commit_each(together).await,
                outcome => return together.into_iter().for_each(|waiting| waiting.answer(outcome.clone())),
            }
        }
    }

    async fn commit_each(&self, together: Vec<Waiting>) {
        let each = together.into_iter().map(|waiting| async {
            let outcome = (self.commit)(waiting.txn.clone()).await;
            waiting.answer(outcome);
        });
        futures_util::future::join_all(each).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing between two steps of a change can panic: a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The first that waits and all that can go with it, in the order in which they came; what nobody waits for any more
    /// goes nowhere.
    fn take(&mut self) -> Vec<Waiting> {
        let (mut together, mut left) = (Vec::new(), VecDeque::new());
        let mut load = Load::default();
        while let Some(waiting) = self.waiting.pop_front() {
            if waiting.reply.is_closed() {
                continue;
            }
            if load.admits(&waiting.txn) {
                load.add(&waiting.txn);
                together.push(waiting);
            } else {
                left.push_back(waiting);
            }
        }
        self.waiting = left;
        together
    }
}

impl Waiting {
    fn answer(self, outcome: Result<Committed, CommitError>) {
        // Nobody may be waiting any more, which changes nothing.
        drop(self.reply.send(outcome));
    }
}

/// What transactions that go together touch.
#[derive(Debug, Default)]
struct Load {
    written: HashSet<String>,
    required: HashMap<String, Precondition>,
    bytes: usize,
}

impl Load {
    /// Whether a transaction may go with them. The first one always may.
    fn admits(&self, txn: &Txn) -> bool {
        if self.written.is_empty() && self.required.is_empty() {
            return true;
        }
        let more = |precondition: &&Precondition| !self.required.contains_key(precondition.key());
        self.written.len() + txn.ops.len() <= MAX_OPS
            && self.required.len() + txn.preconditions.iter().filter(more).count() <= MAX_OPS
            && self.bytes + bytes(txn) <= MAX_TXN_BYTES
            && txn.ops.iter().all(|op| !self.written.contains(op.key()) && !self.required.contains_key(op.key()))
            && txn.preconditions.iter().all(|precondition| {
                let key = precondition.key();
                !self.written.contains(key) && self.required.get(key).is_none_or(|same| same == precondition)
            })
    }

    fn add(&mut self, txn: &Txn) {
        self.bytes += bytes(txn);
        self.written.extend(txn.ops.iter().map(|op| op.key().to_owned()));
        let required = txn.preconditions.iter().map(|required| (required.key().to_owned(), required.clone()));
        self.required.extend(required);
    }
}

/// Of all keys and values.
fn bytes(txn: &Txn) -> usize {
    let of_op = |op: &Op| match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete { key } => key.len(),
    };
    let required: usize = txn.preconditions.iter().map(|precondition| precondition.key().len()).sum();
    required + txn.ops.iter().map(of_op).sum::<usize>()
}

/// All as one; what several require is required once.
fn merge(together: &[Waiting]) -> Txn {
    let mut merged = Txn::new();
    let mut required = HashSet::new();
    for Waiting { txn, .. } in together {
        let new = txn.preconditions.iter().filter(|precondition| required.insert(precondition.key()));
        merged.preconditions.extend(new.cloned());
        merged.ops.extend(txn.ops.iter().cloned());
    }
    merged
}

/// Answers those of which a precondition does not hold, and returns the others.
fn answer_failed(together: Vec<Waiting>, conflict: &Conflict) -> Vec<Waiting> {
    let mut left = Vec::new();
    for waiting in together {
        let required = &waiting.txn.preconditions;
        let own = required.iter().filter_map(|own| conflict.failed.iter().find(|failed| failed.precondition == *own));
        let failed: Vec<_> = own.cloned().collect();
        if failed.is_empty() {
            left.push(waiting);
        } else {
            waiting.answer(Err(Conflict { revision: conflict.revision, failed }.into()));
        }
    }
    left
}

impl Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("state", &self.state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
