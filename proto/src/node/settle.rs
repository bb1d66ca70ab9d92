//! Settling, after every input: carries what one part has found out to the others,
//! until no part has anything new to say.

use std::collections::BTreeSet;
use std::time::Duration;

use super::duties;
use super::voting::VOTERS_EVERY;
use super::{Halt, Node, Why, decode_entry};
use crate::entry::{Entry, Index};
use crate::id::HostId;
use crate::io::{Notice, Output, Refusal};
use crate::ledger::{Committed, Content, LogEntry, Snapshot, TICK};
use crate::mesh::liveness::Judgement;
use crate::mesh::{Contact, MeshInput};
use crate::state::{Host, State};
use crate::statement::{Finding, Intent, Report, Statement};
use crate::time::Time;
use crate::wire::Message;

/// The most rounds of one settling. More would mean that we made a mistake.
const ROUNDS_MAX: usize = 10_000;

impl Node {
    pub(super) fn settle(&mut self, now: Time) {
        self.take_due(now);
        // This happens once for each input, with what the last one left. So a
        // reader that looks at the node in between still finds everything that it
        // has just folded.
        if self.ledger.wants_snapshot() {
            self.ledger.take_snapshot(self.state.encode());
        }
        self.ledger.cut();
        for _ in 0..ROUNDS_MAX {
            let worked = self.work_ledger(now) | self.work_health(now) | self.propose_owed(now);
            if !worked {
                self.retire(now);
                self.answer_farewells(now);
                self.set_deadlines(now);
                return;
            }
        }
        unreachable!("a node settles in {ROUNDS_MAX} rounds");
    }

    fn take_due(&mut self, now: Time) {
        while let Some(why) = self.time.deadlines.due(now) {
            match why {
                Why::Tick => self.ledger.tick(),
                Why::Beacon => self.beacon_all(now),
                Why::Silence => self.tell_mesh(MeshInput::SilenceDue, now),
                Why::Proposals => {
                    for pending in self.proposals.expired(now) {
                        self.give_up(pending);
                    }
                }
                Why::Want => self.want_again(now),
                Why::Progress => self.publish_progress(),
                Why::Voters => self.change_voters(now),
                // The reasons for these are found by looking.
                Why::Duties | Why::LedgerTimer | Why::Assignments | Why::Health | Why::Farewells => {}
            }
        }
    }

    /// Writes, sends and folds what the ledger has. Returns true if there was
    /// anything.
    fn work_ledger(&mut self, now: Time) -> bool {
        let leader = self.leader();
        let todo = self.ledger.todo(self.writes.next());
        let worked = todo.is_some();
        let todo = todo.unwrap_or_default();
        self.send_raft(todo.messages);
        if let Some(write) = self.writes.take(todo.changes, todo.sync, worked, now) {
            self.outputs.push_back(Output::Persist(write));
        } else if worked {
            // There is nothing to write and no write under way, so it is as good as
            // done.
            let write = self.writes.skip();
            self.on_persisted(write, now);
        }
        let folded = !todo.committed.is_empty();
        self.announce(&todo.committed);
        for committed in todo.committed {
            match committed {
                Committed::Entry(entry) => self.fold(&entry, now),
                Committed::Snapshot(snapshot) => self.adopt(&snapshot, now),
            }
        }
        let writes_on = self.ledger.settle_role(self.writes.is_idle());
        if folded {
            self.after_folding(now);
        }
        if leader != self.leader() && self.leader().is_some() {
            self.proposals.resend(now);
        }
        worked || writes_on
    }

    /// Lets the leader itself tell each host that only follows, because followers
    /// would not believe it from neighbours. A host that misses this hears of the
    /// index in the next beacon.
    fn announce(&mut self, committed: &[Committed]) {
        let all_vote = self.mesh.members().len() <= self.ledger.voters().all().len();
        if !self.ledger.is_leader() || all_vote {
            return;
        }
        let entries: Vec<LogEntry> = committed
            .iter()
            .filter_map(|committed| match committed {
                Committed::Entry(entry) => Some(entry.clone()),
                Committed::Snapshot(_) => None,
            })
            .collect();
        if !entries.is_empty() {
            let voters = self.ledger.voters().all();
            let votes = |host: &HostId| {
                self.state.host(*host).is_some_and(|host| voters.contains(&host.record.voter))
            };
            let followers = self.hosts_in_reach().into_iter().filter(|host| !votes(host)).collect();
            self.tell(followers, &Message::Committed(entries));
        }
    }

