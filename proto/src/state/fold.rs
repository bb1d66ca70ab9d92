//! Folds one statement, after the one check that every host makes of it.

use super::react::Happened;
use super::{Alarms, Freezes, GroupState, State};
use crate::entry::{Entry, HostRecord, Index, Submission};
use crate::id::{DeploymentId, GroupName, HostId};
use crate::io::Refusal;
use crate::rollout::{Stage, Verdict};
use crate::statement::{Finding, Intent, Report, Statement};

impl State {
    pub(super) fn fold(&mut self, entry: &Entry) -> Result<(), Refusal> {
        if self.is_repeated(entry) {
            return Ok(());
        }
        let (author, statement) = (entry.author(), &entry.statement);
        statement.check_author(author)?;
        if statement.may_undo() {
            self.proposers.note(entry.proposal, self.index);
        }
        if self.speaks_for_two(statement) {
            return Ok(());
        }
        // The proposer made the same check. Another entry may have come between
        // then and now.
        self.check(author, statement)?;
        let happened = match statement {
            Statement::Intent(intent) => self.fold_intent(intent),
            Statement::Report(report) => self.fold_report(author, report),
            Statement::Finding(finding) => self.fold_finding(finding),
        };
        self.react_to(happened);
        Ok(())
    }

    fn fold_intent(&mut self, intent: &Intent) -> Vec<Happened> {
        let now = self.now();
        match intent {
            Intent::SetGroup(group) => return self.groups.set(group),
            Intent::DeleteGroup(name) => return self.groups.delete(name),
            Intent::Deploy(submission) => return self.submit(submission),
            Intent::Stop { deployment, rollback, now: at_once, by } => {
                return self.rollouts.stop(*deployment, (*rollback, *at_once), by, now.clock);
            }
            Intent::RemoveHost(host) => return self.hosts.leave(now, *host),
            Intent::SetConfig(config) => self.configs.set(config),
            Intent::DeleteConfig(name) => self.configs.delete(name),
            Intent::SetAlarm { group, alarm, active, reason } => {
                return self.alarms.set(now, group, alarm, *active, reason);
            }
            Intent::Freeze { group, until, reason, by } => {
                return self.freezes.freeze(now.clock, group, *until, reason, by);
            }
            Intent::Unfreeze(group) => return self.freezes.unfreeze(group),
            // Folded by `recover`, because it is not proposed.
            Intent::Recover(_) => {}
        }
        Vec::new()
    }

    fn fold_report(&mut self, author: HostId, report: &Report) -> Vec<Happened> {
        let now = self.now();
        match report {
            Report::HostJoined(record) => return self.hosts.join(now, record),
            // During a network partition each side loses the other. The accusations of
            // the side that was counted out arrive after the partition: they are stale.
            Report::HostDown { .. } if self.hosts.is_counted_out(author) => {}
            Report::HostDown { host, incarnation } => {
                return self.hosts.set_down(now, *host, *incarnation, true);
            }
            Report::HostUp { host, incarnation } => {
                return self.hosts.set_down(now, *host, *incarnation, false);
            }
            Report::TurnStarted { deployment, host } => {
                return self.rollouts.start_turn(*deployment, *host, now.clock);
            }
            Report::TurnEnded { deployment, host, outcome } => {
                return self.rollouts.end_turn(*deployment, *host, outcome.clone().fitted(), now.clock);
            }
            Report::TurnDeferred { deployment, host, suspects } => {
                if let Some(leased) = self.rollouts.leased_at(*deployment, *host) {
                    return self.deferrals.defer(now.clock, (*deployment, *host), leased, suspects);
                }
            }
            Report::RoomReported { deployment, host, shortage } => {
                return self.report_room(*deployment, *host, *shortage);
            }
            Report::TurnBegunAnew { deployment, host, event, attempt } => {
                self.rollouts.begin_anew(*deployment, *host, *event, *attempt);
            }
            Report::HealthChanged { group, host, healthy, error, as_of } => {
                if self.is_news(group, *host, *healthy, *as_of) {
                    return self.checks.change(now, group, *host, *healthy, error);
                }
            }
            Report::AlarmRead { group, deployment, alarm, state, detail } => {
                if let Some(known) = self.groups.get(group) {
                    let of_group = (&known.group, known.running);
                    return self.alarms.read(now, of_group, (*deployment, alarm), (*state, detail));
                }
            }
            Report::TriggersDelivered { group, trigger, up_to, given_up } => {
                if let Some(known) = self.groups.get(group) {
                    self.notifications.delivered(&known.group, trigger, *up_to, given_up);
                }
            }
        }
        Vec::new()
    }

    fn fold_finding(&mut self, finding: &Finding) -> Vec<Happened> {
        match finding {
            Finding::Tick => Vec::new(),
            Finding::Finished { deployment } => self.rollouts.finish(*deployment, self.clock),
            Finding::Spelled(submission) => self.submit(submission),
            Finding::MeshVersion(version) => {
                self.move_to(*version);
                Vec::new()
            }
        }
    }

