//! The alarms that groups watch and the receivers that they tell. In a run,
//! alarms fire for a while and receivers do not answer for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::alarm::{Alarm, AlarmSource, AlarmState, OnUnreadable};
use proto::group::Group;
use proto::id::GroupName;
use proto::task::TaskId;
use proto::trigger::{Target, Told, Trigger, TriggerEvent};

use crate::chance::Chance;
use crate::clock::Moment;
use crate::host::HostNo;
use crate::model::Happening;

/// The alarm of generated runs that hosts read.
pub const READ: &str = "errors";
/// The alarm of generated runs that is set by hand.
pub const BY_HAND: &str = "pager";
/// The trigger of generated runs; it sends every event.
pub const TRIGGER: &str = "chat";

/// A period in which something outside of the hosts is not well. Outside of all
/// spells, everything is well.
#[derive(Clone, Debug)]
pub struct Spell {
    pub group: GroupName,
    /// The name of the alarm or of the trigger.
    pub of: String,
    pub from: Moment,
    pub until: Moment,
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A reading of the alarm returns this state.
    Alarm(AlarmState),
    /// The receiver does not answer.
    Deaf,
}

/// A reading of an alarm, or a telling of a trigger, that is under way.
#[derive(Clone, Debug)]
pub enum Errand {
    Read { group: GroupName, alarm: String },
    Tell { trigger: String, told: Box<Told> },
}

/// The result of errands while everything outside is well.
#[derive(Clone, Debug)]
pub struct Ways {
    /// The range of the time that a reading or a telling takes.
    pub takes: (Duration, Duration),
    /// The percentage of readings that fail although all is well, and of
    /// answers that get lost although the receiver heard.
    pub lost_percent: u32,
    /// The percentage of the failing errands that fail only after their host has
    /// stopped waiting.
    pub hang_percent: u32,
}

impl Default for Ways {
    fn default() -> Self {
        let takes = (Duration::from_millis(2), Duration::from_millis(400));
        Ways { takes, lost_percent: 5, hang_percent: 50 }
    }
}

/// Everything outside of the hosts.
#[derive(Debug, Default)]
pub struct Outside {
    pub ways: Ways,
    spells: Vec<Spell>,
    under_way: BTreeMap<(HostNo, TaskId), Errand>,
    told: BTreeMap<(GroupName, String), Heard>,
    readers: BTreeMap<(GroupName, String), HostNo>,
    tellers: BTreeMap<(GroupName, String), HostNo>,
}

/// The happenings of which a receiver has heard.
#[derive(Debug, Default)]
struct Heard {
    all: BTreeSet<Happening>,
    /// In the order in which the receiver first heard of each.
    order: Vec<Happening>,
}

impl Outside {
    /// Begins a spell. It ends earlier spells of the same alarm or trigger.
    pub fn begin_spell(&mut self, spell: Spell) {
        self.end_spells(&spell.group, &spell.of, spell.from);
        self.spells.push(spell);
    }

    /// Ends all spells of an alarm or a trigger now.
    pub fn end_spells(&mut self, group: &GroupName, of: &str, now: Moment) {
        let its = self.spells.iter_mut().filter(|spell| spell.group == *group && spell.of == of);
        its.filter(|spell| spell.from <= now).for_each(|spell| spell.until = spell.until.min(now));
    }

    pub fn expect(&mut self, spells: Vec<Spell>) {
        self.spells = spells;
    }

    /// Returns the state of a group's alarm now.
    pub fn alarm(&self, group: &GroupName, alarm: &str, now: Moment) -> AlarmState {
        let states = self.spells_of(group, alarm, now).filter_map(|spell| match spell.how {
            How::Alarm(state) => Some(state),
            How::Deaf => None,
        });
        states.last().unwrap_or(AlarmState::Ok)
    }

    /// Returns the time since which a group's alarm has been active without a
    /// break.
    pub fn active_since(&self, group: &GroupName, alarm: &str, now: Moment) -> Option<Moment> {
        if self.alarm(group, alarm, now) != AlarmState::Active {
            return None;
        }
        let starts = self.spells_of(group, alarm, now).map(|spell| spell.from);
        starts.max()
    }

    fn hears(&self, group: &GroupName, trigger: &str, now: Moment) -> bool {
        !self.spells_of(group, trigger, now).any(|spell| spell.how == How::Deaf)
    }

    fn spells_of(&self, group: &GroupName, of: &str, now: Moment) -> impl Iterator<Item = &Spell> {
        let is_now = move |spell: &&Spell| spell.from <= now && now < spell.until;
        self.spells.iter().filter(move |spell| spell.group == *group && spell.of == of).filter(is_now)
    }

    /// Forgets who read and told before the story.
    pub fn begin_anew(&mut self) {
        self.readers.clear();
        self.tellers.clear();
    }

    /// Begins an errand. Returns true if another host ran the last errand for
    /// the same alarm or trigger.
    pub fn begin(&mut self, host: HostNo, id: TaskId, errand: Errand) -> bool {
        let (whose, name) = match &errand {
            Errand::Read { group, alarm } => (&mut self.readers, (group.clone(), alarm.clone())),
            Errand::Tell { trigger, told } => (&mut self.tellers, (told.group.clone(), trigger.clone())),
        };
        let before = whose.insert(name, host);
        self.under_way.insert((host, id), errand);
        before != Some(host)
    }