    fn fold(&mut self, logged: &LogEntry, now: Time) {
        if self.own.halted.is_some() {
            return;
        }
        if let Content::Recovered(signed) = &logged.content {
            return self.fold_recovery(logged, signed, now);
        }
        match decode_entry(logged, self.config.reads()) {
            Ok(Some(entry)) => self.fold_entry(logged, &entry, now),
            Ok(None) => {
                self.ledger.note_folded(logged);
                self.state.skip(logged.index);
                self.seal_if_due();
            }
            Err(cause) => self.halt(Halt::Unreadable { index: logged.index, cause }),
        }
    }

    fn fold_entry(&mut self, logged: &LogEntry, entry: &Entry, now: Time) {
        let is_repeated = self.state.is_repeated(entry);
        let Some(result) = self.apply(logged.index, entry) else { return };
        self.ledger.note_folded(logged);
        self.note_entry(logged.index, entry, is_repeated, result, now);
        self.seal_if_due();
    }

    fn note_entry(
        &mut self,
        index: Index,
        entry: &Entry,
        is_repeated: bool,
        result: Result<(), Refusal>,
        now: Time,
    ) {
        self.time.ledger.note(entry.at, now);
        match &entry.statement {
            Statement::Report(Report::HostJoined(record)) => {
                self.mesh.note_changed(record.host);
                if result.is_ok() {
                    self.tell_mesh(MeshInput::Announced { host: record.host, index }, now);
                }
            }
            Statement::Intent(Intent::RemoveHost(host)) => self.mesh.note_changed(*host),
            Statement::Intent(_) | Statement::Report(_) | Statement::Finding(_) => {}
        }
        self.notice(index, entry);
        match self.proposals.take(entry.proposal) {
            Some(pending) if is_repeated => self.proposals.put_again(pending, now),
            Some(pending) => self.answer(pending, result, now),
            None => {}
        }
    }

    pub(super) fn notice(&mut self, index: u64, entry: &Entry) {
        self.turns.to_prefetch.extend(entry.statement.submission().map(|submission| submission.deployment));
        self.forget_progress(&entry.statement);
        let statement = Box::new(entry.statement.clone());
        self.outputs.push_back(Output::Notify(Notice::Folded { index, at: entry.at, statement }));
    }

    fn adopt(&mut self, snapshot: &Snapshot, now: Time) {
        if self.own.halted.is_some() {
            return;
        }
        self.ledger.note_snapshot(snapshot);
        // A neighbour's snapshot was checked when it came, and this host wrote its
        // own.
        if let Ok(state) = State::decode(&snapshot.state, snapshot.index, self.config.reads()) {
            self.time.ledger.note(state.clock(), now);
            let before = std::mem::replace(&mut self.state, state);
            self.note_renewed(&before, now);
            self.mesh.note_all_changed();
            // Proposals that the snapshot covers are folded already, with an
            // unknown result. To propose them again could undo what came after.
            let state = &self.state;
            let folded = self.proposals.take_if(|id, statement| state.has_seen(id, statement));
            for request in folded.into_iter().filter_map(|pending| pending.request) {
                self.reply(request, Err(Refusal::FoldedUnseen));
            }
            let state = &self.state;
            let came_about = self.proposals.take_if(|_, statement| state.has_come_about(statement));
            for pending in came_about {
                self.answer(pending, Ok(()), now);
            }
            self.forget_progress_of_the_past();
        }
    }

    /// Notes the hosts that have announced themselves in the entries that a
    /// snapshot covers.
    fn note_renewed(&mut self, before: &State, now: Time) {
        let index = self.state.index();
        let is_new = |Host { record, .. }: &&Host| {
            let known = before.host(record.host).map(|host| host.record.incarnation);
            known.is_none_or(|known| known < record.incarnation)
        };
        let announced: Vec<HostId> =
            self.state.hosts().values().filter(is_new).map(|host| host.record.host).collect();
        for host in announced {
            self.tell_mesh(MeshInput::Announced { host, index }, now);
        }
    }

    pub(super) fn after_folding(&mut self, now: Time) {
        if self.mesh.read_ledger((self.state.hosts_changed_at(), self.ledger.voters_since())) {
            self.update_mesh(now);
            self.look_for_other_starts();
        }
        for deployment in std::mem::take(&mut self.turns.to_prefetch) {
            self.prefetch(deployment);
        }
        // Until the mesh knows this store, the turns belong to an earlier store of
        // the host. A host that was taken out ends its turn.
        let me = self.config.host;
        // A host that has halted knows only an old part of the ledger: a turn that goes on by
        // that part may have ended since.
        if self.own.halted.is_none() && (self.is_known() || self.removed().is_some()) {
            let acts = self.turns.reconcile(me, &self.state);
            self.act(acts, now);
        }
    }

