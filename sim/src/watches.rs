//! What groups watch and whom they tell, in a run: alarms that fire for a
//! while, and receivers that are away for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::alarm::{Alarm, AlarmSource, AlarmState, OnUnreadable};
use proto::group::Group;
use proto::id::GroupName;
use proto::io::EffectId;
use proto::trigger::{Target, Told, Trigger, TriggerEvent};

use crate::chance::Chance;
use crate::clock::Moment;
use crate::host::HostNo;
use crate::model::Happening;

/// In made-up runs, the alarm that is read and the one that is set by hand.
pub const READ: &str = "errors";
pub const BY_HAND: &str = "pager";
/// The trigger of every event.
pub const TRIGGER: &str = "chat";

/// How something outside is, for a while. Otherwise all is well.
#[derive(Clone, Debug)]
pub struct Spell {
    pub group: GroupName,
    /// The alarm's name, or the trigger's.
    pub of: String,
    pub from: Moment,
    pub until: Moment,
    pub how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The alarm that is read is in this state.
    Alarm(AlarmState),
    /// Whoever is told does not answer.
    Deaf,
}

/// A reading or a telling that is under way, of an alarm or a trigger.
#[derive(Clone, Debug)]
pub enum Errand {
    Read { group: GroupName, alarm: String },
    Tell { trigger: String, told: Box<Told> },
}

/// How errands go, if nothing is wrong outside.
#[derive(Clone, Debug)]
pub struct Ways {
    /// How long a reading or a telling takes.
    pub takes: (Duration, Duration),
    /// So many of a hundred readings fail all the same, and so many answers of
    /// receivers are lost although they heard.
    pub lost_percent: u32,
    /// So many of a hundred errands that must fail do so only when nobody waits
    /// for them any more.
    pub hang_percent: u32,
}

impl Default for Ways {
    fn default() -> Self {
        let takes = (Duration::from_millis(2), Duration::from_millis(400));
        Ways { takes, lost_percent: 5, hang_percent: 50 }
    }
}

/// What is outside of all hosts.
#[derive(Debug, Default)]
pub struct Outside {
    pub ways: Ways,
    spells: Vec<Spell>,
    under_way: BTreeMap<(HostNo, EffectId), Errand>,
    told: BTreeMap<(GroupName, String), Heard>,
    readers: BTreeMap<(GroupName, String), HostNo>,
    tellers: BTreeMap<(GroupName, String), HostNo>,
}

/// What a receiver has heard.
#[derive(Debug, Default)]
struct Heard {
    all: BTreeSet<Happening>,
    /// In the order in which it heard it first.
    order: Vec<Happening>,
}

impl Outside {
    /// From now on something is otherwise.
    pub fn begin_spell(&mut self, spell: Spell) {
        self.end_spells(&spell.group, &spell.of, spell.from);
        self.spells.push(spell);
    }

    /// From now on all is well with it again.
    pub fn end_spells(&mut self, group: &GroupName, of: &str, now: Moment) {
        let its = self.spells.iter_mut().filter(|spell| spell.group == *group && spell.of == of);
        its.filter(|spell| spell.from <= now).for_each(|spell| spell.until = spell.until.min(now));
    }

    pub fn expect(&mut self, spells: Vec<Spell>) {
        self.spells = spells;
    }

    /// How an alarm of a group is now.
    pub fn alarm(&self, group: &GroupName, alarm: &str, now: Moment) -> AlarmState {
        let states = self.spells_of(group, alarm, now).filter_map(|spell| match spell.how {
            How::Alarm(state) => Some(state),
            How::Deaf => None,
        });
        states.last().unwrap_or(AlarmState::Ok)
    }

    /// Since when an alarm of a group has been active without a break.
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

    /// Who did what before is not of the story.
    pub fn begin_anew(&mut self) {
        self.readers.clear();
        self.tellers.clear();
    }

    /// An errand begins. Returns whether it is another host's than the last one
    /// of its kind.
    pub fn begin(&mut self, host: HostNo, effect: EffectId, errand: Errand) -> bool {
        let (whose, name) = match &errand {
            Errand::Read { group, alarm } => (&mut self.readers, (group.clone(), alarm.clone())),
            Errand::Tell { trigger, told } => (&mut self.tellers, (told.group.clone(), trigger.clone())),
        };
        let before = whose.insert(name, host);
        self.under_way.insert((host, effect), errand);
        before != Some(host)
    }

    /// Who read an alarm last, of all groups that have one of this name.
    pub fn reader(&self, alarm: &str) -> Option<HostNo> {
        self.readers.iter().find(|((_, name), _)| name == alarm).map(|(_, host)| *host)
    }

    /// Who told a receiver last.
    pub fn teller(&self, trigger: &str) -> Option<HostNo> {
        self.tellers.iter().find(|((_, name), _)| name == trigger).map(|(_, host)| *host)
    }

    /// The errand of a host that ends; none if its agent was killed meanwhile.
    pub fn end(&mut self, host: HostNo, effect: EffectId) -> Option<Errand> {
        self.under_way.remove(&(host, effect))
    }

    /// A receiver is told. Returns whether it heard, and whether that was news.
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

    /// What a receiver has heard, in the order in which it heard it first.
    pub fn heard(&self, group: &GroupName, trigger: &str) -> &[Happening] {
        let heard = self.told.get(&(group.clone(), trigger.to_string()));
        heard.map(|heard| heard.order.as_slice()).unwrap_or_default()
    }

    /// A host is down, and all that it had under way.
    pub fn crash(&mut self, host: HostNo) {
        self.under_way.retain(|(of, _), _| *of != host);
    }
}

/// Gives a group what it watches and whom it tells.
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

/// Some alarms fire, some cannot be read, some receivers are away; all that is
/// over a while after healing.
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
