//! The script: what happens in the demo, in which order and for how long. Pure: it is told how time passes.
//!
//! Each step differs from the one before in the level or in the upstream, so that what changes on the screen has one
//! cause; only the last level comes together with its fault. The upstream heals in between, because the bulkhead and the
//! breaker answer different questions: a breaker that is already open would leave the bulkhead nothing to do.

use super::upstream::Fault;
use cofferdam_core::level::Level;
use std::time::Duration;

/// The shortest demo in which every step is long enough to be judged.
pub(crate) const SHORTEST: Duration = Duration::from_secs(8);

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What it is called.
    pub title: &'static str,
    /// What to look at, for people: at most two lines of 78.
    pub note: &'static str,
    /// The isolation level.
    pub level: Level,
    /// How the upstream does.
    pub fault: Fault,
    /// Its share of the whole time.
    pub weight: u32,
}

/// The steps, in order.
pub(crate) const STEPS: [Step; 7] = [
    Step {
        title: "calm",
        note: "Level none, and all is well: both groups call payments directly.",
        level: Level::None,
        fault: Fault::Healthy,
        weight: 3,
    },
    Step {
        title: "breaks",
        note: "payments breaks. At level none the SDK only counts: both groups fail alike,\n\
               and the retries of the unprotected group quadruple its load.",
        level: Level::None,
        fault: Fault::Broken,
        weight: 4,
    },
    Step {
        title: "basic",
        note: "basic adds timeout and fallback: every user gets an answer, here a static\n\
               \"pending\". The upstream is still called each time.",
        level: Level::Basic,
        fault: Fault::Broken,
        weight: 5,
    },
    Step {
        title: "enhanced",
        note: "enhanced adds the circuit breaker, and retries on a budget: the breaker opens,\n\
               answers come at once, and the upstream is left alone but for a few probes.",
        level: Level::Enhanced,
        fault: Fault::Broken,
        weight: 6,
    },
    Step {
        title: "heals",
        note: "payments heals. A probe finds out, the breaker goes half-open, then closed:\n\
               live answers are back, and nobody did anything.",
        level: Level::Enhanced,
        fault: Fault::Healthy,
        weight: 6,
    },
    Step {
        title: "full",
        note: "payments takes 2 s. full adds the bulkhead: it caps our calls in flight until\n\
               the breaker opens. Orders seen before get their receipt from the cache.",
        level: Level::Full,
        fault: Fault::Slow,
        weight: 8,
    },
    Step {
        title: "recovers",
        note: "payments is quick again, and the breakers find out by themselves.",
        level: Level::Full,
        fault: Fault::Healthy,
        weight: 8,
    },
];

/// Where the script is.
#[derive(Clone, Debug)]
pub(crate) struct Playback {
    total: Duration,
    step: usize,
    /// Time spent in the step.
    spent: Duration,
    is_paused: bool,
    /// Somebody changed something by hand: the step must begin anew.
    is_disturbed: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cue {
    /// Nothing yet.
    Wait,
    /// Begin this step.
    Begin(usize),
    /// The script is over.
    End,
}

impl Playback {
    /// At the beginning of the first step, of a script that takes so long in all.
    pub(crate) const fn new(total: Duration) -> Self {
        Self { total, step: 0, spent: Duration::ZERO, is_paused: false, is_disturbed: false }
    }

    /// The step that is on, or was on when somebody changed something by hand.
    pub(crate) const fn step(&self) -> usize {
        self.step
    }

    /// Whether it is paused.
    pub(crate) const fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// How long a step takes.
    pub(crate) fn length(&self, step: usize) -> Duration {
        let all: u32 = STEPS.iter().map(|step| step.weight).sum();
        STEPS.get(step).map_or(Duration::ZERO, |step| self.total * step.weight / all)
    }

    /// How far the script is.
    pub(crate) fn elapsed(&self) -> Duration {
        (0..self.step).map(|step| self.length(step)).sum::<Duration>() + self.spent
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, time: Duration) -> Cue {
        if self.is_paused {
            return Cue::Wait;
        }
        self.spent += time;
        if self.spent < self.length(self.step) {
            return Cue::Wait;
        }
        if self.step + 1 == STEPS.len() {
            return Cue::End;
        }
        self.step += 1;
        self.spent = Duration::ZERO;
        Cue::Begin(self.step)
    }

    /// Stops or goes on. A step that was disturbed begins anew.
    pub(crate) fn toggle_pause(&mut self) -> Cue {
        self.is_paused = !self.is_paused;
        if self.is_paused || !self.is_disturbed {
            return Cue::Wait;
        }
        self.is_disturbed = false;
        self.spent = Duration::ZERO;
        Cue::Begin(self.step)
    }

    /// Somebody changed something by hand: the script waits until it is told to go on.
    pub(crate) const fn disturb(&mut self) {
        self.is_paused = true;
        self.is_disturbed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Duration = Duration::from_secs(40);
    const BEAT: Duration = Duration::from_millis(50);

    #[test]
    fn the_steps_play_in_order_and_take_the_time_they_are_given() {
        for total in [SHORTEST, TOTAL] {
            let mut playback = Playback::new(total);
            let (mut begun, mut time) = (vec![0], Duration::ZERO);
            loop {
                time += BEAT;
                match playback.advance(BEAT) {
                    Cue::Wait => {}
                    Cue::Begin(step) => begun.push(step),
                    Cue::End => break,
                }
            }
            assert_eq!(begun, Vec::from_iter(0..STEPS.len()));
            let late = BEAT * u32::try_from(STEPS.len()).unwrap();
            assert!(time >= total - BEAT && time <= total + late, "{time:?} of {total:?}");
        }
    }

    #[test]
    fn levels_only_rise_and_each_is_tried_on_a_failing_upstream() {
        assert!(STEPS.windows(2).all(|pair| pair[0].level <= pair[1].level));
        for level in Level::ALL {
            assert!(STEPS.iter().any(|step| step.level == level && step.fault != Fault::Healthy), "{level}");
        }
        assert_eq!(STEPS.last().map(|step| step.fault), Some(Fault::Healthy));
    }

    #[test]
    fn notes_fit_the_screen() {
        for step in &STEPS {
            assert!(step.note.lines().count() <= 2 && step.note.lines().all(|line| line.len() <= 78), "{}", step.title);
        }
    }

    #[test]
    fn a_pause_stops_the_time_and_nothing_else() {
        let mut playback = Playback::new(TOTAL);
        playback.advance(BEAT);
        assert_eq!(playback.toggle_pause(), Cue::Wait);
        assert_eq!(playback.advance(TOTAL), Cue::Wait);
        assert_eq!(playback.toggle_pause(), Cue::Wait);
        assert_eq!((playback.step(), playback.elapsed()), (0, BEAT));
    }

    #[test]
    fn a_disturbed_step_waits_and_then_begins_anew() {
        let mut playback = Playback::new(TOTAL);
        let first = playback.length(0);
        assert_eq!(playback.advance(first), Cue::Begin(1));
        playback.advance(BEAT);
        playback.disturb();
        assert!(playback.is_paused());
        assert_eq!(playback.advance(TOTAL), Cue::Wait);
        assert_eq!(playback.toggle_pause(), Cue::Begin(1));
        assert_eq!(playback.elapsed(), first);
    }
}
