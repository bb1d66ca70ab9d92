//! This host's own turns: they run the lifecycle events one after the other, and
//! keep a journal, from which an agent that was killed can tell what it did.
//!
//! The journal works like a write-ahead log: what is about to run is on stable
//! storage before it runs. So a record without an end means "killed while this
//! ran", and no record means "nothing ran".
//!
//! Invariants: an event runs only after the turn's start is committed and the
//! event's record is durable. No turn is begun twice.
//!
//! # Decisions
//!
//! - The journal is written before the event and not after it. Given up: an agent
//!   that is killed between two events reports the second as interrupted, although it
//!   may not have begun. Kept: the journal never claims less than what ran.
//! - An interrupted turn begins again once (`attempts` of the policy). The ledger
//!   records that first (`TurnBegunAnew`), so that no attempt begins twice. AWS fails
//!   the turn at once; under OneAtATime, one killed agent would then cost the whole
//!   release.
//! - A turn waits for the group's health check at its end. The journal records that
//!   as "all events done", so an agent that is killed during the wait waits again: it
//!   was killed in no event. Successes from before the last event do not count.

mod room;
mod start;

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::{ErrorCode, Failure, Index, TurnOutcome};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::lifecycle::{Course, LifecycleEvent};
use crate::rollout::Stage;
use crate::state::State;
use crate::statement::{Report, Statement};
use crate::time::LedgerTime;

pub(crate) use start::start_blocker;

/// The journal's record of one turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) deployment: DeploymentId,
    /// The state's index when the turn began. Until the fold has come that far
    /// again, nothing can be said about the turn.
    pub(crate) began: Index,
    /// The last event that has ended.
    pub(crate) done: Option<LifecycleEvent>,
    /// The event that may be running.
    pub(crate) running: Option<LifecycleEvent>,
    /// The outcome of the turn; `None` while it is not over.
    pub(crate) outcome: Option<TurnOutcome>,
    /// The attempt of the turn, counted from 1.
    pub(crate) attempt: u8,
    /// True if the running event was interrupted because the agent had to stop.
    pub(crate) was_stopped: bool,
}

impl Record {
    pub(crate) fn running(&self) -> Option<LifecycleEvent> {
        self.running
    }
}

/// Something that a turn asks the node to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Write this record durably, and report when that is done.
    Write(Record),
    /// Delete the record: the ledger knows how the turn ended.
    Forget(DeploymentId),
    /// Run this event of this deployment.
    Run { deployment: DeploymentId, event: LifecycleEvent },
    /// Stop running the turn's event.
    Cancel(DeploymentId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Read back from the journal, and not yet compared with the ledger.
    Restored,
    /// The record of the event is being written to disk.
    Writing,
    /// The event is running.
    Running,
    /// The agent is stopping. The turn continues from here when it is started
    /// again.
    Paused,
    /// The agent was killed or stopped in an event. The turn begins again once the
    /// ledger says so.
    Interrupted,
    /// All events have succeeded, and the group's health check must pass. If the
    /// agent is killed here, no event is interrupted, and the host waits again when
    /// it is back.
    Waiting,
    /// The turn is over. Its end is proposed until the ledger has it.
    Over,
}

#[derive(Clone, Debug)]
struct OwnTurn {
    record: Record,
    step: Step,
    /// True if its event must end because the deployment stops now.
    is_cut_short: bool,
}

impl OwnTurn {
    fn new(record: Record, step: Step) -> Self {
        OwnTurn { record, step, is_cut_short: false }
    }
}

/// All turns of this host whose end is not yet in the ledger.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnTurns {
    turns: BTreeMap<DeploymentId, OwnTurn>,
    leaving: bool,
    /// The deployments whose bundles this host may need soon.
    pub(crate) to_prefetch: Vec<DeploymentId>,
    /// The free bytes of the disk at the last look.
    free: Option<u64>,
}

impl OwnTurns {
    /// Restores the turns from the journal.
    pub(crate) fn restore(records: Vec<Record>) -> Self {
        let turns = records
            .into_iter()
            .map(|record| (record.deployment, OwnTurn::new(record, Step::Restored)))
            .collect();
        OwnTurns { turns, ..OwnTurns::default() }
    }

