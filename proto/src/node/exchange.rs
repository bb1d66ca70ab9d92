//! What hosts say to each other, and what a node makes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Heard, HeardClock, Node, Why};
use crate::entry::{BODY_BYTES_MAX, Body, Entry, Index, ProposalId, TurnOutcome};
use crate::id::{DeploymentId, HostId};
use crate::io::{Notice, Output, Progress, WriteId};
use crate::ledger::{LogEntry, RaftMessage, Refused, Snapshot};
use crate::mesh::liveness::{BEACON_EVERY, LOST_TOLD_MAX};
use crate::rollout::{FAILURES_TOLD, Stage};
use crate::state::State;
use crate::time::Time;
use crate::wire::{self, Beacon, Message};

/// What was asked for comes within this, or another neighbour is asked.
const WANT_AGAIN: Duration = Duration::from_millis(300);
/// Progress is told at most so often: beyond it only the newest counts.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Hosts of a mesh in which everybody is a neighbour and is told directly.
const TOLD_DIRECTLY_MAX: usize = 21;
/// Turns of which progress is remembered.
const PROGRESS_KEPT: usize = 50_000;

impl Node {
    pub(super) fn on_connected(&mut self, host: HostId, now: Time) {
        self.liveness.connected(host, now);
        if self.retired {
            self.outputs.push_back(Output::Disconnect { host });
        }
        // What either lacks is known at once, not at the next beacon.
        self.send(host, &self.beacon(now));
    }

