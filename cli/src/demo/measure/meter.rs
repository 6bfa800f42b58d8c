use super::super::upstream::Fault;
use super::{Group, Pair, Served, Tally};
use cofferdam_core::level::Level;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often the present is moved into the past: the resolution of the live figures.
pub(crate) const TICK: Duration = Duration::from_millis(250);

const TICKS_PER_SECOND: usize = 4;

/// Ticks that are kept: 30 s.
const TICKS_KEPT: usize = 30 * TICKS_PER_SECOND;

/// Where callers and upstream write what happened. Cheap to clone: all clones are one meter.
#[derive(Clone, Debug)]
pub(crate) struct Meter(Arc<Mutex<State>>);

/// What a phase is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scene {
    /// The isolation level.
    pub level: Level,
    /// How the upstream does.
    pub fault: Fault,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a phase is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A step of the script.
    Step(usize),
    /// Somebody changed something by hand: it shows and does not prove.
    ByHand,
    /// Level or fault are about to change: some calls go by one and some by the other.
    Changing,
}

/// A stretch of time with one level and one fault, and what was measured in it.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    /// What it is about.
    pub scene: Scene,
    /// How long it lasted, or has lasted.
    pub duration: Duration,
    /// All of its calls.
    pub whole: Pair<Tally>,
    /// The calls that began in its second half, by its planned length.
    pub late: Pair<Tally>,
    /// The breakers at its end, for a reader.
    pub breakers: String,
}

/// When a call began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    phase: usize,
    is_late: bool,
    at: Instant,
}

/// A call in the upstream's hands, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    meter: Meter,
    group: Group,
}

#[derive(Debug)]
struct State {
    phases: Vec<Phase>,
    began: Instant,
    /// When the second half of the present phase begins.
    late_from: Instant,
    present: Pair<Tally>,
    past: VecDeque<Pair<Tally>>,
    /// Ticks ever, those forgotten included.
    ticked: usize,
    in_flight: Pair<u64>,
}