    /// Checks whether an entry with this statement would be refused now. Reports that
    /// come too late are not refused: they change nothing.
    /// # Errors
    /// The reason why the entry would be refused.
    pub fn check(&self, author: HostId, statement: &Statement) -> Result<(), Refusal> {
        statement.check_author(author)?;
        match statement {
            Statement::Intent(intent) => self.check_intent(intent),
            Statement::Report(report) => self.check_report(report),
            Statement::Finding(finding) => self.check_finding(finding),
        }
    }

    /// Checks whether an operator's intent would be refused now. Any member may propose it.
    /// # Errors
    /// The reason why it would be refused.
    pub fn check_intent(&self, intent: &Intent) -> Result<(), Refusal> {
        intent.check_values()?;
        match intent {
            Intent::SetGroup(group) => {
                self.groups.check_set(group)?;
                self.policy_of(group)?.validate().map_err(Refusal::InvalidPolicy)
            }
            Intent::DeleteGroup(name) => self.check_delete(name),
            Intent::Deploy(submission) => self.check_submission(submission),
            Intent::Stop { deployment, .. } => self.rollouts.check_stop(*deployment),
            Intent::RemoveHost(host) => self.hosts.check_leave(*host),
            Intent::SetConfig(config) => self.configs.check_set(config),
            Intent::DeleteConfig(name) => {
                self.configs.check_delete(name, self.groups.values().map(|known| &known.group))
            }
            Intent::SetAlarm { group, alarm, .. } => Alarms::check_set(&self.known(group)?.group, alarm),
            Intent::Freeze { group, until, .. } => {
                self.known(group).and_then(|_| Freezes::check_until(self.clock, *until))
            }
            Intent::Unfreeze(group) => self.known(group).map(|_| ()),
            Intent::Recover(_) => Err(Refusal::NotProposed),
        }
    }

    fn check_delete(&self, name: &GroupName) -> Result<(), Refusal> {
        let group = self.known(name)?;
        match group.busy_with().or(group.catching_up) {
            Some(running) => Err(Refusal::GroupInUse { group: name.clone(), running }),
            None => Ok(()),
        }
    }

    /// Returns the group.
    /// # Errors
    /// [`Refusal::UnknownGroup`].
    pub(super) fn known(&self, group: &GroupName) -> Result<&GroupState, Refusal> {
        self.groups.get(group).ok_or_else(|| Refusal::UnknownGroup(group.clone()))
    }

    /// Checks whether a host may join. A host comes back by itself with its next
    /// start, but not if it was taken out.
    fn check_join(&self, record: &HostRecord) -> Result<(), Refusal> {
        self.hosts.check_not_removed(record.host)?;
        self.check_version(record.wire)?;
        self.hosts.check_join(record)
    }

    fn check_report(&self, report: &Report) -> Result<(), Refusal> {
        report.check_values()?;
        match report {
            Report::HostJoined(record) => self.check_join(record),
            Report::HostDown { .. }
            | Report::HostUp { .. }
            | Report::TurnStarted { .. }
            | Report::TurnEnded { .. }
            | Report::TurnDeferred { .. }
            | Report::RoomReported { .. }
            | Report::TurnBegunAnew { .. }
            | Report::HealthChanged { .. }
            | Report::AlarmRead { .. }
            | Report::TriggersDelivered { .. } => Ok(()),
        }
    }

    /// Refuses what this host does not find itself. The proposer is not trusted: it could
    /// have put in another revision, or a policy without a minimum.
    fn check_finding(&self, finding: &Finding) -> Result<(), Refusal> {
        let is_due = match finding {
            // Says nothing but the time of its entry, which every entry says.
            Finding::Tick => true,
            Finding::Finished { deployment } => self.is_decided(*deployment),
            Finding::Spelled(submission) => self.is_owed(submission),
            Finding::MeshVersion(version) => self.is_mesh_version_due(*version),
        };
        if is_due { Ok(()) } else { Err(Refusal::NotDue) }
    }

    fn is_decided(&self, deployment: DeploymentId) -> bool {
        self.rollouts.get(deployment).is_some_and(|rollout| rollout.is_decided())
    }

    /// Returns true if this is a report of a host about itself while two agents run
    /// with its key, as from a cloned disk: what one of them did, it may have done on
    /// another machine. Only the start of an agent counts, which ends that.
    fn speaks_for_two(&self, statement: &Statement) -> bool {
        !matches!(statement, Statement::Report(Report::HostJoined(_)))
            && statement.author().is_some_and(|host| self.has_twin(host))
    }

    /// Returns true if an entry with this statement would change nothing, because the
    /// ledger says it already. Meant only for what hosts repeat until the ledger has it.
    pub(crate) fn is_settled(&self, statement: &Statement) -> bool {
        match statement {
            Statement::Intent(Intent::Recover(_)) => true,
            Statement::Intent(_) => false,
            Statement::Report(report) => self.is_report_settled(report),
            Statement::Finding(Finding::Tick) => self.next_timer().is_none(),
            // A proposer may have folded more than a leader whose disk is slow. So what is
            // not due yet is not taken for settled.
            Statement::Finding(Finding::Finished { deployment }) => {
                self.rollouts.get(*deployment).is_some_and(|rollout| rollout.status().is_over())
            }
            Statement::Finding(Finding::Spelled(submission)) => !self.is_owed(submission),
            Statement::Finding(Finding::MeshVersion(version)) => self.check_version(*version).is_err(),
        }
    }

