//! The director: plays the script, does what keys ask, and keeps board and meter up to date.

use super::board::{Board, CommandResult};
use super::commands;
use super::measure::{Meter, Phase, Purpose, Scene, TICK};
use super::script::{Cue, Playback, STEPS};
use super::stage::Stage;
use super::upstream::Fault;
use crate::error::Error;
use cofferdam_core::level::Level;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

/// How often the script is asked what to do.
const BEAT: Duration = Duration::from_millis(50);

/// How long calls of the step before have to reach the upstream before its fault changes: they are to be judged by what
/// they found when they began.
const ON_THE_WAY: Duration = Duration::from_millis(50);

/// What a user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// Something else than the script has.
    Change(Change),
    /// That the script waits, or goes on.
    Pause,
    /// The end.
    Quit,
}

/// What a user changes by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The level.
    Level(Level),
    /// What is wrong with the upstream.
    Fault(Fault),
}

/// Plays the script on a stage.
#[derive(Debug)]
pub(crate) struct Director<'a> {
    stage: &'a Stage,
    meter: &'a Meter,
    boards: watch::Sender<Board>,
    playback: Playback,
}

/// The board before the first step.
pub(crate) fn first_board(stage: &Stage, total: Duration) -> Board {
    Board {
        step: 0,
        is_by_hand: false,
        is_paused: false,
        elapsed: Duration::ZERO,
        total,
        level: STEPS[0].level,
        fault: STEPS[0].fault,
        command: commands::set_level(&stage.manager_address(), STEPS[0].level),
        result: CommandResult::Sent,
        breakers: stage.breakers(),
    }
}

impl<'a> Director<'a> {
    /// A director whose script takes so long in all.
    pub(crate) const fn new(stage: &'a Stage, meter: &'a Meter, boards: watch::Sender<Board>, total: Duration) -> Self {
        Self { stage, meter, boards, playback: Playback::new(total) }
    }

    /// Plays until the script is over or a user wants the end, and returns what was measured. The board is given up
    /// when this returns.
    ///
    /// # Errors
    ///
    /// The manager refused a command, or a policy did not reach the instances.
    pub(crate) async fn direct(mut self, mut keys: mpsc::Receiver<Key>) -> Result<Vec<Phase>, Error> {
        self.set_level(STEPS[0].level).await?;
        self.begin(0).await?;
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = tokio::time::interval(TICK);
        tick.tick().await;
        let mut last = Instant::now();
        loop {
            let cue = tokio::select! {
                _ = tick.tick() => {
                    self.meter.tick();
                    Cue::Wait
                }
                _ = beat.tick() => {
                    let now = Instant::now();
                    let cue = self.playback.advance(now - last);
                    last = now;
                    cue
                }
                Some(key) = keys.recv() => self.obey(key).await?,
            };
            match cue {
                Cue::Wait => {}
                Cue::Begin(step) => {
                    self.begin(step).await?;
                    last = Instant::now();
                }
                Cue::End => break,
            }
            self.update_board();
        }
        Ok(self.meter.finish(self.stage.breakers().to_string()))
    }

    async fn obey(&mut self, key: Key) -> Result<Cue, Error> {
        let change = match key {
            Key::Pause => return Ok(self.playback.toggle_pause()),
            Key::Quit => return Ok(Cue::End),
            Key::Change(change) => change,
        };
        self.playback.disturb();
        self.meter.spoil();
        match change {
            Change::Level(level) => self.set_level(level).await?,
            Change::Fault(fault) => self.stage.set_fault(fault),
        }
        self.begin_phase(Purpose::ByHand);
        self.boards.send_modify(|board| board.is_by_hand = true);
        Ok(Cue::Wait)
    }

    async fn begin(&mut self, step: usize) -> Result<(), Error> {
        let Some(what) = STEPS.get(step) else { return Ok(()) };
        let level = self.boards.borrow().level;
        if level != what.level {
            self.set_level(what.level).await?;
        }
        if self.stage.fault() != what.fault {
            self.begin_phase(Purpose::Changing);
            tokio::time::sleep(ON_THE_WAY).await;
            self.stage.set_fault(what.fault);
        }
        self.begin_phase(Purpose::Step(step));
        self.boards.send_modify(|board| board.is_by_hand = false);
        self.update_board();
        Ok(())
    }

    fn begin_phase(&self, purpose: Purpose) {
        let scene = Scene { level: self.boards.borrow().level, fault: self.stage.fault(), purpose };
        let planned = match purpose {
            Purpose::Step(step) => self.playback.length(step),
            Purpose::ByHand | Purpose::Changing => Duration::ZERO,
        };
        self.meter.begin(scene, planned, self.stage.breakers().to_string());
    }

    /// Sends the command and waits until every instance has applied what it made.
    async fn set_level(&self, level: Level) -> Result<(), Error> {
        self.begin_phase(Purpose::Changing);
        let command = commands::set_level(&self.stage.manager_address(), level);
        self.boards.send_modify(|board| {
            board.command = command;
            board.result = CommandResult::Sent;
        });
        let applied = self.stage.set_level(level).await?;
        self.boards.send_modify(|board| {
            board.level = level;
            board.result = applied;
        });
        Ok(())
    }

    fn update_board(&self) {
        let (breakers, fault) = (self.stage.breakers(), self.stage.fault());
        self.boards.send_modify(|board| {
            board.step = self.playback.step();
            board.is_paused = self.playback.is_paused();
            board.elapsed = self.playback.elapsed();
            board.fault = fault;
            board.breakers = breakers;
        });
    }
}
