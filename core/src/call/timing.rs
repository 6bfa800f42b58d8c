//! How long a call and its attempts took, for the reports.

use super::{Call, Progress};
use crate::runtime::Runtime;
use crate::time::Timestamp;

impl<R: Runtime> Call<'_, R> {
    /// Takes note of how long an attempt took. One that began with its call and brings its answer is counted with it, at
    /// its end.
    #[inline]
    pub(super) fn time_attempt(&self, progress: &mut Progress, since: Timestamp, now: Timestamp, is_answer: bool) {
        let took = now.saturating_since(since);
        if is_answer && progress.attempts == 1 && since == self.since {
            progress.alone = Some(took);
        } else {
            self.scope.measured.latencies.record_attempt(took);
        }
    }

    /// Takes note of how long a call took that the service has answered.
    #[inline(always)]
    pub(super) fn time_live(&self, progress: &Progress) {
        // The answer was there at once, and nobody looked at the clock again.
        let is_untimed = progress.alone.is_none() && progress.attempts == 1 && self.clock.now() == self.since;
        if !is_untimed {
            self.time_answered(progress);
        }
    }

    fn time_answered(&self, progress: &Progress) {
        match progress.alone {
            Some(took) => self.scope.measured.latencies.record_alone(took),
            None => self.time_other(),
        }
    }

    /// Takes note of how long another call took.
    pub(super) fn time_other(&self) {
        self.scope.measured.latencies.record_call(self.clock.now().saturating_since(self.since));
    }
}