    /// Returns true if the mesh knows this host by this store.
    pub(super) fn is_known(&self) -> bool {
        self.state.host(self.config.host).is_some_and(|host| host.record.voter == self.own.meta.voter)
    }

    /// Tells the mesh which hosts the ledger has now. Entries say which hosts they are about;
    /// only if the ledger has forgotten or replaced a host besides, all are compared.
    fn update_mesh(&mut self, now: Time) {
        match self.mesh.take_changed() {
            Some(changed) => self.update_contacts(changed, now),
            None => self.update_all_contacts(now),
        }
        if self.mesh.members().len() != self.state.hosts().len() {
            self.update_all_contacts(now);
        }
        if self.ledger.is_leader() && self.still_voting().next().is_some() {
            // A request waits for this.
            self.time.deadlines.set(Why::Voters, now);
        }
    }

    fn update_all_contacts(&mut self, now: Time) {
        let known: BTreeSet<HostId> = self.state.hosts().keys().copied().chain(self.mesh.known()).collect();
        self.update_contacts(known, now);
    }

    fn update_contacts(&mut self, mut changed: BTreeSet<HostId>, now: Time) {
        changed.extend(self.mesh.former_members());
        changed.extend(self.still_voting().map(|(host, _)| host));
        let contacts = changed.into_iter().map(|host| (host, self.contact(host))).collect();
        self.tell_mesh(MeshInput::Hosts(contacts), now);
    }

    /// Returns the host as the ledger has it: a member, or a removed host that still votes.
    fn contact(&self, host: HostId) -> Option<Contact> {
        if let Some(Host { record, .. }) = self.state.host(host) {
            let (voter, addresses) = (record.voter, record.addresses.clone());
            return Some(Contact { voter, addresses, is_member: true });
        }
        let removed = self.state.removed(host)?;
        let (voter, addresses) = (removed.voter, removed.addresses.clone());
        self.ledger.voters().has(voter).then_some(Contact { voter, addresses, is_member: false })
    }

    /// Proposes what this host must tell the ledger, and what it is its turn to
    /// propose for all. Returns true if anything was sent.
    fn propose_owed(&mut self, now: Time) -> bool {
        if self.ledger.is_empty() || self.own.halted.is_some() {
            return false;
        }
        let me = self.config.host;
        let suspects = self.suspects();
        let mut statements = Vec::new();
        if self.is_to_announce_itself() {
            let record = self.record();
            self.tell_if_not_let_in(&record);
            statements.push(Report::HostJoined(record).into());
        }
        // Until the mesh knows this store, the turns belong to an earlier store of
        // the host.
        if self.is_known() && !self.state.has_twin(me) {
            statements.extend(self.turns.owed(me, &self.state, &suspects, self.ledger_now(now)));
            statements.extend(self.health_words(now));
        }
        let may_say = self.ledger.is_leader() || self.is_known();
        if may_say && self.tick_at(now).is_some_and(|at| at <= now) {
            statements.push(Finding::Tick.into());
        }
        let of = (self.state.index(), self.mesh.version());
        if self.proposals.duties.derived_from != Some(of) {
            self.proposals.duties.derived_from = Some(of);
            let (lacking, up) = (self.lacking(), self.alive_hosts());
            self.proposals.duties.set(me, &up, lacking, now);
            self.take_assignments(now);
            self.withdraw_what_is_done(now);
        }
        statements.extend(self.proposals.duties.mine(now));
        statements.extend(self.work_assignments(now));
        for statement in statements {
            if !self.proposals.has(&statement) {
                self.proposals.add(statement, None, now);
            }
        }
        let due = self.proposals.due(now);
        let sent = !due.is_empty();
        for (id, statement, is_again) in due {
            self.send_proposal(id, statement, is_again, now);
        }
        sent
    }

