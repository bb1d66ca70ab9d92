//! Ends the readings of alarms and the tellings of receivers, with the answers
//! from outside of all hosts.

use std::time::Duration;

use proto::alarm::{Alarm, AlarmState, Reading};
use proto::id::GroupName;
use proto::task::{TaskId, TaskResult};
use proto::trigger::Told;

use super::{Claim, Event, World};
use crate::host::HostNo;
use crate::watches::{Errand, Outside, Spell, Ways};

/// The time that a notification waits for an answer.
const TELL_TIMEOUT: Duration = Duration::from_secs(30);
/// The time after which an active alarm must have stopped the deployment, once
/// all is healed. It covers all periods and tries, and a host that dies.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

impl World {
    pub fn expect_spells(&mut self, spells: Vec<Spell>) {
        self.outside.expect(spells);
    }

    /// Sets how errands go from now on.
    pub fn set_ways(&mut self, ways: Ways) {
        self.outside.ways = ways;
    }

    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    pub fn outside_mut(&mut self) -> &mut Outside {
        &mut self.outside
    }

    pub(super) fn begin_reading(&mut self, no: HostNo, id: TaskId, group: GroupName, alarm: &Alarm) {
        let is_unreadable = self.outside.alarm(&group, &alarm.name, self.now) == AlarmState::Unreadable;
        let hangs = is_unreadable && self.chance.outside.percent(self.outside.ways.hang_percent);
        let takes = if hangs { alarm.timeout } else { self.takes() };
        let name = alarm.name.clone();
        if self.begin_errand(no, id, Errand::Read { group, alarm: name.clone() }, takes) {
            self.say(format!("{no} reads alarm {name}"));
        }
    }

    pub(super) fn begin_telling(&mut self, no: HostNo, id: TaskId, trigger: String, told: Box<Told>) {
        let takes = self.takes();
        self.begin_errand(no, id, Errand::Tell { trigger, told }, takes);
    }

    fn takes(&mut self) -> Duration {
        let (least, most) = self.outside.ways.takes;
        self.chance.outside.duration(least, most)
    }

    /// Begins an errand. Returns true if another host ran the last one for the
    /// same alarm or trigger.
    fn begin_errand(&mut self, no: HostNo, id: TaskId, errand: Errand, takes: Duration) -> bool {
        let is_other = self.outside.begin(no, id, errand);
        let boot = self.hosts[no.index()].boot;
        self.queue.push(self.now + takes, Event::ErrandEnds { host: no, boot, id });
        is_other
    }

    pub(super) fn errand_ends(&mut self, no: HostNo, id: TaskId) {
        let is_lost = self.chance.outside.percent(self.outside.ways.lost_percent);
        let result = match self.outside.end(no, id) {
            None => return,
            Some(Errand::Read { group, alarm }) => {
                let state = self.outside.alarm(&group, &alarm, self.now);
                let state = if is_lost { AlarmState::Unreadable } else { state };
                TaskResult::Alarm(Reading::new(state, detail(state)))
            }
            Some(Errand::Tell { trigger, told }) => {
                let (hears, is_new) = self.outside.tell(&trigger, &told, self.now);
                if !hears && self.chance.outside.percent(self.outside.ways.hang_percent) {
                    // The receiver is silent for as long as the host waits for
                    // it.
                    self.begin_errand(no, id, Errand::Tell { trigger, told }, TELL_TIMEOUT);
                    return;
                }
                if !hears || is_new {
                    let verb = if hears { "hears" } else { "does not hear" };
                    let what =
                        self.story.happening(told.event, told.deployment, told.host.as_ref().map(|h| h.host));
                    self.say(format!("{trigger} {verb} {what} from {no}"));
                }
                TaskResult::Notified(match (hears, is_lost) {
                    (true, false) => Ok(()),
                    (true, true) => Err("the answer is lost".into()),
                    (false, _) => Err("no answer".into()),
                })
            }
        };
        self.task_ends(no, id, result);
    }

    /// Reports a violation if a deployment continues although its alarm has been
    /// active for a long time.
    pub fn check_alarms(&mut self) {
        let healed_at = self.healed_at;
        for (name, group) in self.checks.model.groups() {
            let Some(began) = self.checks.model.heeding_since(group) else { continue };
            let read = group.group.alarms.iter().filter(|alarm| alarm.is_read());
            let active =
                read.filter_map(|alarm| self.outside.active_since(name, &alarm.name, self.now)).min();
            let Some(active) = active else { continue };
            let since = [active, healed_at].into_iter().max().unwrap_or(active);
            // This much has passed by the ledger's clock too, not only in true
            // time.
            let ran = Duration::from_millis(self.checks.model.clock().saturating_sub(began));
            if self.now - since > NOTICED_WITHIN && ran > NOTICED_WITHIN {
                let what = format!("{name}: its alarm is active since {active}, and its deployment goes on");
                let verdict = Err(crate::check::Violation::new(Claim::Alarms, Vec::new(), what));
                self.checks.report(verdict, self.now);
                return;
            }
        }
    }
}

/// Returns the text of a reading.
fn detail(state: AlarmState) -> &'static str {
    match state {
        AlarmState::Ok => "all is well",
        AlarmState::Active => "too many errors",
        AlarmState::Unreadable => "check-errors: command not found",
    }
}
