//! Alarms are read and receivers told: what is outside of all hosts answers.

use std::time::Duration;

use proto::alarm::{Alarm, AlarmState, Reading};
use proto::id::GroupName;
use proto::io::{EffectId, Input, Outcome};
use proto::trigger::Told;

use super::{Claim, Event, World};
use crate::host::HostNo;
use crate::watches::{Errand, Outside, Spell};

/// How long a reading or a telling takes, if it comes to an end by itself.
const TAKES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(400));
/// So many of a hundred readings fail although nothing is wrong, and so many
/// answers of receivers are lost although they heard.
const LOST_PERCENT: u32 = 5;
/// A telling without an answer.
const TELL_TIMEOUT: Duration = Duration::from_secs(30);
/// An alarm that has been active for so long, all being healed, must have
/// stopped the deployment: every period and try, and a host that dies.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

impl World {
    pub fn expect_spells(&mut self, spells: Vec<Spell>) {
        self.outside = Outside::new(spells);
    }

    pub(super) fn begin_reading(&mut self, no: HostNo, effect: EffectId, group: GroupName, alarm: &Alarm) {
        let hangs =
            self.outside.alarm(&group, self.now) == AlarmState::Unreadable && self.chance.outside.percent(50);
        let takes = if hangs { alarm.timeout } else { self.chance.outside.duration(TAKES.0, TAKES.1) };
        self.begin_errand(no, effect, Errand::Read(group), takes);
    }

    pub(super) fn begin_telling(&mut self, no: HostNo, effect: EffectId, told: Box<Told>) {
        let takes = self.chance.outside.duration(TAKES.0, TAKES.1);
        self.begin_errand(no, effect, Errand::Tell(told), takes);
    }

    fn begin_errand(&mut self, no: HostNo, effect: EffectId, errand: Errand, takes: Duration) {
        self.outside.begin(no.0, effect, errand);
        let boot = self.hosts[no.index()].boot;
        self.queue.push(self.now + takes, Event::ErrandEnds { host: no, boot, effect });
    }

    pub(super) fn errand_ends(&mut self, no: HostNo, effect: EffectId) {
        let is_lost = self.chance.outside.percent(LOST_PERCENT);
        let outcome = match self.outside.end(no.0, effect) {
            None => return,
            Some(Errand::Read(group)) => {
                let state = self.outside.alarm(&group, self.now);
                let state = if is_lost { AlarmState::Unreadable } else { state };
                Outcome::Alarm(Reading::new(state, "as the plan has it"))
            }
            Some(Errand::Tell(told)) if !self.outside.tell(&told, self.now) => {
                if self.chance.outside.percent(50) {
                    // It says nothing for as long as it is waited for.
                    return self.begin_errand(no, effect, Errand::Tell(told), TELL_TIMEOUT);
                }
                Outcome::Told(Err("no answer".into()))
            }
            Some(Errand::Tell(..)) if is_lost => Outcome::Told(Err("the answer is lost".into())),
            Some(Errand::Tell(..)) => Outcome::Told(Ok(())),
        };
        self.feed(no, Input::Done { effect, outcome });
    }

    /// Complains of a deployment that goes on although its alarm has been
    /// active for long.
    pub fn check_alarms(&mut self) {
        let healed_at = self.healed_at;
        for (name, group) in self.checks.model.groups() {
            let Some(began) = self.checks.model.heeding_since(group) else { continue };
            let Some(active) = self.outside.active_since(name, self.now) else { continue };
            let since = [active, healed_at].into_iter().max().unwrap_or(active);
            // Both clocks have run on for this long, whatever they show.
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
