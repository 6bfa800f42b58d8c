//! The one thread that writes.

use std::{
    mem,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Refused,
    disk::{Disk, WriteFailure},
};
use crate::store::{
    CommitError, Committed, LeaseId, StoreError, Txn,
    draft::Draft,
    state::{Shared, State},
};

/// How many commands may wait for the writer before their callers have to.
pub(super) const QUEUE: usize = 1024;

/// The most commands in one commit to disk, so that the first of them does not wait for ever.
const MAX_GROUP: usize = 256;

/// A wish to write, with where to send the answer.
#[derive(Debug)]
pub(super) enum Command {
    Commit {
        txn: Txn,
        reply: oneshot::Sender<Result<Committed, CommitError>>,
    },
    Grant {
        ttl: Duration,
        reply: oneshot::Sender<Result<LeaseId, StoreError>>,
    },
    Revoke {
        lease: LeaseId,
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    /// A lease has run out.
    Wake,
}

/// A verdict that is sent when it is known whether the group it is part of is on disk.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

pub(super) struct Writer {
    disk: Disk,
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Command>,
    refused: Refused,
}

impl Writer {
    pub(super) fn new(disk: Disk, shared: Arc<Shared>, queue: mpsc::Receiver<Command>, refused: Refused) -> Self {
        Self { disk, shared, queue, refused }
    }

    /// Writes until the store is dropped and the queue is empty.
    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut group = vec![first];
            while group.len() < MAX_GROUP
                && let Ok(command) = self.queue.try_recv()
            {
                group.push(command);
            }
            self.write(group);
        }
    }

    /// Judges the commands in order, makes the result durable, then visible, then known to those who asked.
    fn write(&mut self, group: Vec<Command>) {
        let opened = if self.disk.is_closed() { self.reopen() } else { Ok(false) };
        let (draft, answers) = self.judge(group);
        let is_read_only = draft.is_empty();
        let written = opened.and_then(|_| if is_read_only { Ok(()) } else { self.commit(draft) });
        if !is_read_only || written.is_err() {
            // What was found in the file afterwards stands, although nobody could be told so.
            let is_found = matches!(written, Err(StoreError::Unknown { .. })) && !self.disk.is_closed();
            let refused = written.clone().err().filter(|_| !is_found);
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
        }
        match &written {
            Ok(()) => self.shared.leases_changed.notify_one(),
            Err(error) => {
                tracing::error!(path = %self.disk.path().display(), %error, "the store could not be written");
                // Their ends are due again, but not at once: the timer waits a little when it hears nothing.
                self.shared.lock().leases.none_ending();
            }
        }
        for answer in answers {
            answer(written.clone());
        }
    }

    /// Makes the draft durable and then visible.
    fn commit(&mut self, draft: Draft) -> Result<(), StoreError> {
        let forgotten = self.shared.lock().feed.forgotten();
        match self.disk.write(&draft, forgotten) {
            Ok(()) => {
                self.shared.lock().apply(draft, Instant::now());
                Ok(())
            }
            Err(WriteFailure { error, doubtful }) => match self.reopen() {
                Ok(false) => Err(error),
                Err(_) if !doubtful => Err(error),
                Ok(true) | Err(_) => Err(StoreError::Unknown { reason: error.to_string() }),
            },
        }
    }

    /// Opens the file again and makes visible what it holds beyond what is visible. Returns whether there was any.
    fn reopen(&mut self) -> Result<bool, StoreError> {
        let head = self.shared.lock().feed.head();
        let batches = self.disk.reopen(head)?;
        let found = !batches.is_empty();
        self.shared.lock().apply(Draft::found(batches), Instant::now());
        Ok(found)
    }

    /// The draft of the whole group, and what to tell each of its members if it gets written. Not even a refusal may
    /// be told before: it can rest on a transaction of the same group.
    fn judge(&self, group: Vec<Command>) -> (Draft, Vec<Answer>) {
        let mut state = self.shared.lock();
        let mut draft = Draft::new(&state);
        let mut answers = Vec::with_capacity(group.len());
        end_expired_leases(&mut draft, &state);
        for command in group {
            match command {
                Command::Commit { txn, reply } => answers.push(answer(draft.commit(&state, &txn), reply)),
                Command::Grant { ttl, reply } => answers.push(answer(Ok(draft.grant(ttl)), reply)),
                Command::Revoke { lease, reply } => answers.push(answer(draft.end_lease(&state, lease), reply)),
                Command::Wake => {}
            }
        }
        // From here until the draft is on disk, none of these leases can be kept alive.
        draft.ended.iter().for_each(|lease| state.leases.set_ending(*lease));
        (draft, answers)
    }
}

fn end_expired_leases(draft: &mut Draft, state: &State) {
    for lease in state.leases.expired(Instant::now()) {
        if let Err(error) = draft.end_lease(state, lease) {
            tracing::error!(%lease, %error, "an expired lease could not be ended");
        }
    }
}

fn answer<T, E>(verdict: Result<T, E>, reply: oneshot::Sender<Result<T, E>>) -> Answer
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    Box::new(move |written| {
        // Nobody may be waiting any more, which changes nothing.
        mem::drop(reply.send(written.map_err(E::from).and(verdict)));
    })
}
