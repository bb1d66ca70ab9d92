//! Requests from this host. They are checked here first, so that most refusals come
//! at once and cost no entry. Then they are proposed, and answered when they are
//! folded.

use rand::Rng;

use super::Node;
use super::proposals::{GIVE_UP_AFTER, Pending, REQUESTS_MAX};
use crate::entry::{STATEMENT_BYTES_MAX, Submission};
use crate::form::Versioned as _;
use crate::id::{DeploymentId, Digest, GroupName};
use crate::io::{self, Accepted, DeployRequest, Output, Refusal, Reply, Request, RequestId, Until};
use crate::policy::Policy;
use crate::revision::Revision;
use crate::rollout::DeploymentStatus;
use crate::statement::{Intent, Statement};
use crate::time::Time;

impl Node {
    pub(super) fn on_request(&mut self, id: RequestId, request: Request, now: Time) {
        if let Request::Intent(Intent::RemoveHost(host)) = &request
            && *host != self.config.host
            && self.state.removed(*host).is_some()
        {
            // This was asked again. All that may be missing is that the host no
            // longer votes.
            return self.see_off(id, *host, now);
        }
        if let Request::Recover(signed) = request {
            return self.on_recover(id, *signed);
        }
        match self.intent_of(request, now) {
            Ok(statement) => self.proposals.add(statement, Some(id), now),
            Err(refusal) => self.reply(id, Err(refusal)),
        }
    }

    pub(super) fn reply(&mut self, id: RequestId, reply: Reply) {
        self.outputs.push_back(Output::Reply { id, reply });
    }

    /// Returns the statement that the request asks for.
    fn intent_of(&mut self, request: Request, now: Time) -> Result<Statement, Refusal> {
        if self.own.leaving {
            return Err(Refusal::Leaving);
        }
        if let Some(removed) = self.removed() {
            return Err(Refusal::Removed { at: removed.at });
        }
        if let Some(halt) = &self.own.halted {
            return Err(Refusal::Halted(halt.clone()));
        }
        if self.ledger.is_empty() {
            return Err(Refusal::NotJoined("no neighbour has answered yet".into()));
        }
        if self.proposals.requests() + self.mesh.departures.len() >= REQUESTS_MAX {
            return Err(Refusal::Limit { what: "requests at a time".into(), limit: REQUESTS_MAX as u64 });
        }
        let intent = match request {
            Request::Intent(intent) => intent,
            Request::Deploy(request) => Intent::Deploy(Box::new(self.submission(*request)?)),
            Request::Rollback { group, to, policy, by } => {
                self.way_back(group, to, policy.map(|policy| *policy), by)?
            }
            Request::Freeze { group, until, reason, by } => {
                let until = match until {
                    Until::At(until) => until,
                    Until::For(duration) => self.ledger_now(now) + duration,
                };
                Intent::Freeze { group, until, reason, by }
            }
            // Taken before: it is not proposed.
            Request::Recover(_) => return Err(Refusal::NotProposed),
        };
        let statement = Statement::from(intent.fitted());
        self.state.check(self.config.host, &statement)?;
        if let Statement::Intent(Intent::Deploy(submission)) = &statement
            && let Some(reason) = self.state.stillborn(submission)
        {
            return Err(Refusal::Stillborn(Box::new(reason)));
        }
        let size = statement.encode().len();
        if size > STATEMENT_BYTES_MAX {
            return Err(Refusal::Limit {
                what: format!("{size} bytes in one entry"),
                limit: STATEMENT_BYTES_MAX as u64,
            });
        }
        Ok(statement)
    }

    fn submission(&mut self, request: DeployRequest) -> Result<Submission, Refusal> {
        let group = self.state.group(&request.group);
        let group = group.ok_or_else(|| Refusal::UnknownGroup(request.group.clone()))?;
        let policy = match &request.policy {
            Some(policy) => policy.clone(),
            None => self.state.policy_of(&group.group)?,
        };
        let mut seed = [0; 16];
        self.own.rng.fill_bytes(&mut seed);
        let id = DeploymentId::derive(&[&seed, self.config.host.public_key().as_slice()].concat());
        Ok(io::submission(request, id, policy))
    }

    fn way_back(
        &mut self,
        name: GroupName,
        to: Option<Digest>,
        policy: Option<Policy>,
        by: String,
    ) -> Result<Intent, Refusal> {
        let revision = self.way_back_to(&name, to)?;
        let group = self.state.group(&name).ok_or_else(|| Refusal::UnknownGroup(name.clone()))?;
        let description = format!("back to {} by hand", revision.digest.short());
        let holders = self.state.holders(group, revision.digest);
        let undone = self.state.newest_of(group).map(|rollout| rollout.submission.deployment);
        let policy = match policy {
            Some(policy) => policy,
            None => self.state.policy_of(&group.group)?.of_rollback(),
        };
        let policy = Some(policy);
        let request = DeployRequest { group: name, revision, policy, description, holders, queue: false, by };
        let submission = self.submission(request)?;
        Ok(Intent::Deploy(Box::new(Submission { rollback_of: undone, ..submission })))
    }

    /// Returns the revision to go back to: the one that is named, or the last good
    /// one that is not the group's current one.
    /// # Errors
    /// If there is no such group, or no such revision in its history. Also if none
    /// is named, and the group was rolled back already.
    pub fn way_back_to(&self, name: &GroupName, to: Option<Digest>) -> Result<Revision, Refusal> {
        let group = self.state.group(name).ok_or_else(|| Refusal::UnknownGroup(name.clone()))?;
        let good = group.good.iter().rev();
        if let Some(digest) = to {
            return good
                .clone()
                .find(|good| good.revision.digest == digest)
                .map(|good| good.revision.clone())
                .ok_or_else(|| Refusal::UnknownRevision(digest, name.clone()));
        }
        let newest = self.state.newest_of(group);
        let newest = newest.filter(|rollout| rollout.status() == DeploymentStatus::Succeeded);
        let at = newest.map(|rollout| rollout.submission.revision.digest);
        if let Some(digest) = at.filter(|_| newest.is_some_and(|rollout| rollout.traits().goes_back)) {
            // A person who asks now may not know that the rollback is done, and
            // would go back one more release.
            return Err(Refusal::AlreadyBack { group: name.clone(), digest });
        }
        good.clone()
            .find(|good| Some(good.revision.digest) != at)
            .map(|good| good.revision.clone())
            .ok_or_else(|| Refusal::NothingToRollBackTo(name.clone()))
    }

    /// Answers the request whose proposal was folded.
    pub(super) fn answer(&mut self, pending: Pending, result: Result<(), Refusal>, now: Time) {
        let Some(request) = pending.request else { return };
        if let (Statement::Intent(Intent::RemoveHost(host)), Ok(())) = (&pending.statement, &result) {
            return self.see_off(request, *host, now);
        }
        let accepted = match pending.statement.submission() {
            Some(submission) => Accepted::Deployment(submission.deployment),
            None => Accepted::Done,
        };
        self.reply(request, result.map(|()| accepted));
    }

    /// Refuses a request that was not committed in time.
    pub(super) fn give_up(&mut self, pending: Pending) {
        let Some(request) = pending.request else { return };
        let (voters_up, voters) = self.voters_up();
        let refusal = Refusal::NotCommitted { seconds: GIVE_UP_AFTER.as_secs(), voters_up, voters };
        self.reply(request, Err(refusal));
    }
}
