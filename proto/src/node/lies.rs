//! False frames of a member that lies, beside the true ones.
//!
//! For tools that test how much a mesh tolerates, such as the simulator. No node
//! reads anything of this.
//!
//! It produces only lies that an honest mesh must tolerate. The following are
//! believed by design as long as entries and votes are not signed, so they are left
//! out:
//!
//! - what a voter says in consensus about its own log and its own votes and, if it
//!   leads, about the entries: raft tolerates hosts that fail, and none that lie. About
//!   itself a voter claims far terms here, and repeats old frames;
//! - what a voter answers to a host that follows, and what the first neighbour answers
//!   to a host that knows no voter yet;
//! - what one of three voters relays for another that the leader does not hear: nobody
//!   else could relay it;
//! - what a host says about itself, about its own turn, and about what it reads or tells
//!   for all (alarms, triggers, the application of another host as it sees it). That
//!   includes the frames of its earlier starts: to the mesh, a host that repeats how it
//!   announced an earlier start is two agents with one key;
//! - what the only host that could help tells a host that was away for long, after ten
//!   minutes;
//! - that a host is Down or up again, which any member may propose: the others correct a
//!   false word as soon as they notice;
//! - what any member may request in a person's name, for example a removal.

use std::collections::VecDeque;

use super::Node;
use crate::entry::{Creator, HostRecord, Index, ProposalId, Submission, TurnOutcome};
use crate::form::Version;
use crate::id::{DeploymentId, HostId, VoterId};
use crate::ledger::{Content, Kind, LogEntry, RaftMessage, Snapshot};
use crate::lifecycle::LifecycleEvent;
use crate::rollout::Rollout;
use crate::statement::{Finding, Report, Statement};
use crate::time::LedgerTime;
use crate::wire::{self, Beacon, Message, ProgressEvent};

/// Frames that are kept to be sent again.
const REMEMBERED_MAX: usize = 64;
/// An index that no ledger reaches; in milliseconds, 35 years.
const FAR: u64 = 1 << 40;
/// Ten minutes in milliseconds.
const MINUTES: u64 = 600_000;
/// A term that a voter still accepts: the limit is not much higher.
const FAR_TERM: u64 = 1 << 19;

/// Of so many voters only one is left to relay what a third one says, if the leader
/// does not hear that one.
const ONE_RELAYS: usize = 3;

/// Draws a number below another one.
pub type Dice<'a> = &'a mut dyn FnMut(u64) -> u64;

/// A member that lies, and the frames that it has sent.
#[derive(Debug, Default)]
pub struct Liar {
    /// The start that sent the frames.
    start: u64,
    sent: VecDeque<Vec<u8>>,
    proposals: u64,
}

impl Liar {
    /// Remembers a true frame from `me` to `to`, and returns a false one to send
    /// beside it, unless it has no lie of that kind.
    pub fn lie(&mut self, me: &Node, to: &Node, frame: &[u8], dice: Dice<'_>) -> Option<Vec<u8>> {
        let mesh = me.config.mesh;
        if self.start != me.own.start {
            self.start = me.own.start;
            self.sent.clear();
        }
        self.sent.push_back(frame.to_vec());
        if self.sent.len() > REMEMBERED_MAX {
            self.sent.pop_front();
        }
        if dice(4) == 0 {
            let old = dice(self.sent.len() as u64);
            return self.sent.get(usize::try_from(old).ok()?).cloned();
        }
        let (history, message) = wire::unframe(mesh, frame, Version::NEWEST).ok()?;
        let lie = match message {
            // Only the leader takes proposals.
            Message::Beacon(beacon) => match dice(if to.ledger.is_leader() { 6 } else { 3 }) {
                0 => Some(Message::Beacon(altered_beacon(me, beacon, dice))),
                1 => made_up_raft(me, to, dice),
                _ => self.proposal(me, to, dice),
            },
            Message::Raft(message) => altered_raft(me, *message, dice),
            Message::Propose { statement, .. } => {
                let (host, _) = another(me, dice)?;
                Some(self.propose(to, host, *statement, dice))
            }
            Message::Committed(entries) => match altered_entries(me, to, entries, dice) {
                Some(entries) => Some(entries),
                None => false_snapshot(me, to, dice),
            },
            Message::Snapshot(_) => false_snapshot(me, to, dice),
            Message::Confirm { index } | Message::Confirmed { index, .. } => {
                Some(Message::Confirmed { index, seal: drawn(dice) })
            }
            Message::Progress(heard) => {
                let (host, _) = another(me, dice)?;
                Some(Message::Progress(ProgressEvent {
                    host,
                    event: LifecycleEvent::ValidateService,
                    ..heard
                }))
            }
            Message::Places(places) => {
                let nowhere = |(host, _)| (host, vec!["/ip4/203.0.113.1/udp/1/quic-v1".to_string()]);
                Some(Message::Places(places.into_iter().map(nowhere).collect()))
            }
            Message::Want { .. }
            | Message::Look { .. }
            | Message::Seen { .. }
            | Message::WhereAre(_)
            | Message::Recoveries(_) => None,
        }?;
        Some(wire::frame(mesh, history, &lie))
    }