    /// Returns the host that read an alarm last, in the first group that has an
    /// alarm of this name.
    pub fn reader(&self, alarm: &str) -> Option<HostNo> {
        self.readers.iter().find(|((_, name), _)| name == alarm).map(|(_, host)| *host)
    }

    /// Returns the host that told a receiver last, in the first group that has a
    /// trigger of this name.
    pub fn teller(&self, trigger: &str) -> Option<HostNo> {
        self.tellers.iter().find(|((_, name), _)| name == trigger).map(|(_, host)| *host)
    }

    /// Ends an errand of a host. Returns None if its agent was killed in the
    /// meantime.
    pub fn end(&mut self, host: HostNo, id: TaskId) -> Option<Errand> {
        self.under_way.remove(&(host, id))
    }

    /// Tells a receiver. Returns two flags: it heard, and that was the first time.
    pub fn tell(&mut self, trigger: &str, told: &Told, now: Moment) -> (bool, bool) {
        if !self.hears(&told.group, trigger, now) {
            return (false, false);
        }
        let host = told.host.as_ref().map(|host| host.host);
        let happening = (told.event, told.deployment, host);
        let heard = self.told.entry((told.group.clone(), trigger.into())).or_default();
        let is_new = heard.all.insert(happening);
        if is_new {
            heard.order.push(happening);
        }
        (true, is_new)
    }

    pub fn was_told(&self, group: &GroupName, trigger: &str, happening: &Happening) -> bool {
        let heard = self.told.get(&(group.clone(), trigger.to_string()));
        heard.is_some_and(|heard| heard.all.contains(happening))
    }

    /// Returns the happenings of which a receiver has heard, in the order in which
    /// it first heard of each.
    pub fn heard(&self, group: &GroupName, trigger: &str) -> &[Happening] {
        let heard = self.told.get(&(group.clone(), trigger.to_string()));
        heard.map(|heard| heard.order.as_slice()).unwrap_or_default()
    }

    /// Drops the errands of a host that goes down.
    pub fn crash(&mut self, host: HostNo) {
        self.under_way.retain(|(of, _), _| *of != host);
    }
}

/// Gives a group random alarms and triggers.
pub fn equip(group: &mut Group, dice: &mut Chance) {
    if dice.percent(60) {
        let source = AlarmSource::Exec { command: "check-errors".into() };
        let unreadable = if dice.percent(70) { OnUnreadable::Stop } else { OnUnreadable::Ignore };
        group.alarms = vec![
            Alarm {
                name: READ.into(),
                source,
                every: Duration::from_secs(dice.between(1, 10)),
                timeout: Duration::from_secs(5),
                unreadable,
            },
            Alarm {
                name: BY_HAND.into(),
                source: AlarmSource::Manual,
                every: Duration::from_secs(10),
                timeout: Duration::from_secs(5),
                unreadable: OnUnreadable::Stop,
            },
        ];
    }
    if dice.percent(60) {
        let all = TriggerEvent::ALL;
        let on = if dice.percent(60) {
            all.into()
        } else {
            all.into_iter().filter(|_| dice.percent(40)).collect()
        };
        let target = Target::Exec { command: "tell-chat".into() };
        let trigger = Trigger { name: TRIGGER.into(), on, target };
        if !trigger.on.is_empty() {
            group.triggers = vec![trigger];
        }
    }
}

/// Draws spells in which alarms fire, alarms cannot be read, and receivers do
/// not answer. All of them end within a while after healing.
pub fn spells(dice: &mut Chance, groups: &[&str], heal_at: Moment) -> Vec<Spell> {
    let mut spells = Vec::new();
    for name in groups {
        let group: GroupName = name.parse().expect("a name");
        for _ in 0..dice.below(4) {
            let how = match dice.below(6) {
                0 | 1 => How::Alarm(AlarmState::Active),
                2 => How::Alarm(AlarmState::Unreadable),
                _ => How::Deaf,
            };
            let from = Moment::from_micros(dice.below(heal_at.as_micros() + 20_000_000));
            let most = *dice.pick(&[2, 10, 40, 120]);
            let until = from + dice.duration(Duration::from_millis(100), Duration::from_secs(most));
            let of = if how == How::Deaf { TRIGGER } else { READ };
            spells.push(Spell { group: group.clone(), of: of.into(), from, until, how });
        }
    }
    spells
}

/// Draws, in some runs, an alarm that fires shortly before healing and for minutes
/// after it: only then must the deployment stop within a known time.
pub fn late_spell(dice: &mut Chance, groups: &[&str], heal_at: Moment) -> Option<Spell> {
    if !dice.percent(25) {
        return None;
    }
    let group = dice.pick(groups).parse().expect("a name");
    let from = Moment::from_micros(heal_at.as_micros().saturating_sub(dice.below(30_000_000)));
    let until = heal_at + dice.duration(Duration::from_secs(90), Duration::from_secs(200));
    Some(Spell { group, of: READ.into(), from, until, how: How::Alarm(AlarmState::Active) })
}