impl Meter {
    /// A meter whose first phase begins now and is planned to last so long.
    pub(crate) fn new(scene: Scene, planned: Duration) -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            phases: vec![Phase::new(scene)],
            began: now,
            late_from: now + planned / 2,
            present: Pair::default(),
            past: VecDeque::with_capacity(TICKS_KEPT),
            ticked: 0,
            in_flight: Pair::default(),
        })))
    }

    /// Ends the present phase, whose breakers are now so, and begins the next.
    pub(crate) fn begin(&self, scene: Scene, planned: Duration, breakers: String) {
        let now = Instant::now();
        let mut state = self.state();
        state.end_phase(now, breakers);
        state.phases.push(Phase::new(scene));
        state.began = now;
        state.late_from = now + planned / 2;
        for group in Group::ALL {
            state.note_in_flight(group);
        }
    }

    /// The present phase proves nothing from now on: it was cut short.
    pub(crate) fn spoil(&self) {
        if let Some(phase) = self.state().phases.last_mut() {
            phase.scene.purpose = Purpose::ByHand;
        }
    }

    /// A call begins.
    pub(crate) fn call_begins(&self) -> Moment {
        let at = Instant::now();
        let state = self.state();
        Moment { phase: state.phases.len() - 1, is_late: at >= state.late_from, at }
    }

    /// A call ends.
    pub(crate) fn call_ends(&self, group: Group, began: Moment, served: Served) {
        let latency = began.at.elapsed();
        let mut state = self.state();
        state.present.of_mut(group).count(served, latency);
        if let Some(phase) = state.phases.get_mut(began.phase) {
            phase.whole.of_mut(group).count(served, latency);
            if began.is_late {
                phase.late.of_mut(group).count(served, latency);
            }
        }
    }

    /// A call reaches the upstream.
    pub(crate) fn arrives(&self, group: Group) -> InFlight {
        let mut state = self.state();
        *state.in_flight.of_mut(group) += 1;
        state.note_in_flight(group);
        state.each_now(group, |tally| tally.arrivals += 1);
        InFlight { meter: self.clone(), group }
    }

    /// Moves the present into the past. To be called once in each [`TICK`].
    pub(crate) fn tick(&self) {
        let mut state = self.state();
        let present = std::mem::take(&mut state.present);
        if state.past.len() == TICKS_KEPT {
            state.past.pop_front();
        }
        state.past.push_back(present);
        state.ticked += 1;
        for group in Group::ALL {
            state.note_in_flight(group);
        }
    }

    /// What happened in the last so many ticks, and in how many there are so far.
    pub(crate) fn recent(&self, ticks: usize) -> (Pair<Tally>, Duration) {
        let state = self.state();
        let mut sum = Pair::<Tally>::default();
        let taken = ticks.min(state.past.len());
        state.past.iter().rev().take(taken).for_each(|tick| sum.merge(tick));
        (sum, TICK * u32::try_from(taken).unwrap_or(u32::MAX))
    }

    /// What happened in each of the last 30 seconds, oldest first, and how much of each second that covers: the present
    /// one is not over, and the oldest may be half forgotten.
    pub(crate) fn seconds(&self) -> Vec<(Pair<Tally>, Duration)> {
        let state = self.state();
        let mut seconds: Vec<(Pair<Tally>, Duration)> = Vec::new();
        let oldest = state.ticked - state.past.len();
        for (index, tick) in state.past.iter().enumerate() {
            if index == 0 || (oldest + index).is_multiple_of(TICKS_PER_SECOND) {
                seconds.push(Default::default());
            }
            if let Some((sum, time)) = seconds.last_mut() {
                sum.merge(tick);
                *time += TICK;
            }
        }
        seconds
    }

    /// Ends the last phase, whose breakers are now so, and returns all of them, oldest first.
    pub(crate) fn finish(&self, breakers: String) -> Vec<Phase> {
        let mut state = self.state();
        state.end_phase(Instant::now(), breakers);
        state.phases.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Phase {
    fn new(scene: Scene) -> Self {
        Self { scene, duration: Duration::ZERO, whole: Pair::default(), late: Pair::default(), breakers: String::new() }
    }

    /// Calls of one group that reached the upstream in each second.
    pub(crate) fn load(&self, group: Group) -> f64 {
        per_second(self.whole.of(group).arrivals, self.duration)
    }
}

/// A count over some time, by the second; zero over no time.
#[expect(clippy::cast_precision_loss, reason = "counts of a demo are far below 2^52")]
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

impl State {
    fn end_phase(&mut self, now: Instant, breakers: String) {
        let duration = now - self.began;
        if let Some(phase) = self.phases.last_mut() {
            phase.duration = duration;
            phase.breakers = breakers;
        }
    }

    /// Tells the tallies of now how many calls are in flight.
    fn note_in_flight(&mut self, group: Group) {
        let in_flight = *self.in_flight.of(group);
        self.each_now(group, |tally| tally.peak_in_flight = tally.peak_in_flight.max(in_flight));
    }

    /// Does something to each tally of now that counts load.
    fn each_now(&mut self, group: Group, change: impl Fn(&mut Tally)) {
        change(self.present.of_mut(group));
        if let Some(phase) = self.phases.last_mut() {
            change(phase.whole.of_mut(group));
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.meter.state().in_flight.of_mut(self.group) -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(step: usize) -> Scene {
        Scene { level: Level::None, fault: Fault::Healthy, purpose: Purpose::Step(step) }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_call_belongs_to_the_phase_in_which_it_began() {
        let meter = Meter::new(scene(0), SECOND);
        let slow = meter.call_begins();
        tokio::time::advance(SECOND).await;
        meter.begin(scene(1), SECOND, "closed".into());
        meter.call_ends(Group::Protected, slow, Served::Live);

        let phases = meter.finish(String::new());
        assert_eq!(phases[0].whole.protected.calls(), 1);
        assert_eq!(phases[1].whole.protected.calls(), 0);
        assert!(phases[0].whole.protected.latency.quantile(0.5).unwrap() >= SECOND);
        assert_eq!((phases[0].duration, phases[0].breakers.as_str()), (SECOND, "closed"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_half_begins_at_half_of_the_planned_length() {
        let meter = Meter::new(scene(0), SECOND);
        let early = meter.call_begins();
        tokio::time::advance(SECOND / 2).await;
        let late = meter.call_begins();
        meter.call_ends(Group::Protected, early, Served::Nobody);
        meter.call_ends(Group::Protected, late, Served::Live);

        let phase = &meter.finish(String::new())[0];
        assert_eq!(phase.whole.protected.answered_percent(), Some(50.0));
        assert_eq!(phase.late.protected.answered_percent(), Some(100.0));
    }

    #[tokio::test(start_paused = true)]
    async fn load_belongs_to_the_phase_in_which_it_arrives_and_in_flight_to_all_it_spans() {
        let meter = Meter::new(scene(0), SECOND);
        let held = meter.arrives(Group::Unprotected);
        drop(meter.arrives(Group::Unprotected));
        tokio::time::advance(SECOND).await;
        meter.begin(scene(1), SECOND, String::new());
        tokio::time::advance(SECOND).await;
        drop(held);

        let phases = meter.finish(String::new());
        let of = |phase: &Phase| (phase.whole.unprotected.arrivals, phase.whole.unprotected.peak_in_flight);
        assert_eq!((of(&phases[0]), of(&phases[1])), ((2, 2), (0, 1)));
        assert!((phases[0].load(Group::Unprotected) - 2.0).abs() < 1e-9);
    }

    #[tokio::test(start_paused = true)]
    async fn the_past_is_thirty_seconds_long() {
        let meter = Meter::new(scene(0), SECOND);
        for _ in 0..TICKS_KEPT + 10 {
            drop(meter.arrives(Group::Protected));
            meter.tick();
        }
        // 130 ticks: the oldest and the newest second are half there.
        let seconds = meter.seconds();
        assert_eq!(seconds.len(), 31);
        for (index, (second, time)) in seconds.iter().enumerate() {
            let ticks = if index % 30 == 0 { 2 } else { 4 };
            assert_eq!((second.protected.arrivals, *time), (u64::from(ticks), TICK * ticks), "{index}");
        }
        let (recent, time) = meter.recent(8);
        assert_eq!((recent.protected.arrivals, time), (8, 2 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_phase_that_was_cut_short_proves_nothing() {
        let meter = Meter::new(scene(0), SECOND);
        meter.spoil();
        assert_eq!(meter.finish(String::new())[0].scene.purpose, Purpose::ByHand);
    }
}
