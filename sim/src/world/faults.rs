//! Faults of hosts, disks, clocks and links.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use proto::io::Input;
use proto::node::Node;

use super::{Armed, AtWrite, Event, World};
use crate::clock::Moment;
use crate::disk::Crash;
use crate::host::{HostNo, SimHost, Tuning};
use crate::record::Record;

/// A fault, or the end of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The host goes down, and starts again after `back_after`, if that is set.
    Down {
        who: Who,
        how: Crash,
        back_after: Option<Duration>,
    },
    /// The agent is told to leave, and ends a moment later.
    Leave {
        who: Who,
        back_after: Option<Duration>,
    },
    Start {
        host: HostNo,
    },
    /// The host goes down and loses its disk. It starts again with an empty
    /// one.
    Wipe {
        host: HostNo,
        back_after: Duration,
    },
    /// The host goes down, and its disk loses the last writes although they
    /// were synced, as a disk that lies or a store that was restored from a
    /// backup does.
    Forget {
        host: HostNo,
        writes: usize,
        back_after: Duration,
    },
    /// The host's loop does not run for `lasts`, then continues where it was.
    Stall {
        who: Who,
        lasts: Duration,
    },
    /// No frame gets from `from` to `to` for `lasts`, or until the world is
    /// healed.
    Cut {
        from: BTreeSet<HostNo>,
        to: BTreeSet<HostNo>,
        both_ways: bool,
        lasts: Option<Duration>,
    },
    Mend {
        from: BTreeSet<HostNo>,
        to: BTreeSet<HostNo>,
        both_ways: bool,
    },
    /// The disk is `times` times slower than usual; 0 means usual.
    SlowDisk {
        host: HostNo,
        times: u32,
    },
    /// Others fill the disk, or empty it again: bundles may take this many bytes
    /// from now on, in all starts of the agent.
    Room {
        host: HostNo,
        free: u64,
    },
    /// The clock gains this much from now on.
    Drift {
        host: HostNo,
        parts_per_million: i64,
    },
    /// The clock is set this far ahead at the host's next start.
    Skew {
        host: HostNo,
        ahead_micros: i64,
    },
    /// For `lasts`, all other hosts hear nothing of this host if `hears` is
    /// true; otherwise it hears nothing of them.
    Isolate {
        who: Who,
        hears: bool,
        lasts: Duration,
    },
    /// The host's next write fails as `what` says, unless it comes after
    /// `until`.
    AtWrite {
        who: Who,
        what: AtWrite,
        back_after: Duration,
        until: Moment,
    },
    /// The disk completes no write for `lasts`.
    HangDisk {
        who: Who,
        lasts: Duration,
    },
    /// The host goes down and starts again at another address.
    Move {
        host: HostNo,
        back_after: Duration,
    },
    /// The agent is replaced by one of another release, which speaks this wire version and
    /// reads nothing newer. It starts after `back_after`.
    Install {
        host: HostNo,
        wire: u16,
        back_after: Duration,
    },
    /// The next beacon that the host hears, from a neighbour with the same
    /// index, carries the hash of another ledger.
    FalseHead {
        host: HostNo,
    },
    /// The host sends false frames beside its true ones, for this time.
    Liar {
        host: HostNo,
        lasts: Duration,
    },
    /// The fault occurs when the voters change next, but never after `until`.
    WhenVotersChange {
        fault: Box<Fault>,
        until: Moment,
    },
}

/// The host that a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Host(HostNo),
    /// The leader of consensus at that time.
    Leader,
    /// The host that last read this alarm.
    Reader(String),
    /// The host that last told the receiver of this trigger.
    Teller(String),
    /// The first host, by number, on which a lifecycle event runs at that time.
    InTurn,
    /// The first voter, by number from this host on, that does not lead at that
    /// time.
    Voter(HostNo),
}

