//! What is asked about a service, and what of it was answered.

use super::super::super::Error;
use super::super::super::session::Session;
use super::super::ServiceArgs;
use crate::client::CallError;
use cofferdam_proto::v1;

/// What was answered, as far as it was.
pub(super) struct Answers {
    pub(super) info: Option<v1::GetServiceIsolationInfoResponse>,
    pub(super) convergence: Option<v1::GetConvergenceResponse>,
    pub(super) stats: Option<v1::GetIsolationStatsResponse>,
    pub(super) explained: Option<v1::ExplainResponse>,
    /// What was not, and why.
    pub(super) missing: Vec<(&'static str, CallError)>,
}

/// Asks for all of it at once: a manager waits for another one that does not answer, each time that it is asked.
pub(super) async fn ask(args: &ServiceArgs, session: &Session<'_>) -> Result<Answers, Error> {
    let (namespace, service) = session.place(&args.service);
    let info = v1::GetServiceIsolationInfoRequest { namespace: namespace.clone(), service: service.clone() };
    let convergence =
        v1::GetConvergenceRequest { namespace: namespace.clone(), service: service.clone(), ..Default::default() };
    let explain = v1::ExplainRequest { namespace: namespace.clone(), service: service.clone(), ..Default::default() };
    let stats =
        v1::GetIsolationStatsRequest { namespace, service, window: args.window.to_wire(), ..Default::default() };
    let (info, convergence, stats, explained) = tokio::join!(
        Box::pin(session.client.call(info)),
        Box::pin(session.client.call(convergence)),
        Box::pin(session.client.stats(stats)),
        Box::pin(session.client.call(explain)),
    );
    let mut missing = Vec::new();
    let info = match info {
        Err(refused @ CallError::Refused(_)) => return Err(refused.into()),
        info => answered("what is registered", info, &mut missing),
    };
    let answers = Answers {
        info,
        convergence: answered("how far its policy has come", convergence, &mut missing),
        stats: answered("its figures", stats, &mut missing),
        explained: answered("the policy in force", explained, &mut missing),
        missing,
    };
    match answers {
        Answers { info: None, convergence: None, stats: None, explained: None, missing } => {
            let first = missing.into_iter().next();
            Err(first.map_or_else(|| Error::failed("nothing was answered", "the same again"), |(_, why)| why.into()))
        }
        answers => Ok(answers),
    }
}

fn answered<T>(
    what: &'static str,
    answer: Result<T, CallError>,
    missing: &mut Vec<(&'static str, CallError)>,
) -> Option<T> {
    answer.map_err(|error| missing.push((what, error))).ok()
}

/// What is not shown, and why. `None`: all is.
pub(super) fn missing(name: &str, missing: &[(&'static str, CallError)]) -> Option<Error> {
    let (_, why) = missing.first()?;
    let what: Vec<_> = missing.iter().map(|(what, _)| *what).collect();
    let why = why.to_string();
    let (why, mend) = why.split_once("\ntry: ").unwrap_or((&why, "the same again"));
    Some(Error::failed(format!("{name} is shown without {}: {why}", what.join(", ")), mend))
}

impl Answers {
    /// For how long the store has been away, and the managers that did not answer the one that was asked.
    pub(super) fn lacks(&self) -> (Option<prost_types::Duration>, Vec<v1::UnreachableManager>) {
        let Self { info, convergence, stats, explained, missing: _ } = self;
        let convergence = convergence.as_ref().and_then(|answer| answer.convergence.as_ref());
        let all = [
            info.as_ref().map(|answer| (answer.stale_for, &answer.unreachable_managers)),
            convergence.map(|answer| (answer.stale_for, &answer.unreachable_managers)),
            stats.as_ref().map(|answer| (None, &answer.unreachable_managers)),
            explained.as_ref().map(|answer| (answer.stale_for, &answer.unreachable_managers)),
        ];
        let mut unreachable: Vec<v1::UnreachableManager> = Vec::new();
        for manager in all.iter().flatten().flat_map(|(_, managers)| managers.iter()) {
            if unreachable.iter().all(|known| known.id != manager.id) {
                unreachable.push(manager.clone());
            }
        }
        (all.iter().flatten().find_map(|(stale_for, _)| *stale_for), unreachable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Patience;
    use std::time::Duration;

    fn late(rpc: &'static str) -> CallError {
        let within = Patience::Each(Duration::from_secs(3));
        CallError::NoAnswer { server: "http://m:1".to_owned(), rpc, within }
    }

    #[test]
    fn what_is_not_shown_is_said_with_why() {
        assert!(missing("payments", &[]).is_none());
        let late = [("its figures", late("GetIsolationStats")), ("the policy in force", late("Explain"))];
        let error = missing("payments", &late).unwrap();
        assert_eq!(error.exit_code(), 1);
        let said = error.to_string();
        let what = "payments is shown without its figures, the policy in force: http://m:1 did not answer \
                    GetIsolationStats within 3s\ntry: more time with --timeout";
        assert!(said.starts_with(what), "{said}");
    }
}