    /// Begins no more turns and no more events from now on.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
    }

    /// Notes the free bytes of the disk.
    pub(crate) fn note_free(&mut self, free: u64) {
        self.free = Some(free);
    }

    pub(crate) fn len(&self) -> usize {
        self.turns.len()
    }

    /// Returns true if no event runs and no record waits for the disk.
    pub(crate) fn is_idle(&self) -> bool {
        !self.turns.values().any(|turn| matches!(turn.step, Step::Running | Step::Writing))
    }

    /// Compares the turns with the ledger: begins those that it says are started,
    /// and ends those that are over.
    pub(crate) fn reconcile(&mut self, me: HostId, state: &State) -> Vec<Act> {
        let mut acts = Vec::new();
        for rollout in state.running() {
            let Some(member) = rollout.members().get(&me) else { continue };
            if let Stage::Started { at } = &member.stage {
                let deployment = rollout.submission.deployment;
                if !self.turns.contains_key(&deployment) && !self.leaving {
                    let forgot = state.host(me).is_some_and(|host| host.store_since > *at);
                    let course = rollout.traits().course;
                    let fresh = Record::new(deployment, state.index(), member.attempt, course);
                    acts.push(self.begin(fresh, forgot));
                }
            }
        }
        let deployments: Vec<DeploymentId> = self.turns.keys().copied().collect();
        for deployment in deployments {
            self.compare(deployment, me, state, &mut acts);
        }
        acts
    }

    /// Begins a turn. If `forgot` is true, the turn was started under a store that
    /// is lost, so it is not known which of its events ran, and it fails.
    fn begin(&mut self, mut record: Record, forgot: bool) -> Act {
        let mut step = Step::Writing;
        if forgot {
            let message = "the host's store was lost in its turn, so nobody knows what ran of it".to_string();
            record.running = None;
            record.outcome = Some(failed(None, ErrorCode::FailedAfterRestart, message));
            step = Step::Over;
        }
        self.turns.insert(record.deployment, OwnTurn::new(record.clone(), step));
        Act::Write(record)
    }

    fn compare(&mut self, deployment: DeploymentId, me: HostId, state: &State, acts: &mut Vec<Act>) {
        let Some(turn) = self.turns.get_mut(&deployment) else { return };
        if state.index() < turn.record.began {
            return;
        }
        let current = Current::of(state, deployment, me);
        let Some(current) = current else {
            // The ledger has an end for this turn, proposed by this host or set by
            // the fold.
            match turn.step {
                Step::Running => acts.push(Act::Cancel(deployment)),
                Step::Writing => {}
                Step::Restored | Step::Paused | Step::Interrupted | Step::Waiting | Step::Over => {
                    self.turns.remove(&deployment);
                    acts.push(Act::Forget(deployment));
                }
            }
            return;
        };
        match turn.step {
            Step::Restored => acts.extend(resume(turn, current)),
            Step::Interrupted if current.attempt > turn.record.attempt => {
                acts.push(begin_anew(turn, current));
            }
            Step::Interrupted if current.is_stopped => acts.push(give_up(turn)),
            Step::Running if current.stops_now && !turn.is_cut_short => {
                turn.is_cut_short = true;
                acts.push(Act::Cancel(deployment));
            }
            Step::Writing | Step::Running | Step::Paused | Step::Interrupted | Step::Waiting | Step::Over => {
            }
        }
        // The group has no health check now, so there is nothing to wait for.
        if turn.step == Step::Waiting && !current.is_checked {
            end(turn, TurnOutcome::Succeeded);
            acts.push(Act::Write(turn.record.clone()));
        }
    }

    /// Returns the turns whose events are over and that wait for their health
    /// check.
    pub(crate) fn waiting(&self) -> BTreeSet<DeploymentId> {
        let waits = self.turns.values().filter(|turn| turn.step == Step::Waiting);
        waits.map(|turn| turn.record.deployment).collect()
    }

    /// Ends the wait for the health check with this result.
    pub(crate) fn waited(
        &mut self,
        deployment: DeploymentId,
        result: Result<(), (ErrorCode, String)>,
    ) -> Option<Act> {
        let turn = self.turns.get_mut(&deployment).filter(|turn| turn.step == Step::Waiting)?;
        match result {
            Ok(()) => end(turn, TurnOutcome::Succeeded),
            Err((code, message)) => end(turn, failed(None, code, message)),
        }
        Some(Act::Write(turn.record.clone()))
    }

    /// Runs the event that a record announces, now that the record is durable.
    /// `current` is `None` if the turn is no longer this host's.
    pub(crate) fn written(&mut self, deployment: DeploymentId, current: Option<Current>) -> Option<Act> {
        let turn = self.turns.get_mut(&deployment)?;
        if turn.step != Step::Writing {
            return None;
        }
        let Some(current) = current else {
            self.turns.remove(&deployment);
            return Some(Act::Forget(deployment));
        };
        if let Some(event) = turn.record.running.filter(|_| current.is_stopped) {
            end(turn, stopped_before(event));
            return Some(Act::Write(turn.record.clone()));
        }
        let Some(event) = turn.record.running.filter(|_| !self.leaving) else {
            // The agent is stopping: the announced event has not begun.
            turn.record.running = None;
            turn.step = Step::Paused;
            return Some(Act::Write(turn.record.clone()));
        };
        turn.step = Step::Running;
        Some(Act::Run { deployment, event })
    }

    /// Takes the end of a turn's event, and decides how the turn continues.
    /// `rollout` looks up what the turn needs to know of its deployment, as long as
    /// the turn is still this host's.
    pub(crate) fn done(
        &mut self,
        deployment: DeploymentId,
        result: Result<(), Failure>,
        rollout: impl Fn(DeploymentId) -> Option<Current>,
    ) -> Vec<Act> {
        let turn = self.turns.get_mut(&deployment).filter(|turn| turn.step == Step::Running);
        let Some(turn) = turn else { return Vec::new() };
        let Some(current) = rollout(deployment) else {
            self.turns.remove(&deployment);
            return vec![Act::Forget(deployment)];
        };
        let Some(event) = turn.record.running.take() else { return Vec::new() };
        let done_before = turn.record.done.replace(event);
        let ignored = event.step().may_be_ignored && current.ignores_stop_failures;
        match (result, current.course.after(Some(event))) {
            (Err(failure), _) if turn.is_cut_short => {
                let message = format!("the deployment was stopped while {event} ran");
                let (event, code) = (Some(event), ErrorCode::Stopped);
                end(turn, TurnOutcome::Failed(Failure { event, code, message, ..failure }));
            }
            // Nothing but the stop of the agent cancels events while it is leaving.
            (Err(failure), _) if self.leaving && failure.code == ErrorCode::Stopped => {
                (turn.record.running, turn.record.done) = (Some(event), done_before);
                turn.record.was_stopped = true;
                turn.step = Step::Paused;
                if !current.may_begin_anew(&turn.record) {
                    let (event, code, message) = interruption(&turn.record, event);
                    end(turn, TurnOutcome::Failed(Failure { event, code, message, ..failure }));
                }
            }
            (Err(failure), _) if !ignored => end(turn, TurnOutcome::Failed(failure)),
            (_, None) if current.is_checked => turn.step = Step::Waiting,
            (_, None) => end(turn, TurnOutcome::Succeeded),
            (_, Some(next)) if current.is_stopped => end(turn, stopped_before(next)),
            (_, Some(_)) if self.leaving => turn.step = Step::Paused,
            (_, Some(next)) => {
                turn.record.running = Some(next);
                turn.step = Step::Writing;
            }
        }
        vec![Act::Write(turn.record.clone())]
    }

    /// Returns what this host must propose: starts of turns for which it has a
    /// lease, or deferrals of these starts; new attempts of interrupted turns; and
    /// ends of turns that are over.
    pub(crate) fn owed(
        &self,
        me: HostId,
        state: &State,
        suspects: &BTreeSet<HostId>,
        clock: LedgerTime,
    ) -> Vec<Statement> {
        let interrupted = self.turns.values().filter(|turn| turn.step == Step::Interrupted);
        let anew = interrupted.filter_map(|turn| {
            let Record { deployment, running, attempt, .. } = turn.record;
            Some(
                Report::TurnBegunAnew {
                    deployment,
                    host: me,
                    event: running?,
                    attempt: attempt.checked_add(1)?,
                }
                .into(),
            )
        });
        let ended = self.turns.values().filter(|turn| turn.step == Step::Over).filter_map(|turn| {
            let outcome = turn.record.outcome.clone()?;
            Some(Report::TurnEnded { deployment: turn.record.deployment, host: me, outcome }.into())
        });
        let mut owed: Vec<Statement> = ended.chain(anew).collect();
        if !self.leaving {
            let free = state.running().filter(|rollout| !self.runs_in(&rollout.submission.group, state));
            owed.extend(free.filter_map(|rollout| {
                match room::report(rollout, me, state, self.free, clock) {
                    Some(report) => report,
                    None => start::owed(rollout, me, state, suspects, clock),
                }
            }));
        }
        owed
    }

    /// Returns true if a script of an earlier turn in the group still runs. The
    /// mesh has given that turn up, and its end was requested. Until it has ended,
    /// two turns would work on the same application.
    fn runs_in(&self, group: &GroupName, state: &State) -> bool {
        self.turns.values().filter(|turn| matches!(turn.step, Step::Running)).any(|turn| {
            let rollout = state.rollout(turn.record.deployment);
            rollout.is_none_or(|rollout| rollout.submission.group == *group)
        })
    }
}