/// The interval at which the world checks whether the voters change. It is shorter
/// than any change of the voters.
const VOTERS_LOOK: Duration = Duration::from_millis(2);

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Down { who, how, back_after } => {
                let Some(host) = self.find(who) else { return };
                self.down(host, how);
                self.start_after(host, back_after);
            }
            Fault::Leave { who, back_after } => {
                let Some(host) = self.find(who) else { return };
                self.say(format!("{host} is told to leave"));
                self.feed(host, Input::Leaving);
                let takes =
                    self.chance.faults.duration(Duration::from_millis(10), Duration::from_millis(3_000));
                let boot = self.hosts[host.index()].boot;
                self.queue.push(now + takes, Event::Gone { host, boot, back_after });
            }
            Fault::Start { host } => self.start(host),
            Fault::Wipe { host, back_after } => {
                if self.may_wipe(host) {
                    self.down(host, Crash::Power);
                    self.checks.disk_lost(host, self.hosts[host.index()].disk.synced());
                    self.hosts[host.index()].disk.wipe();
                    self.hosts[host.index()].was_wiped = true;
                    self.say(format!("{host} loses its disk"));
                    self.start_after(host, Some(back_after));
                }
            }
            Fault::Forget { host, writes, back_after } => {
                if self.may_wipe(host) {
                    self.down(host, Crash::Power);
                    self.say(format!("{host}'s disk loses what was synced"));
                    let disk = &mut self.hosts[host.index()].disk;
                    let held = disk.synced().clone();
                    disk.forget(writes);
                    if disk.has_lied() {
                        self.hosts[host.index()].was_wiped = true;
                        self.checks.disk_lost(host, &held);
                    }
                    self.start_after(host, Some(back_after));
                }
            }
            Fault::Stall { who, lasts } => {
                let Some(host) = self.find(who) else { return };
                self.say(format!("{host} stalls for {}", Shown(lasts)));
                self.stall(host, lasts);
            }
            Fault::Cut { from, to, both_ways, lasts } => {
                let way = if both_ways { "and" } else { "to" };
                self.say(format!("cut between {} {way} {}", names(&from), names(&to)));
                self.cut(&from, &to, both_ways);
                if let Some(lasts) = lasts {
                    self.queue.push(now + lasts, Event::Fault(Fault::Mend { from, to, both_ways }));
                }
            }
            Fault::Mend { from, to, both_ways } => {
                self.say(format!("mended between {} and {}", names(&from), names(&to)));
                self.network.mend(&from, &to);
                if both_ways {
                    self.network.mend(&to, &from);
                }
            }
            Fault::SlowDisk { host, times } => {
                self.say(format!("{host}'s disk takes {} times as long", times.max(1)));
                self.hosts[host.index()].disk.set_slowness(times);
            }
            Fault::Room { host, free } => {
                let how = if free == 0 { "is full" } else { "has room again" };
                self.say(format!("{host}'s disk {how}"));
                self.hosts[host.index()].free = Some(free);
                self.feed_room(host, free);
            }
            Fault::Drift { host, parts_per_million } => {
                self.say(format!("{host}'s clock gains {parts_per_million} ppm"));
                let host = &mut self.hosts[host.index()];
                host.drift = parts_per_million;
                host.clock.drift(now, parts_per_million);
                // The host's next wake is at another true moment now.
                let no = host.no;
                host.wake_at = None;
                self.schedule_wake(no);
            }
            Fault::Skew { host, ahead_micros } => self.hosts[host.index()].ahead_micros = ahead_micros,
            Fault::Isolate { who, hears, lasts } => {
                let Some(host) = self.find(who) else { return };
                let one = BTreeSet::from([host]);
                let others = self.hosts.iter().map(|other| other.no).filter(|other| *other != host).collect();
                let (from, to) = if hears { (one, others) } else { (others, one) };
                self.fault(Fault::Cut { from, to, both_ways: false, lasts: Some(lasts) });
            }
            Fault::AtWrite { who, what, back_after, until } => {
                let Some(host) = self.find(who) else { return };
                self.hosts[host.index()].at_write = Some(Armed { what, back_after, until });
            }
            Fault::HangDisk { who, lasts } => {
                let Some(host) = self.find(who) else { return };
                self.say(format!("{host}'s disk hangs for {}", Shown(lasts)));
                self.hosts[host.index()].disk.hang(now + lasts);
            }
            Fault::Move { host, back_after } => {
                self.down(host, Crash::Power);
                self.hosts[host.index()].moves += 1;
                self.say(format!("{host} moves to {}", self.hosts[host.index()].ip()));
                self.start_after(host, Some(back_after));
            }
            Fault::Install { host, wire, back_after } => {
                self.down(host, Crash::Process);
                self.hosts[host.index()].profile.wire = wire;
                self.say(format!("{host} gets an agent of version {wire}"));
                self.start_after(host, Some(back_after));
            }
            Fault::FalseHead { host } => self.hosts[host.index()].hears_false_head = true,
            Fault::Liar { host, lasts } => self.begin_to_lie(host, now + lasts),
            Fault::WhenVotersChange { fault, until } => {
                if self.nodes().any(|(_, node)| node.is_joint()) {
                    self.fault(*fault);
                } else if now < until {
                    let again = Fault::WhenVotersChange { fault, until };
                    self.queue.push(now + VOTERS_LOOK, Event::Fault(again));
                }
            }
        }
    }

    /// Ends all faults: mends what is cut, installs agents that the mesh still takes, and
    /// starts hosts that are down.
    pub fn heal(&mut self) {
        self.say("all is healed".into());
        // A stall ends by itself.
        let stalls_end = self.hosts.iter().map(|host| host.stalled_until).max();
        self.healed_at = stalls_end.max(Some(self.now)).unwrap_or_default();
        self.network.mend_all();
        let quality = self.network.quality_mut();
        quality.loss_per_million = 0;
        quality.duplicates_per_million = 0;
        quality.strays_per_million = 0;
        quality.echoes_per_million = 0;
        self.queue_drop_faults();
        self.end_lies();
        let version = self.checks.model.version();
        for no in 0..self.hosts.len() {
            if self.hosts[no].profile.wire < version {
                let install = Fault::Install {
                    host: self.hosts[no].no,
                    wire: proto::wire::WIRE,
                    back_after: Duration::ZERO,
                };
                self.fault(install);
            }
            let host = &mut self.hosts[no];
            host.disk.set_slowness(0);
            if !host.is_up() {
                let no = host.no;
                self.queue.push(self.now, Event::Start { host: no });
            }
        }
    }

    /// Drops the faults that are still in the queue.
    fn queue_drop_faults(&mut self) {
        self.queue.retain(|event| !matches!(event, Event::Fault(_)));
    }

    fn cut(&mut self, from: &BTreeSet<HostNo>, to: &BTreeSet<HostNo>, both_ways: bool) {
        let later = self.network.cut(from, to, self.now);
        self.later(later);
        if both_ways {
            let later = self.network.cut(to, from, self.now);
            self.later(later);
        }
    }

    pub(super) fn down(&mut self, no: HostNo, how: Crash) {
        let host = &mut self.hosts[no.index()];
        if host.node.take().is_none() {
            return;
        }
        host.wake_at = None;
        host.at_write = None;
        host.stalled_until = self.now;
        self.waiting.remove(&no);
        self.outside.crash(no);
        let host = &mut self.hosts[no.index()];
        host.hooks.crash();
        host.disk.crash(how, &mut self.chance.disks);
        self.checks.promises.synced(no, host.disk.synced());
        let how_said = match how {
            Crash::Process => "is killed",
            Crash::Power => "loses power",
        };
        self.say(format!("{no} {how_said}"));
        self.trace.note(|| Record::Down { host: no });
        self.checks.host_down(no);
        let later = self.network.host_down(no, how == Crash::Process, self.now);
        self.later(later);
        self.forget_requests_of(no);
    }

    /// Takes the host down, never to be started again.
    pub(super) fn switch_off(&mut self, no: HostNo) {
        self.down(no, Crash::Power);
        self.hosts[no.index()].is_off = true;
        self.say(format!("{no} is switched off for good"));
    }

    pub(super) fn start_after(&mut self, host: HostNo, after: Option<Duration>) {
        if let Some(after) = after {
            self.queue.push(self.now + after, Event::Start { host });
        }
    }

    /// Returns the host that is meant; `None` if it does not exist or is down.
    pub fn find(&self, who: Who) -> Option<HostNo> {
        let host = match who {
            Who::Host(host) => Some(host),
            Who::Leader => self.leader(),
            Who::Reader(alarm) => self.outside.reader(&alarm),
            Who::Teller(trigger) => self.outside.teller(&trigger),
            Who::InTurn => self
                .hosts
                .iter()
                .find(|host| host.is_up() && host.hooks.running().next().is_some())
                .map(|host| host.no),
            Who::Voter(from) => {
                let leader = self.leader();
                let votes = |host: &HostNo| self.hosts[host.index()].node().is_some_and(Node::is_voting);
                let count = self.hosts.len();
                let mut hosts = (0..count).map(|no| HostNo::from_index((from.index() + no) % count));
                hosts.find(|host| votes(host) && Some(*host) != leader)
            }
        };
        host.filter(|host| self.hosts[host.index()].is_up())
    }

    /// Returns the leader, as seen by the host with the highest index.
    pub fn leader(&self) -> Option<HostNo> {
        let (_, node) = self.nodes().max_by_key(|(_, node)| node.state().index())?;
        self.numbers.get(&node.mesh().leader?).copied()
    }

    /// Changes the settings of all hosts from their next start on.
    pub fn tune(&mut self, tuning: Tuning) {
        self.hosts.iter_mut().for_each(|host| host.tuning = tuning);
    }

    /// Returns true if the ledger survives the loss of the host's disk. It
    /// survives the loss of one of three disks, but not of the only one. The
    /// voters must have changed to the new number of a wiped host before
    /// another host is wiped.
    fn may_wipe(&self, host: HostNo) -> bool {
        let Some((_, node)) = self.nodes().max_by_key(|(_, node)| node.state().index()) else { return false };
        let votes_anew = |wiped: &SimHost| {
            let number = wiped.node().map(Node::voter);
            let known = node.state().host(wiped.id).map(|known| known.record.voter);
            number.is_some() && number == known
        };
        let voters = node.mesh().voters;
        let is_voter = voters.contains(&self.hosts[host.index()].id);
        let all_wiped_are_back = self.hosts.iter().filter(|host| host.was_wiped).all(votes_anew);
        // The voters are looked up by their new numbers: an old number that
        // still votes has lost what it knew.
        let lost_none = self.checks.promises.lost_voters(node).is_empty();
        let is_newest = node.state().index() >= self.checks.agreement.last();
        // Of two hosts, the voter may be about to be removed; then only the
        // other host still has the ledger.
        let nobody_goes = self.requests.taken_out().is_empty();
        let everybody_agrees = self.nodes().all(|(_, node): (_, &Node)| node.mesh().voters == voters);
        let is_spare = !voters.is_empty() && nobody_goes;
        // Also while voters hand over: an election needs most of both.
        let most_are_left = self.checks.promises.can_lose(host);
        let may_go = most_are_left && (is_voter || is_spare);
        all_wiped_are_back && lost_none && is_newest && everybody_agrees && may_go
    }
}

/// Displays a duration in seconds, with one decimal.
pub struct Shown(pub Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

fn names(hosts: &BTreeSet<HostNo>) -> String {
    hosts.iter().map(HostNo::to_string).collect::<Vec<_>>().join(",")
}
