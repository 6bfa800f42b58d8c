/// What instances reported, or would have, and nobody can see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Reports that never came; not known of one service.
    pub reports_missed: u64,
    /// Breaker transitions that found no room in a report.
    pub transitions_dropped: u64,
    /// Latency histograms that broke the contract's rules.
    pub histograms_refused: u64,
    /// Slots of the history that were forgotten before their time.
    pub history_slots_dropped: u64,
    /// Reports that were not added to the instance's own figures, because those of too many others are kept.
    pub instance_figures_dropped: u64,
}

impl Losses {
    /// Adds others. Sums that would be too large stay at the largest.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            reports_missed,
            transitions_dropped,
            histograms_refused,
            history_slots_dropped,
            instance_figures_dropped,
        } = other;
        self.reports_missed = self.reports_missed.saturating_add(*reports_missed);
        self.transitions_dropped = self.transitions_dropped.saturating_add(*transitions_dropped);
        self.histograms_refused = self.histograms_refused.saturating_add(*histograms_refused);
        self.history_slots_dropped = self.history_slots_dropped.saturating_add(*history_slots_dropped);
        self.instance_figures_dropped = self.instance_figures_dropped.saturating_add(*instance_figures_dropped);
    }
}