/// The facts that a host needs about its turn's deployment between two events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) course: Course,
    pub(crate) ignores_stop_failures: bool,
    pub(crate) is_stopped: bool,
    /// True if the group's health check must pass before the turn may succeed.
    pub(crate) is_checked: bool,
    pub(crate) stops_now: bool,
    /// The attempt of the turn that the ledger allows, and below it the most
    /// attempts that the policy allows.
    pub(crate) attempt: u8,
    pub(crate) attempts: u8,
}

impl Current {
    /// Returns `None` if the host's turn in the deployment is not under way.
    pub(crate) fn of(state: &State, deployment: DeploymentId, me: HostId) -> Option<Current> {
        let rollout = state.rollout(deployment)?;
        let group = state.group(&rollout.submission.group);
        let member = rollout.members().get(&me)?;
        let policy = &rollout.submission.policy;
        matches!(member.stage, Stage::Started { .. }).then_some(Current {
            course: rollout.traits().course,
            ignores_stop_failures: policy.ignore_application_stop_failures,
            is_stopped: rollout.stops_now() || rollout.ends_turns_early(),
            stops_now: rollout.stops_now(),
            is_checked: group.is_some_and(|group| group.group.health.is_some()),
            attempt: member.attempt,
            attempts: policy.attempts,
        })
    }

