//! Every metric there is: its name, kind, labels and meaning. `docs/metrics.md` has the same table, and a test holds the
//! two to each other.

/// What kind of a metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows while the manager runs. Its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of times, by upper bound.
    Histogram,
}

/// A metric with all its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// Without `_total`. One that ends in `_seconds` has that unit.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The labels that each sample has, in this order; `le` of histograms left out.
    pub(super) labels: &'static [&'static str],
    /// What it means.
    pub(super) help: &'static str,
}

/// Defines the families once, in the order in which they are shown.
macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal)*] $help:literal;)+) => {
        $(pub(super) const $constant: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)+

        /// All of them.
        #[cfg(test)]
        pub(super) const ALL: &[Family] = &[$($constant),+];
    };
}

families! {
    CALLS = Counter "cofferdam_calls" ["namespace" "service" "outcome"]
        "Protected calls that have ended, by what their callers got: ok, fallback, error, cancelled.";
    FALLBACKS = Counter "cofferdam_fallbacks" ["namespace" "service" "source"]
        "Calls that a fallback answered, by its kind: cached, static, alternative, degraded.";
    REJECTIONS = Counter "cofferdam_rejections" ["namespace" "service" "reason"]
        "Attempts and calls that were turned away: open, bulkhead, rate_limit, adaptive_limit, deadline, disabled.";
    ATTEMPTS = Counter "cofferdam_attempts" ["namespace" "service" "outcome"]
        "Attempts that were made and have ended: success, failure, neutral.";
    ATTEMPT_TIMEOUTS = Counter "cofferdam_attempt_timeouts" ["namespace" "service"]
        "Attempts that ran out of time.";
    RETRIES = Counter "cofferdam_retries" ["namespace" "service"]
        "Attempts after the first of their call, hedges left out.";
    RETRIES_REFUSED = Counter "cofferdam_retries_refused" ["namespace" "service"]
        "Retries that the budget refused.";
    HEDGES = Counter "cofferdam_hedges" ["namespace" "service"]
        "Attempts that hedging started beside the first of their call.";
    HEDGE_WINS = Counter "cofferdam_hedge_wins" ["namespace" "service"]
        "Hedges that brought the answer of their call.";
    HEDGES_REFUSED = Counter "cofferdam_hedges_refused" ["namespace" "service"]
        "Hedges that were due and did not start.";
    STALE_RESULTS = Counter "cofferdam_stale_results" ["namespace" "service"]
        "Results that came after their breaker had moved on, and changed nothing.";
    CALL_DURATION = Histogram "cofferdam_call_duration_seconds" ["namespace" "service"]
        "What callers waited, from the beginning of a call to its answer or error.";
    ATTEMPT_DURATION = Histogram "cofferdam_attempt_duration_seconds" ["namespace" "service"]
        "What the service took, from the moment an attempt could begin to its end.";
    BREAKER_STATE = Gauge "cofferdam_breaker_state" ["namespace" "service" "state"]
        "1 for the least good state of a breaker at an instance of this manager or at itself, 0 for the others; all 0 where \
         none is.";
    BREAKER_OPEN = Gauge "cofferdam_breaker_open" ["namespace" "service"]
        "1 where a breaker is open at some instance of this manager or at itself, else 0.";
    BREAKER_INSTANCES = Gauge "cofferdam_breaker_instances" ["namespace" "service" "state"]
        "Instances by the least good state of their breakers.";
    BREAKER_OPENINGS = Counter "cofferdam_breaker_openings" ["namespace" "service"]
        "Times that a breaker opened, as processes counted it.";
    BREAKER_TRANSITIONS = Counter "cofferdam_breaker_transitions" ["namespace" "service" "from" "to"]
        "Transitions of breakers that instances have told of.";
    BREAKER_RECOVERY = Histogram "cofferdam_breaker_recovery_seconds" ["namespace" "service"]
        "How long breakers took from open to closed, at the same instance.";
    BREAKER_HELD = Gauge "cofferdam_breaker_held_instances" ["namespace" "service"]
        "Instances with a breaker over which the hold of an operator stands.";
    HOLDS = Gauge "cofferdam_holds" ["namespace" "service"]
        "Holds of operators that are in force, from the store.";
    HOLDS_TOO_LONG = Gauge "cofferdam_holds_too_long" ["namespace" "service"]
        "Those that have been in force for more than an hour, from the store.";
    HEALTH_STATUS = Gauge "cofferdam_health_status" ["namespace" "service" "status"]
        "1 for the health in force over all managers, 0 for the others; unknown where nobody has said or seen it.";
    SERVICE_ENABLED = Gauge "cofferdam_service_enabled" ["namespace" "service"]
        "1 where the service may be called, 0 where it is disabled, from the store.";
    ISOLATION_LEVEL = Gauge "cofferdam_isolation_level" ["namespace" "service" "level"]
        "1 for the level in force, a temporary one included, 0 for the others, from the store.";
    POLICY_REVISION = Gauge "cofferdam_policy_revision" ["namespace" "service"]
        "The revision of the present policy within its epoch, from the store.";
    POLICY_CONTAINED = Gauge "cofferdam_policy_contained" ["namespace" "service"]
        "1 where the present policy is contained: instances put it back, and it is handed out no more.";
    POLICY_INSTANCES = Gauge "cofferdam_policy_instances" ["namespace" "service" "state"]
        "Instances by what they have of the present policy: applied, pending, refused, put_back, silent.";
    POLICY_LAG = Gauge "cofferdam_policy_lag_seconds" ["namespace" "service"]
        "For how long the connected instance that has waited longest could have had the present policy. 0: none waits.";
    FLEET_HINT = Gauge "cofferdam_fleet_hint" ["namespace" "service"]
        "1 while instances are told that breakers have opened at many others.";
    ADAPTIVE_LIMIT = Gauge "cofferdam_adaptive_limit" ["namespace" "service"]
        "The adaptive limit of calls at once, summed over the instances that have one.";
    ADAPTIVE_IN_FLIGHT = Gauge "cofferdam_adaptive_in_flight" ["namespace" "service"]
        "Calls in flight under the adaptive limit, summed over the instances that have one.";
    SERVICES = Gauge "cofferdam_services" []
        "Registered services, from the store.";
    SERVICES_SUMMED = Gauge "cofferdam_services_summed" []
        "Those of them that have no rows of their own and are added up in rows of (other).";
    SERVICES_UNREGISTERED = Gauge "cofferdam_services_unregistered" []
        "Services that instances name and nobody has registered.";
    INSTANCES = Gauge "cofferdam_instances" ["state"]
        "Instances of this manager: connected, and silent, whose stream broke off and that are expected back.";
    POLICY_APPLY = Histogram "cofferdam_policy_apply_seconds" []
        "From when there was a policy for a connected instance to its word that it is in force.";
    STREAMS = Gauge "cofferdam_sync_streams" []
        "Sync streams that are being served.";
    PUSHES = Counter "cofferdam_policy_pushes" []
        "Changes of policies that were handed to streams.";
    PUSHES_COALESCED = Counter "cofferdam_policy_pushes_coalesced" []
        "Those of them that took the place of one which its stream had not taken yet.";
    STREAMS_CUT = Counter "cofferdam_sync_streams_cut" ["reason"]
        "Streams that were ended for not keeping up: overrun, where too much waited, stalled, where nothing was taken.";
    LOSSES = Counter "cofferdam_losses" ["kind"]
        "What instances reported, or would have, and is in no figure; the kinds are those of statistics.";
    STORE_UP = Gauge "cofferdam_store_up" []
        "1 while the store can be followed, 0 while answers come from memory.";
    STORE_WRITABLE = Gauge "cofferdam_store_writable" []
        "1 while the store is there and takes writes, as far as is known.";
    STORE_STALE = Gauge "cofferdam_store_stale_seconds" []
        "How long the store has been away. 0: it is there.";
    STORE_POISONED = Gauge "cofferdam_store_poisoned_values" []
        "Stored values that cannot be read.";
    BULK_WAITING = Gauge "cofferdam_bulk_change_waiting_services" []
        "Services that a rollback of many, which is under way, has still to put back. 0: none is under way.";
    STORE_REVISION = Gauge "cofferdam_store_revision" []
        "The revision of the store up to which this manager knows all.";
    STORE_EPOCH = Gauge "cofferdam_store_epoch" []
        "The epoch that revisions belong to.";
    STORE_EPOCH_CHANGES = Counter "cofferdam_store_epoch_changes" []
        "How often another epoch began: the store was restored, or swapped for another one.";
    STORE_DOUBTS = Counter "cofferdam_store_doubts" []
        "How often an instance had a revision that the memory of this manager could not explain.";
    MANAGERS = Gauge "cofferdam_managers" ["state"]
        "Other managers over the same store: present, and missing, whose lease is over.";
    CONNECTIONS = Gauge "cofferdam_connections" []
        "Connections to this manager.";
    CONNECTIONS_REFUSED = Counter "cofferdam_connections_refused" ["limit"]
        "Connections that were closed as they came, by the limit that was reached.";
    REQUESTS = Counter "cofferdam_requests" ["rpc" "code"]
        "Requests by gRPC method and code, those by HTTP included. A stream counts when it begins.";
    LOG_LINES_LOST = Counter "cofferdam_log_lines_lost" []
        "Log lines that were dropped because standard error did not take them.";
    BUILD_INFO = Gauge "cofferdam_build_info" ["version"]
        "1, with the release of this manager.";
    START_TIME = Gauge "process_start_time_seconds" []
        "When this manager started, in seconds since 1970.";
}
