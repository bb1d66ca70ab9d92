//! A member that lies: for some time it sends false frames beside its true ones.
//!
//! The promises hold for all other hosts all the same. There is one such member in a
//! run, and it is never the majority of the voters that any host knows: of one or two
//! voters none may lie.

use proto::node::Node;
use proto::node::lies::Liar;

use super::World;
use crate::clock::Moment;
use crate::host::{HostNo, SimHost};

/// The share of true frames that come with a false one.
const LIES_PERCENT: u32 = 30;

/// A smaller set of voters has no majority without the one that lies.
const VOTERS_MIN: usize = 3;

/// The host that lies, and until when.
#[derive(Debug)]
pub(super) struct Lies {
    host: HostNo,
    until: Moment,
    liar: Liar,
}

impl World {
    pub(super) fn begin_to_lie(&mut self, host: HostNo, until: Moment) {
        self.say(format!("{host} begins to lie"));
        match &mut self.lies {
            Some(lies) if lies.host == host => lies.until = until,
            lies => *lies = Some(Lies { host, until, liar: Liar::default() }),
        }
    }

    pub(super) fn end_lies(&mut self) {
        if let Some(lies) = &mut self.lies {
            lies.until = self.now;
        }
    }

    /// Returns true if a frame of the host may have been a lie.
    pub(super) fn has_lied(&self, host: HostNo) -> bool {
        self.lies.as_ref().is_some_and(|lies| lies.host == host)
    }

    /// Returns the frames that a host sends in place of a true one: that one, and
    /// perhaps a false one before or after it.
    pub(super) fn with_lies(&mut self, from: HostNo, to: HostNo, frame: Vec<u8>) -> Vec<Vec<u8>> {
        let is_time = |lies: &mut Lies| lies.host == from && self.now < lies.until;
        let Some(mut lies) = self.lies.take_if(is_time) else { return vec![frame] };
        let lie = self.made_up(&mut lies.liar, from, to, &frame);
        self.lies = Some(lies);
        match lie {
            Some(lie) if self.chance.lies.percent(50) => vec![lie, frame],
            Some(lie) => vec![frame, lie],
            None => vec![frame],
        }
    }

    fn made_up(&mut self, liar: &mut Liar, from: HostNo, to: HostNo, frame: &[u8]) -> Option<Vec<u8>> {
        let chance = &mut self.chance.lies;
        if !chance.percent(LIES_PERCENT) {
            return None;
        }
        let (me, other) = (self.hosts[from.index()].node()?, self.hosts[to.index()].node()?);
        let counts_on_it = |node: &Node| {
            let voters = node.mesh().voters;
            voters.contains(&me.host()) && voters.len() < VOTERS_MIN
        };
        if self.hosts.iter().filter_map(SimHost::node).any(counts_on_it) {
            return None;
        }
        liar.lie(me, other, frame, &mut |limit| chance.below(limit))
    }
}