    fn is_report_settled(&self, report: &Report) -> bool {
        let stage = |deployment: &DeploymentId, host: &HostId| {
            self.part(*deployment, *host).map(|part| part.stage.into_owned())
        };
        match report {
            // A host that was taken out, or has another host's number, is refused anyway.
            Report::HostJoined(record) => {
                self.hosts.get(record.host).is_some_and(|host| host.record == *record)
                    || self.check_join(record).is_err()
            }
            Report::HostDown { host, incarnation } => self.hosts.is_said(*host, *incarnation, true),
            Report::HostUp { host, incarnation } => {
                self.hosts.is_said(*host, *incarnation, false) || self.has_twin(*host)
            }
            Report::TurnStarted { deployment, host } => {
                matches!(stage(deployment, host), Some(Stage::Started { .. } | Stage::Ended { .. }))
            }
            Report::TurnDeferred { deployment, host, .. } => {
                !matches!(stage(deployment, host), Some(Stage::Leased { .. }))
            }
            Report::RoomReported { deployment, host, shortage } => {
                self.is_room_settled(*deployment, *host, *shortage)
            }
            Report::TurnBegunAnew { deployment, host, event: _, attempt } => {
                let member = self.rollouts.member(*deployment, *host);
                member.is_none_or(|member| !member.may_begin_anew(*attempt))
            }
            Report::TurnEnded { deployment, host, .. } => {
                matches!(stage(deployment, host), Some(Stage::Ended { .. }))
            }
            Report::AlarmRead { group, deployment, alarm, state, .. } => {
                self.groups.get(group).is_none_or(|known| {
                    let of_group = (&known.group, known.running);
                    self.alarms.is_settled(of_group, (*deployment, alarm), *state)
                })
            }
            Report::TriggersDelivered { group, trigger, up_to, .. } => {
                self.notifications.is_settled(group, trigger, *up_to)
            }
            Report::HealthChanged { group, host, healthy, error: _, as_of } => {
                !self.is_news(group, *host, *healthy, *as_of)
            }
        }
    }

    /// Returns true if a host's word about its health would change anything. What is said
    /// of a host in its turn comes too late.
    fn is_news(&self, name: &GroupName, host: HostId, healthy: bool, as_of: Index) -> bool {
        let Some(group) = self.groups.get(name).filter(|group| group.group.health.is_some()) else {
            return false;
        };
        let is_in_turn = group.under_way().into_iter().any(|deployment| {
            let member = self.rollouts.member(deployment, host);
            member.is_some_and(|member| matches!(member.stage, Stage::Started { .. }))
        });
        self.hosts.contains(host) && !is_in_turn && self.checks.is_news(name, host, healthy, as_of)
    }

    /// Returns true if what this statement asks for is the case already. A host that
    /// learns of an entry by a snapshot does not know the result of folding it, but it
    /// can find this out.
    pub(crate) fn has_come_about(&self, statement: &Statement) -> bool {
        match statement {
            Statement::Intent(Intent::Stop { deployment, rollback, .. }) => {
                self.rollouts.get(*deployment).is_some_and(|rollout| {
                    let is_stopped = matches!(rollout.verdict, Some(Verdict::Stopped(_)));
                    is_stopped && (!rollback || rollout.rollback_asked)
                })
            }
            Statement::Intent(Intent::RemoveHost(host)) => self.hosts.removed().contains_key(host),
            Statement::Intent(Intent::Deploy(submission)) => self.rollouts.contains(submission.deployment),
            Statement::Intent(_) | Statement::Report(_) | Statement::Finding(_) => false,
        }
    }

    /// Returns what the ledger lacks. Any host may propose it, and all hosts would
    /// propose the same.
    pub fn due(&self) -> Vec<Finding> {
        let mut due: Vec<Finding> = self.mesh_version_due().map(Finding::MeshVersion).into_iter().collect();
        for rollout in self.running().filter(|rollout| rollout.is_decided()) {
            due.push(Finding::Finished { deployment: rollout.submission.deployment });
        }
        let owed = self.groups.values().flat_map(|group| self.owed_to(group));
        due.extend(owed.map(|submission| Finding::Spelled(Box::new(submission))));
        due
    }

    /// Returns the deployments that the mesh itself submits to a group now.
    fn owed_to(&self, group: &GroupState) -> impl Iterator<Item = Submission> {
        let rollback = group.owes_rollback_of.and_then(|failed| self.rollback_of(group, failed));
        rollback.into_iter().chain(self.catch_up_due(group))
    }

    /// Returns true if this is, byte for byte, a deployment that the mesh itself submits
    /// now.
    fn is_owed(&self, submission: &Submission) -> bool {
        let group = self.groups.get(&submission.group);
        group.is_some_and(|group| self.owed_to(group).any(|owed| owed == *submission))
    }
}