    /// Makes a proposal about another host or a deployment, in the name of either.
    fn proposal(&mut self, me: &Node, to: &Node, dice: Dice<'_>) -> Option<Message> {
        let (host, record) = another(me, dice)?;
        let rollouts: Vec<&Rollout> = me.state.running().collect();
        let rollout = pick(&rollouts, dice).copied();
        let deployment = rollout.map(|rollout| rollout.submission.deployment);
        let statement = match dice(9) {
            0 => Report::HostJoined(HostRecord { tags: Default::default(), ..record }).into(),
            1 => Report::HostJoined(HostRecord { incarnation: record.incarnation + 9, ..record }).into(),
            2 => Report::TurnStarted { deployment: deployment?, host }.into(),
            3 | 7 => {
                Report::TurnEnded { deployment: deployment?, host, outcome: TurnOutcome::Succeeded }.into()
            }
            4 => Finding::Finished { deployment: deployment? }.into(),
            8 => Finding::MeshVersion(me.state.mesh_version().saturating_add(1)).into(),
            5 => Finding::Spelled(Box::new(forged(&rollout?.submission, dice))).into(),
            _ => {
                let group = rollout?.submission.group.clone();
                let error = "a lie".to_string();
                Report::HealthChanged { group, host, healthy: false, error, as_of: me.state.index() }.into()
            }
        };
        let in_whose_name = if dice(2) == 0 { host } else { me.config.host };
        Some(self.propose(to, in_whose_name, statement, dice))
    }

    /// Under a start that the host never had: the mesh remembers of each start which
    /// proposals it has seen, and would take the host's next true one for a repetition.
    fn propose(&mut self, to: &Node, host: HostId, statement: Statement, dice: Dice<'_>) -> Message {
        self.proposals += 1;
        let id = ProposalId { host, incarnation: 0, number: self.proposals };
        let forwarded = dice(2) == 0 && to.ledger.voters().voters.len() > ONE_RELAYS;
        Message::Propose { id, statement: Box::new(statement), forwarded }
    }
}

fn pick<'a, T>(from: &'a [T], dice: Dice<'_>) -> Option<&'a T> {
    if from.is_empty() { None } else { from.get(usize::try_from(dice(from.len() as u64)).ok()?) }
}

/// Picks a member other than this one.
fn another(me: &Node, dice: Dice<'_>) -> Option<(HostId, HostRecord)> {
    let others: Vec<&HostRecord> =
        me.state.hosts().values().map(|host| &host.record).filter(|it| it.host != me.config.host).collect();
    pick(&others, dice).map(|record| (record.host, (*record).clone()))
}

fn drawn(dice: Dice<'_>) -> [u8; 32] {
    *blake3::hash(&dice(u64::MAX).to_le_bytes()).as_bytes()
}

fn altered_beacon(me: &Node, beacon: Beacon, dice: Dice<'_>) -> Beacon {
    let index = beacon.index;
    let others: Vec<HostId> = me.state.hosts().keys().copied().filter(|it| *it != me.config.host).collect();
    match dice(7) {
        0 => Beacon { index: index + 1 + dice(FAR), ..beacon },
        1 => Beacon { hash: drawn(dice), ..beacon },
        2 => Beacon { leader: another(me, dice).map(|(_, record)| record.voter), ..beacon },
        3 => Beacon { lost: others, ..beacon },
        4 => {
            // Hosts compare only the seals of checkpoints that both have.
            let sealed = beacon.checkpoint.map_or(index, |(sealed, _)| sealed);
            Beacon { checkpoint: Some((sealed, drawn(dice))), ..beacon }
        }
        5 => Beacon { wall: wrong_time(beacon.wall, dice), ..beacon },
        _ => Beacon { clock: Some(wrong_time(beacon.clock.unwrap_or(beacon.wall), dice)), ..beacon },
    }
}

/// Returns a time before or after the right one: by minutes, which might be believed, or
/// by years.
fn wrong_time(right: LedgerTime, dice: Dice<'_>) -> LedgerTime {
    let most = if dice(2) == 0 { MINUTES } else { FAR };
    LedgerTime::from_millis(right.as_millis().saturating_sub(most / 2).saturating_add(dice(most)))
}