    /// Returns true if a turn that was interrupted in this attempt begins once
    /// more.
    fn may_begin_anew(&self, record: &Record) -> bool {
        !self.is_stopped && record.attempt < self.attempts
    }
}

impl Record {
    fn new(deployment: DeploymentId, began: Index, attempt: u8, course: Course) -> Record {
        let running = course.after(None);
        Record { deployment, began, done: None, running, outcome: None, attempt, was_stopped: false }
    }
}

/// Resumes a turn from its journal record, after a restart of the agent.
fn resume(turn: &mut OwnTurn, current: Current) -> Option<Act> {
    if turn.record.outcome.is_some() {
        turn.step = Step::Over;
        return None;
    }
    match (turn.record.running, current.course.after(turn.record.done)) {
        (Some(_), _) if current.attempt > turn.record.attempt => return Some(begin_anew(turn, current)),
        (Some(_), _) if current.may_begin_anew(&turn.record) => {
            turn.step = Step::Interrupted;
            return None;
        }
        (Some(_), _) => return Some(give_up(turn)),
        (None, Some(next)) => {
            turn.record.running = Some(next);
            turn.step = Step::Writing;
        }
        (None, None) if current.is_checked => {
            turn.step = Step::Waiting;
            return None;
        }
        (None, None) => end(turn, TurnOutcome::Succeeded),
    }
    Some(Act::Write(turn.record.clone()))
}

/// Begins the next attempt, which the ledger allows. No event of it has run yet, or
/// the journal would say so.
fn begin_anew(turn: &mut OwnTurn, current: Current) -> Act {
    let Record { deployment, began, .. } = turn.record;
    turn.record = Record::new(deployment, began, current.attempt, current.course);
    turn.step = Step::Writing;
    Act::Write(turn.record.clone())
}

/// Fails an interrupted turn that does not begin again.
fn give_up(turn: &mut OwnTurn) -> Act {
    if let Some(event) = turn.record.running {
        let (event, code, message) = interruption(&turn.record, event);
        end(turn, failed(event, code, message));
    }
    Act::Write(turn.record.clone())
}

fn interruption(record: &Record, event: LifecycleEvent) -> (Option<LifecycleEvent>, ErrorCode, String) {
    let (code, how) = match record.was_stopped {
        true => (ErrorCode::AgentStopped, "stopped"),
        false => (ErrorCode::FailedAfterRestart, "killed"),
    };
    let which = match record.attempt {
        0 | 1 => String::new(),
        attempt => format!(", in attempt {attempt} of the turn"),
    };
    (Some(event), code, format!("the agent was {how} while {event} ran{which}"))
}

fn stopped_before(event: LifecycleEvent) -> TurnOutcome {
    failed(Some(event), ErrorCode::Stopped, format!("the deployment was stopped before {event}"))
}

fn end(turn: &mut OwnTurn, outcome: TurnOutcome) {
    turn.record.running = None;
    turn.record.outcome = Some(outcome);
    turn.step = Step::Over;
}

fn failed(event: Option<LifecycleEvent>, code: ErrorCode, message: String) -> TurnOutcome {
    TurnOutcome::Failed(Failure::new(event, code, message))
}

#[cfg(test)]
mod tests;
