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
use crate::model::Happening;

/// The alarm that is read, and the one that is set by hand.
pub const READ: &str = "errors";
pub const BY_HAND: &str = "pager";
/// The trigger of every event.
pub const TRIGGER: &str = "chat";

/// How something outside is, for a while. Otherwise all is well.
#[derive(Clone, Debug)]
pub struct Spell {
    pub group: GroupName,
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

/// A reading or a telling that is under way.
#[derive(Clone, Debug)]
pub enum Errand {
    Read(GroupName),
    Tell(Box<Told>),
}

/// What is outside of all hosts.
#[derive(Debug, Default)]
pub struct Outside {
    spells: Vec<Spell>,
    under_way: BTreeMap<(u32, EffectId), Errand>,
    /// Which events have reached the receiver of which group's trigger.
    told: BTreeSet<(GroupName, Happening)>,
}

impl Outside {
    pub fn new(spells: Vec<Spell>) -> Self {
        Outside { spells, ..Outside::default() }
    }

    /// How the alarm of a group is now.
    pub fn alarm(&self, group: &GroupName, now: Moment) -> AlarmState {
        let states = self.spells_of(group, now).filter_map(|spell| match spell.how {
            How::Alarm(state) => Some(state),
            How::Deaf => None,
        });
        states.last().unwrap_or(AlarmState::Ok)
    }

    /// Since when the alarm of a group has been active without a break.
    pub fn active_since(&self, group: &GroupName, now: Moment) -> Option<Moment> {
        if self.alarm(group, now) != AlarmState::Active {
            return None;
        }
        let starts = self.spells_of(group, now).map(|spell| spell.from);
        starts.max()
    }

    fn hears(&self, group: &GroupName, now: Moment) -> bool {
        !self.spells_of(group, now).any(|spell| spell.how == How::Deaf)
    }

    fn spells_of(&self, group: &GroupName, now: Moment) -> impl Iterator<Item = &Spell> {
        let is_now = move |spell: &&Spell| spell.from <= now && now < spell.until;
        self.spells.iter().filter(|spell| spell.group == *group).filter(is_now)
    }

    pub fn begin(&mut self, host: u32, effect: EffectId, errand: Errand) {
        self.under_way.insert((host, effect), errand);
    }

    /// The errand of a host that ends; none if its agent was killed meanwhile.
    pub fn end(&mut self, host: u32, effect: EffectId) -> Option<Errand> {
        self.under_way.remove(&(host, effect))
    }

    /// A receiver is told. Returns whether it heard.
    pub fn tell(&mut self, told: &Told, now: Moment) -> bool {
        let hears = self.hears(&told.group, now);
        if hears {
            let host = told.host.as_ref().map(|host| host.host);
            self.told.insert((told.group.clone(), (told.event, told.deployment, host)));
        }
        hears
    }

    pub fn was_told(&self, group: &GroupName, happening: &Happening) -> bool {
        self.told.contains(&(group.clone(), *happening))
    }

    /// A host is down, and all that it had under way.
    pub fn crash(&mut self, host: u32) {
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
            spells.push(Spell { group: group.clone(), from, until, how });
        }
    }
    spells
}