/// Makes a frame of consensus under another voter's number, or under this host's own
/// if it is no voter.
fn made_up_raft(me: &Node, to: &Node, dice: Dice<'_>) -> Option<Message> {
    let kinds = [
        Kind::Append,
        Kind::AppendResponse,
        Kind::RequestVote,
        Kind::RequestVoteResponse,
        Kind::Heartbeat,
        Kind::HeartbeatResponse,
        Kind::TimeoutNow,
    ];
    let kind = *pick(&kinds, dice)?;
    let votes = to.ledger.voters().has(me.own.meta.voter) || me.ledger.voters().has(me.own.meta.voter);
    let from = if votes || dice(2) == 0 { another(me, dice)?.1.voter } else { me.own.meta.voter };
    let term = if dice(2) == 0 { FAR_TERM + dice(FAR_TERM) } else { 1 + dice(12) };
    let (index, _) = to.ledger.head();
    let content = Content::Entry(b"a lie".to_vec());
    let entries = vec![LogEntry { index: index + 1, term, content }];
    Some(Message::Raft(Box::new(RaftMessage {
        kind,
        to: to.own.meta.voter,
        from,
        term,
        log_term: 1 + dice(term),
        index,
        entries: if kind == Kind::Append { entries } else { Vec::new() },
        commit: if dice(2) == 0 { FAR } else { index + 1 },
        commit_term: 0,
        snapshot: None,
        request_snapshot: 0,
        reject: dice(2) == 0,
        reject_hint: dice(FAR),
        context: Vec::new(),
    })))
}

/// Alters a voter's frame: the number of its sender or its receiver, or its term where
/// that promises nothing.
fn altered_raft(me: &Node, message: RaftMessage, dice: Dice<'_>) -> Option<Message> {
    let third = another(me, dice)?.1.voter;
    let promises_nothing = match message.kind {
        Kind::RequestPreVote | Kind::RequestPreVoteResponse | Kind::HeartbeatResponse => true,
        Kind::AppendResponse | Kind::RequestVoteResponse => message.reject,
        Kind::Append | Kind::RequestVote | Kind::Heartbeat | Kind::Snapshot | Kind::TimeoutNow => false,
    };
    let altered = match dice(3) {
        0 => RaftMessage { from: if third == message.to { VoterId(99) } else { third }, ..message },
        1 if third != message.to => RaftMessage { to: third, ..message },
        _ if promises_nothing => RaftMessage { term: message.term + 1 + dice(FAR_TERM), ..message },
        _ => RaftMessage { from: VoterId(99), commit: FAR, ..message },
    };
    Some(Message::Raft(Box::new(altered)))
}

/// Makes a rollback or a catch-up that the mesh does not owe.
fn forged(submission: &Submission, dice: Dice<'_>) -> Submission {
    let (creator, rollback_of) = match dice(2) {
        0 => (Creator::Autoscale, None),
        _ => (Creator::Rollback, Some(submission.deployment)),
    };
    let mut forged = Submission { creator, rollback_of, ..submission.clone() };
    forged.deployment = DeploymentId::derive(&drawn(dice));
    forged.revision.digest.0 = drawn(dice);
    forged
}

/// Alters entries, for a host that does not believe this one.
fn altered_entries(me: &Node, to: &Node, mut entries: Vec<LogEntry>, dice: Dice<'_>) -> Option<Message> {
    let known = to.voters_known();
    if known.is_empty() || known.contains(&me.config.host) {
        return None;
    }
    let at = usize::try_from(dice(entries.len() as u64)).ok()?;
    entries.get_mut(at)?.content = Content::Empty;
    Some(Message::Committed(entries))
}

/// Makes a snapshot of a far index, for a host of whose voters this one is not the
/// majority.
fn false_snapshot(me: &Node, to: &Node, dice: Dice<'_>) -> Option<Message> {
    let (voters, known) = (&to.ledger.voters().voters, to.voters_known());
    if known.is_empty() || (voters.len() < 2 && known.contains(&me.config.host)) {
        return None;
    }
    let index: Index = me.state.index() + 1 + dice(FAR);
    let mut state = me.state.clone();
    state.skip(index);
    let (term, hash, voters) = (1 + dice(12), drawn(dice), me.ledger.voters().clone());
    Some(Message::Snapshot(Box::new(Snapshot { index, term, hash, voters, state: state.encode() })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Stored;
    use crate::node::tests::config;
    use crate::time::Time;

    #[test]
    fn it_repeats_no_frame_of_an_earlier_start() {
        let start = |number: u8, seed: u64| {
            let config = crate::config::Config { seed, ..config(number) };
            Node::start(config, Stored::default(), Time::from_micros(1)).expect("it starts")
        };
        let (first, second, other) = (start(0, 1), start(0, 2), start(1, 3));
        let mut liar = Liar::default();
        // With this die it always repeats the first frame that it remembers.
        let mut lie = |me: &Node, frame: &[u8]| liar.lie(me, &other, frame, &mut |_| 0);
        assert_eq!(lie(&first, b"one"), Some(b"one".to_vec()));
        assert_eq!(lie(&first, b"two"), Some(b"one".to_vec()));
        assert_eq!(lie(&second, b"three"), Some(b"three".to_vec()));
    }
}
