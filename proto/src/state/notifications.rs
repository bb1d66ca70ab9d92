//! The events that a group's triggers deliver, and how far each trigger has come. Both
//! are the same on every host.

use std::collections::{BTreeMap, VecDeque};

use crate::alarm::{DETAIL_MAX, NAME_MAX};
use crate::group::Group;
use crate::id::GroupName;
use crate::statement::one_line;
use crate::trigger::{Cursor, GIVEN_UP_KEPT, GivenUp, HAPPENINGS_MAX, Happening, Trigger};

/// The events that wait for delivery, and the progress of all triggers.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Notifications {
    by_group: BTreeMap<GroupName, Deliveries>,
}

/// The deliveries of one group.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Deliveries {
    /// The progress of its triggers, by name.
    pub(super) cursors: BTreeMap<String, Cursor>,
    /// The events that some trigger has still to deliver, the oldest first.
    pub(super) waiting: VecDeque<Happening>,
    /// The number of the newest event.
    pub(super) last: u64,
}

impl Notifications {
    /// Puts back what a snapshot holds of a group.
    pub(super) fn restore(&mut self, group: &GroupName, deliveries: Deliveries) {
        self.by_group.insert(group.clone(), deliveries);
    }

    pub(super) fn all_of(&self, group: &GroupName) -> Option<&Deliveries> {
        self.by_group.get(group)
    }

    /// Returns the progress of a trigger.
    pub fn cursor(&self, group: &GroupName, trigger: &str) -> Option<&Cursor> {
        self.by_group.get(group)?.cursors.get(trigger)
    }

    /// Returns the events that the trigger has still to deliver, the oldest first.
    pub(crate) fn undelivered<'a>(
        &'a self,
        group: &GroupName,
        trigger: &'a Trigger,
    ) -> impl Iterator<Item = &'a Happening> {
        let deliveries = self.by_group.get(group).into_iter();
        deliveries.flat_map(|deliveries| deliveries.undelivered(trigger))
    }

    /// Returns how many events the trigger has still to deliver.
    pub fn waiting_for(&self, group: &GroupName, trigger: &Trigger) -> usize {
        self.undelivered(group, trigger).count()
    }

    /// Notes an event, if some trigger of the group delivers such.
    pub(super) fn note(&mut self, group: &Group, event: Happening) {
        if group.triggers.iter().any(|trigger| trigger.on.contains(&event.event))
            && let Some(deliveries) = self.by_group.get_mut(&group.name)
        {
            deliveries.note(&group.triggers, event);
        }
    }

    /// Moves the cursor of a trigger that has delivered all events up to this number, or
    /// has given up some of them.
    pub(super) fn delivered(&mut self, group: &Group, trigger: &str, up_to: u64, given_up: &[GivenUp]) {
        if let Some(deliveries) = self.by_group.get_mut(&group.name)
            && deliveries.delivered(trigger, up_to, given_up)
        {
            deliveries.forget_delivered(&group.triggers);
        }
    }

    pub(super) fn is_settled(&self, group: &GroupName, trigger: &str, up_to: u64) -> bool {
        self.cursor(group, trigger).is_none_or(|cursor| cursor.up_to >= up_to)
    }

    /// Follows a new definition of a group. A new trigger delivers what happens from now
    /// on.
    pub(super) fn define_group(&mut self, group: &Group) {
        let deliveries = self.by_group.entry(group.name.clone()).or_default();
        deliveries.cursors.retain(|name, _| group.triggers.iter().any(|trigger| trigger.name == *name));
        for trigger in &group.triggers {
            let up_to = deliveries.last;
            let fresh = || Cursor { up_to, ..Cursor::default() };
            deliveries.cursors.entry(trigger.name.clone()).or_insert_with(fresh);
        }
    }

    /// Forgets a group that was deleted.
    pub(super) fn forget_group(&mut self, group: &GroupName) {
        self.by_group.remove(group);
    }
}

impl Deliveries {
    fn undelivered<'a>(&'a self, trigger: &'a Trigger) -> impl Iterator<Item = &'a Happening> {
        let up_to = self.cursors.get(&trigger.name).map_or(u64::MAX, |cursor| cursor.up_to);
        let first = self.waiting.partition_point(|event| event.number <= up_to);
        self.waiting.range(first..).filter(|event| trigger.on.contains(&event.event))
    }

    fn note(&mut self, triggers: &[Trigger], mut event: Happening) {
        self.last += 1;
        event.number = self.last;
        self.waiting.push_back(event);
        if self.waiting.len() > HAPPENINGS_MAX
            && let Some(dropped) = self.waiting.pop_front()
        {
            for trigger in triggers.iter().filter(|trigger| trigger.on.contains(&dropped.event)) {
                if let Some(cursor) = self.cursors.get_mut(&trigger.name)
                    && cursor.up_to < dropped.number
                {
                    cursor.dropped += 1;
                }
            }
        }
    }

    /// Returns true if the cursor has moved.
    fn delivered(&mut self, trigger: &str, up_to: u64, given_up: &[GivenUp]) -> bool {
        let cursor = self.cursors.get_mut(trigger).filter(|cursor| cursor.up_to < up_to);
        let Some(cursor) = cursor else { return false };
        for given_up in given_up.iter().filter(|given_up| given_up.number > cursor.up_to) {
            cursor.given_up += 1;
            let why = one_line(&given_up.why, DETAIL_MAX);
            let id = one_line(&given_up.id, NAME_MAX);
            cursor.last_given_up.push(GivenUp { why, id, ..given_up.clone() });
        }
        let too_many = cursor.last_given_up.len().saturating_sub(GIVEN_UP_KEPT);
        cursor.last_given_up.drain(..too_many);
        cursor.up_to = up_to.min(self.last);
        true
    }

    /// Keeps only the events that some trigger has still to deliver.
    fn forget_delivered(&mut self, triggers: &[Trigger]) {
        let cursors = &self.cursors;
        self.waiting.retain(|event| {
            triggers.iter().any(|trigger| {
                let up_to = cursors.get(&trigger.name).map_or(u64::MAX, |cursor| cursor.up_to);
                up_to < event.number && trigger.on.contains(&event.event)
            })
        });
    }
}
