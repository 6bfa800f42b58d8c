//! The members as one: which is asked first, and what happens when it does not answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::Client;
use futures_util::future;

use super::{EtcdOptions, failure::Failure, keys::Keys, member::Member};
use crate::store::StoreError;

/// See [`Session::silence`].
const SILENCE: Duration = Duration::from_secs(5);

/// Whether doing something twice is the same as doing it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) members: Vec<Member>,
    /// The index of the member to ask first: the last one that answered.
    preferred: AtomicUsize,
    pub(super) call_timeout: Duration,
    /// How long a watch may be silent before etcd is asked how far it is.
    pub(super) silence: Duration,
    pub(super) keys: Keys,
}

impl Session {
    pub(super) fn new(options: EtcdOptions) -> Result<Self, StoreError> {
        options.check()?;
        let members = options.endpoints.iter().map(|endpoint| Member::new(endpoint, &options));
        Ok(Self {
            members: members.collect::<Result<_, _>>()?,
            preferred: AtomicUsize::new(0),
            call_timeout: options.call_timeout,
            silence: SILENCE,
            keys: Keys::new(options.prefix),
        })
    }

    /// Makes a call on the members in turn until one answers, or until a write may have been sent.
    ///
    /// # Errors
    /// An answer: `Revision`, `AnswerTooLarge`, `NoLease`, or `Refused` for all else, with the error to report.
    pub(super) async fn call<T, F>(&self, kind: Kind, work: impl Fn(Arc<Client>) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.on_members(kind, |member| member.call(&work)).await
    }

    /// The same with a new connection, which `work` may keep.
    pub(super) async fn connect<T, F>(&self, work: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let work = &work;
        self.on_members(Kind::Read, |member| async move { work(member.connect().await?).await }).await
    }

    /// Makes a call on every member at once. Returns what each one answered, by its name.
    pub(super) async fn on_each<T, F>(&self, work: impl Fn(Arc<Client>) -> F) -> Vec<(&str, Result<T, Failure>)>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let work = &work;
        let attempts = self.members.iter().map(|member| async move {
            let answer = match tokio::time::timeout(self.call_timeout, member.call(work)).await {
                Ok(answer) => answer,
                Err(_) => Err(self.unanswered()),
            };
            (&member.name[..], answer)
        });
        future::join_all(attempts).await
    }

    fn unanswered(&self) -> Failure {
        Failure::Ambiguous(format!("no answer within {:?}", self.call_timeout))
    }

    async fn on_members<'a, T, F>(&'a self, kind: Kind, attempt: impl Fn(&'a Member) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        let mut distrusted = 0;
        for turn in 0..self.members.len() {
            let index = (first + turn) % self.members.len();
            let Some(member) = self.members.get(index) else { break };
            let answer = match tokio::time::timeout(self.call_timeout, attempt(member)).await {
                Ok(answer) => answer,
                Err(_) => Err(self.unanswered()),
            };
            match answer {
                Err(Failure::NotSent(reason)) => reasons.push(format!("{}: {reason}", member.name)),
                Err(Failure::NotTrusted(reason)) => {
                    distrusted += 1;
                    reasons.push(format!("{}: {reason}", member.name));
                }
                Err(Failure::Ambiguous(reason)) => {
                    reasons.push(format!("{}: {reason}", member.name));
                    if kind == Kind::Write {
                        // The next call had better begin elsewhere.
                        self.preferred.store((index + 1) % self.members.len(), Ordering::Relaxed);
                        return Err(Failure::Refused(StoreError::Unknown { reason: reasons.join("; ") }));
                    }
                }
                Err(Failure::StaleToken(reason)) => return Err(Failure::Refused(StoreError::Denied { reason })),
                answer => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        let reason = reasons.join("; ");
        // What no member trusts, nobody mends by waiting.
        let is_hopeless = distrusted == self.members.len();
        Err(Failure::Refused(if is_hopeless {
            StoreError::Denied { reason }
        } else {
            StoreError::Unavailable { reason }
        }))
    }
}

/// The error to report for a failure that the caller of [`Session::call`] has no better use for.
pub(super) fn report(failure: Failure) -> StoreError {
    match failure {
        Failure::Refused(error) => error,
        Failure::NotTrusted(reason) => StoreError::Denied { reason },
        Failure::NotSent(reason)
        | Failure::Ambiguous(reason)
        | Failure::StaleToken(reason)
        | Failure::Revision(reason)
        | Failure::AnswerTooLarge(reason) => StoreError::Unavailable { reason },
        Failure::NoLease => StoreError::Unavailable { reason: "a lease was not found".to_owned() },
    }
}