    pub(super) fn on_frame(&mut self, from: HostId, frame: &[u8], now: Time) {
        let message = match wire::unframe(self.config.mesh, frame) {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%from, %error, "frame refused");
                return;
            }
        };
        if self.liveness.heard(from, now) {
            self.deadlines.set(Why::Beacon, now);
        }
        match message {
            Message::Beacon(beacon) => self.on_beacon(from, beacon, now),
            Message::Raft(message) => self.on_raft(from, *message),
            Message::Propose { id, body, forwarded } => self.on_propose(id, *body, forwarded, now),
            Message::Want { after } => self.on_want(from, after),
            Message::Committed(entries) => self.on_committed(entries, from, now),
            Message::Snapshot(snapshot) => self.on_snapshot(*snapshot, from),
            Message::Progress(heard) => self.on_progress(heard.into()),
            Message::Look { group, number } => self.on_look(from, &group, number, now),
            Message::Seen { group, number, error } => self.on_seen(from, &group, number, error, now),
        }
    }

    fn on_beacon(&mut self, from: HostId, beacon: Beacon, now: Time) {
        let (index, hash) = self.ledger.head();
        if beacon.index == index && beacon.hash != hash && index > 0 {
            tracing::error!(%from, index, "this host and its neighbour hold different ledgers");
            self.outputs.push_back(Output::Notify(Notice::Diverged { with: from, index }));
            return;
        }
        let lost: BTreeSet<HostId> = beacon.lost.iter().take(LOST_TOLD_MAX).copied().collect();
        self.liveness.told(from, beacon.index, lost);
        self.hear_clock(beacon.clock, now);
        let ahead = self.clock_ahead(beacon.wall, now);
        let heard = Heard {
            voter: beacon.voter,
            incarnation: beacon.incarnation,
            index: beacon.index,
            leader: beacon.leader,
            clock: HeardClock { wall: beacon.wall, at: now, ahead },
        };
        let before = self.heard.insert(from, heard);
        self.tell_clock_of(from, before.as_ref().map(|before| before.clock.ahead), ahead);
        if before.is_none_or(|before| before.incarnation != beacon.incarnation) {
            // Whether a host that was Down is seen again hangs on this.
            self.duties_of = None;
        }
        if beacon.index > index {
            self.want(from, now);
        }
    }

    /// Asks for what comes next, unless somebody was asked just now.
    pub(super) fn want(&mut self, from: HostId, now: Time) {
        let asked_just_now = self.wanted_at.is_some_and(|at| now.since(at) < WANT_AGAIN);
        if !self.ledger.is_following() || asked_just_now {
            return;
        }
        self.wanted_at = Some(now);
        self.deadlines.set(Why::Want, now + WANT_AGAIN);
        let (after, _) = self.ledger.head();
        self.send(from, &Message::Want { after });
    }

    /// Asks again, if this host still lags behind somebody it hears.
    pub(super) fn want_again(&mut self, now: Time) {
        let (index, _) = self.ledger.head();
        let ahead = self
            .heard
            .iter()
            .filter(|(host, heard)| heard.index > index && self.liveness.is_heard(**host))
            .map(|(host, _)| *host)
            .collect::<Vec<_>>();
        if let Some(host) = pick(&mut self.rng, &ahead) {
            self.want(host, now);
        }
    }

    fn on_want(&mut self, from: HostId, after: Index) {
        if after >= self.ledger.head().0 {
            return;
        }
        if let Some(entries) = self.ledger.entries_after(after) {
            self.send(from, &Message::Committed(entries));
            return;
        }
        if self.ledger.offered(after).is_none() {
            self.ledger.take_snapshot(self.state.encode());
        }
        if let Some(snapshot) = self.ledger.offered(after).cloned() {
            self.send(from, &Message::Snapshot(Box::new(snapshot)));
        }
    }

    fn on_committed(&mut self, entries: Vec<LogEntry>, from: HostId, now: Time) {
        let first = entries.first().map(|entry| entry.index);
        if self.ledger.follow(entries) > 0 {
            self.wanted_at = None;
        } else if first.is_some_and(|first| first > self.ledger.head().0 + 1) {
            self.want(from, now);
        }
    }

    fn on_snapshot(&mut self, snapshot: Snapshot, from: HostId) {
        match State::decode(&snapshot.state, snapshot.index) {
            Ok(_) if self.ledger.follow_snapshot(snapshot) => self.wanted_at = None,
            Ok(_) => {}
            Err(error) => tracing::warn!(%from, %error, "a neighbour's snapshot cannot be used"),
        }
    }

    fn on_raft(&mut self, from: HostId, message: RaftMessage) {
        let claimed = message.from;
        let is_theirs = self.voter_hosts.get(&claimed) == Some(&from)
            || (!self.voter_hosts.contains_key(&claimed)
                && self.heard.get(&from).is_some_and(|heard| heard.voter == claimed));
        if !is_theirs {
            tracing::debug!(%from, voter = %claimed, "a voter's message from another host is refused");
            return;
        }
        match self.ledger.step(message) {
            Ok(()) => {}
            Err(Refused::Amnesia) => {
                self.forget_promises("a leader knows of entries that the store has lost")
            }
            Err(refused) => tracing::debug!(%from, %refused, "a message of consensus is refused"),
        }
    }

    fn on_propose(&mut self, id: ProposalId, body: Body, forwarded: bool, now: Time) {
        if wire::encode(&body).len() > BODY_BYTES_MAX {
            return;
        }
        if self.ledger.is_leader() {
            self.put_in_order(id, body, now);
        } else if !forwarded
            && let Some(leader) = self.leader()
            && let Some(host) = self.voter_hosts.get(&leader).copied()
            && host != self.config.host
        {
            self.send(host, &Message::Propose { id, body: Box::new(body), forwarded: true });
        }
    }

    /// Proposes one of this host's own.
    pub(super) fn send_proposal(&mut self, id: ProposalId, body: Body, now: Time) {
        if self.ledger.is_leader() {
            self.put_in_order(id, body, now);
            return;
        }
        if let Some(host) = self.host_to_propose_to() {
            self.send(host, &Message::Propose { id, body: Box::new(body), forwarded: false });
        }
    }

    /// The leader if it is known and heard; else any voter that is; else, before this
    /// host knows of any, whoever is there. A link that is cut stays connected for
    /// up to a minute, but falls silent at once.
    fn host_to_propose_to(&mut self) -> Option<HostId> {
        let leader = self.leader().and_then(|leader| self.voter_hosts.get(&leader).copied());
        if let Some(leader) = leader
            && self.liveness.is_heard(leader)
        {
            return Some(leader);
        }
        let heard = self.liveness.all_heard();
        let voters = self.ledger.voters().voters.iter();
        let voters: Vec<HostId> = voters
            .filter_map(|voter| self.voter_hosts.get(voter).copied())
            .filter(|host| heard.contains(host))
            .collect();
        let anybody: Vec<HostId> = heard.into_iter().collect();
        pick(&mut self.rng, if voters.is_empty() { &anybody } else { &voters })
    }

    pub(super) fn put_in_order(&mut self, proposal: ProposalId, body: Body, now: Time) {
        // What a lagging host repeats would only make the ledger longer.
        if self.state.is_settled(&body) {
            return;
        }
        if !self.catch_up_clock(now) {
            return;
        }
        let at = self.ledger_now(now);
        // Hosts whose clocks run a little ahead of this one's ask for it too early.
        if body == Body::Tick && self.state.next_timer().is_some_and(|timer| timer > at) {
            return;
        }
        self.ledger.propose(&Entry { at, proposal, body });
    }

    fn on_progress(&mut self, progress: Progress) {
        let rollout = self.state.rollout(progress.deployment);
        let member = rollout.and_then(|rollout| rollout.members().get(&progress.host));
        let is_expected = member.is_some_and(|member| !matches!(member.stage, Stage::Ended { .. }));
        if is_expected && self.progress.len() < PROGRESS_KEPT {
            self.progress.insert((progress.deployment, progress.host), progress.event);
            self.outputs.push_back(Output::Notify(Notice::Progress(progress)));
        }
    }

    /// Of a turn that its host has ended nothing needs to be remembered. Where
    /// those were that a timer ended is all that anybody knows of them, so some
    /// of it stays, for as long as their deployment does.
    pub(super) fn forget_progress(&mut self, body: &Body) {
        if let Body::TurnEnded { deployment, host, .. } = body
            && !is_worth_remembering(&self.state, *deployment, *host)
        {
            self.progress.remove(&(*deployment, *host));
        }
        if let Body::Finished { deployment } = body {
            let mut left = 0;
            self.progress.retain(|(of, _), _| {
                left += u32::from(of == deployment);
                (of != deployment || left <= FAILURES_TOLD) && self.state.rollout(*of).is_some()
            });
        }
    }

    /// The same after a snapshot, which tells of no turn's end.
    pub(super) fn forget_progress_of_the_past(&mut self) {
        self.progress.retain(|(of, host), _| is_worth_remembering(&self.state, *of, *host));
    }

    /// This host's own turn is in another event: told to all, not too often.
    pub(super) fn tell_progress(
        &mut self,
        deployment: DeploymentId,
        event: crate::lifecycle::LifecycleEvent,
        now: Time,
    ) {
        let host = self.config.host;
        self.progress.insert((deployment, host), event);
        self.outputs.push_back(Output::Notify(Notice::Progress(Progress { deployment, host, event })));
        self.unsent_progress = Some((deployment, event));
        self.deadlines.set_if_none(Why::Progress, now + PROGRESS_EVERY);
    }

    pub(super) fn publish_progress(&mut self) {
        if let Some((deployment, event)) = self.unsent_progress.take() {
            let heard = wire::Heard { deployment, host: self.config.host, event };
            self.tell(self.liveness.connections(), &Message::Progress(heard));
        }
    }

    /// Tells these hosts, or all if the mesh is too large to tell each: then
    /// neighbours pass it on. Gossip costs every host a millisecond a message,
    /// most of it for copies that it has already.
    pub(super) fn tell(&mut self, hosts: BTreeSet<HostId>, message: &Message) {
        let frame = wire::frame(self.config.mesh, message);
        if self.members.len() > TOLD_DIRECTLY_MAX {
            self.outputs.push_back(Output::Publish { frame });
            return;
        }
        let sends = hosts.into_iter().map(|to| Output::Send { to, frame: frame.clone() });
        self.outputs.extend(sends);
    }

    pub(super) fn beacon_all(&mut self, now: Time) {
        self.steer_clock(now);
        let frame = wire::frame(self.config.mesh, &self.beacon(now));
        let to_all = self.liveness.connections().into_iter();
        self.outputs.extend(to_all.map(|to| Output::Send { to, frame: frame.clone() }));
        self.deadlines.set(Why::Beacon, now + BEACON_EVERY);
    }

    fn beacon(&self, now: Time) -> Message {
        let (index, hash) = self.ledger.told_head();
        Message::Beacon(Beacon {
            incarnation: self.meta.incarnation,
            voter: self.meta.voter,
            index,
            hash,
            leader: self.leader(),
            wall: now.to_ledger(),
            clock: self.clock.counted(now),
            lost: self.liveness.lost().iter().take(LOST_TOLD_MAX).copied().collect(),
        })
    }

    pub(super) fn send_raft(&mut self, messages: Vec<RaftMessage>) {
        for message in messages {
            let to = self.voter_hosts.get(&message.to).copied().or_else(|| {
                self.heard.iter().find(|(_, heard)| heard.voter == message.to).map(|(host, _)| *host)
            });
            if let Some(to) = to {
                self.send(to, &Message::Raft(Box::new(message)));
            }
        }
    }

    pub(super) fn send(&mut self, to: HostId, message: &Message) {
        let frame = wire::frame(self.config.mesh, message);
        if frame.len() > wire::FRAME_BYTES_MAX {
            let (bytes, limit) = (frame.len(), wire::FRAME_BYTES_MAX);
            tracing::error!(%to, bytes, limit, "what a host lacks is too long to be sent: it cannot catch up");
            return;
        }
        self.outputs.push_back(Output::Send { to, frame });
    }

    pub(super) fn on_persisted(&mut self, write: WriteId, now: Time) {
        if self.uncounted.is_some_and(|uncounted| uncounted <= write) {
            self.uncounted = None;
        }
        let messages = self.ledger.persisted(write);
        self.send_raft(messages);
        while let Some(done) = self.recorded.pop_front_if(|unrecorded| unrecorded.write <= write) {
            self.on_recorded(done.turns, now);
        }
    }
}

fn pick(rng: &mut rand_chacha::ChaCha8Rng, hosts: &[HostId]) -> Option<HostId> {
    use rand::RngExt;
    if hosts.is_empty() { None } else { Some(hosts[rng.random_range(0..hosts.len())]) }
}

/// Whether nobody else knows in which event the turn is, or was when it ended. Of a
/// deployment that is over what is left was looked at before.
fn is_worth_remembering(state: &State, deployment: DeploymentId, host: HostId) -> bool {
    let Some(rollout) = state.rollout(deployment) else { return false };
    rollout.members().get(&host).is_none_or(|member| match &member.stage {
        Stage::Ended { outcome: TurnOutcome::Failed(failure), .. } => failure.code.is_of_a_timer(),
        Stage::Ended { outcome: TurnOutcome::Succeeded, .. } => false,
        Stage::NotTargeted
        | Stage::Pending
        | Stage::Leased { .. }
        | Stage::Started { .. }
        | Stage::Skipped => true,
    })
}