    /// Returns when this host is to propose that the ledger's next timer is due;
    /// `None` if there is no timer. The leader does it at once, and the others only
    /// if nothing comes, because a leader whose disk hangs proposes nothing.
    fn tick_at(&mut self, now: Time) -> Option<Time> {
        let timer = self.state.next_timer()?;
        let wait = match self.time.tick {
            Some((of, wait)) if of == timer => wait,
            Some(_) | None => duties::tick_wait(self.config.host, self.mesh.members().len(), timer),
        };
        self.time.tick = Some((timer, wait));
        let clock = self.ledger_now(now);
        let wait = if self.ledger.is_leader() { Duration::ZERO } else { wait };
        if timer <= clock {
            let due = now + wait;
            return Some(due - clock.since(timer).min(wait));
        }
        Some(now + timer.since(clock) + Duration::from_millis(1) + wait)
    }

    /// Withdraws proposals for what the ledger no longer lacks. Committed late they
    /// could be false, for example that a host is Down which is up again.
    fn withdraw_what_is_done(&mut self, now: Time) {
        let clock = self.ledger_now(now);
        let is_tick_due = self.state.next_timer().is_some_and(|timer| timer <= clock);
        self.proposals.withdraw(|statement, duties| match statement {
            Statement::Finding(Finding::Tick) => !is_tick_due,
            Statement::Finding(_) | Statement::Report(Report::HostDown { .. } | Report::HostUp { .. }) => {
                !duties.lacks(statement)
            }
            Statement::Intent(_) | Statement::Report(_) => false,
        });
    }

    /// Returns what the ledger lacks, by the fold and by the observers.
    fn lacking(&self) -> Vec<Statement> {
        // A host that was taken out helps until others vote in its place: it may be
        // the only one that can see them.
        if self.removed().is_some() && !self.is_needed() {
            return Vec::new();
        }
        // If an older agent was installed here, and the ledger does not say so yet, this host
        // must not help the mesh to move on without it.
        let is_spoken = |finding: &Finding| !matches!(finding, Finding::MeshVersion(version) if *version > self.config.wire);
        let due = self.state.due().into_iter().filter(is_spoken);
        let mut lacking: Vec<Statement> = due.map(Statement::from).collect();
        let me = self.config.host;
        if let Some(alone) = self.state.host(me).filter(|_| self.mesh.members().len() == 1)
            && alone.down.is_some()
            && alone.twin.is_none()
        {
            // The host that reported it Down was taken out since, so no other host
            // could see it up.
            lacking.push(Report::HostUp { host: me, incarnation: alone.record.incarnation }.into());
        }
        // The fold would ignore it, so it would be proposed again and again.
        let may_accuse = !self.state.is_counted_out(me);
        for host in self.state.hosts().values().filter(|host| host.record.host != me) {
            let id = host.record.host;
            let judgement = self.mesh.judgement(id);
            let incarnation = host.record.incarnation;
            match (host.down, judgement) {
                (None, Judgement::Down) if may_accuse => {
                    lacking.push(Report::HostDown { host: id, incarnation }.into());
                }
                // This takes positive evidence: a host that is not lost has not yet
                // been seen.
                (Some(_), Judgement::Up) if host.twin.is_none() && self.sees(id, incarnation) => {
                    lacking.push(Report::HostUp { host: id, incarnation }.into());
                }
                (None | Some(_), Judgement::Up | Judgement::Suspect | Judgement::Down) => {}
            }
        }
        lacking
    }

    fn sees(&self, host: HostId, incarnation: u64) -> bool {
        self.mesh.hears(host)
            && self.mesh.reports().get(&host).is_some_and(|heard| heard.incarnation == incarnation)
    }

    fn set_deadlines(&mut self, now: Time) {
        if self.ledger.is_voting() {
            self.time.deadlines.set_if_none(Why::Tick, now + TICK);
        } else {
            self.time.deadlines.clear(Why::Tick);
        }
        self.set_or_clear(Why::Health, self.health.next());
        self.set_or_clear(Why::Silence, self.mesh.next_silence());
        self.set_or_clear(Why::Proposals, self.proposals.next());
        self.set_or_clear(Why::Duties, self.proposals.duties.next(now));
        self.set_or_clear(Why::Assignments, self.next_assignment());
        // A tick that is due already was proposed, and the proposal has its own
        // deadline.
        let due = self.tick_at(now).filter(|at| *at > now);
        self.set_or_clear(Why::LedgerTimer, due);
        if self.ledger.is_leader() {
            self.time.deadlines.set_if_none(Why::Voters, now + VOTERS_EVERY);
        } else {
            self.time.deadlines.clear(Why::Voters);
        }
    }

    pub(super) fn set_or_clear(&mut self, why: Why, at: Option<Time>) {
        match at {
            Some(at) => self.time.deadlines.set(why, at),
            None => self.time.deadlines.clear(why),
        }
    }
}
