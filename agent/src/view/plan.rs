//! What a deployment would do, worked out by the very fold that will do it.

use proto::entry::{Creator, ErrorCode, Failure, Submission, TurnOutcome};
use proto::id::{DeploymentId, Digest, HostId};
use proto::policy::Policy;
use proto::revision::Revision;
use proto::rollout::{Entrant, Rollout, Verdict};
use proto::state::{GroupState, State};
use proto::time::LedgerTime;
use serde::{Deserialize, Serialize};

use super::name_of;

/// A deployment as it would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanView {
    pub(crate) group: String,
    pub(crate) config: String,
    /// N.
    pub(crate) total: u32,
    /// M.
    pub(crate) minimum: u32,
    /// At most so many at a time.
    pub(crate) turns_max: u32,
    /// Whether it can end at all.
    pub(crate) is_possible: bool,
    /// The hosts' names in the order of their turns, if all go well.
    pub(crate) batches: Vec<Vec<String>>,
    /// Fewest hosts in service at any moment, if all go well.
    pub(crate) lowest_in_service: u32,
    /// So many turns must fail, one after the other from the first, for the
    /// deployment to fail.
    pub(crate) stopped_by_failures: u32,
}

/// What a deployment of the revision under the policy would do now.
pub(crate) fn plan(state: &State, known: &GroupState, policy: &Policy, digest: Digest) -> PlanView {
    let total = u32::try_from(state.members_of(&known.group).len()).unwrap_or(u32::MAX);
    let bounds = policy.bounds(total);
    let (batches, rollout) = play(state, known, policy, digest, &|| TurnOutcome::Succeeded);
    let (_, failing) = play(state, known, policy, digest, &failed);
    PlanView {
        group: known.group.name.to_string(),
        config: policy.to_string(),
        total,
        minimum: bounds.minimum,
        turns_max: bounds.turns_max,
        is_possible: matches!(rollout.verdict, Some(Verdict::Succeeded)),
        batches: batches
            .iter()
            .map(|batch| batch.iter().map(|host| name_of(state, *host)).collect())
            .collect(),
        lowest_in_service: rollout.lowest_available,
        stopped_by_failures: failing.counts().failed,
    }
}

/// Lets every turn of a rollout end alike; gives the hosts of each round.
fn play(
    state: &State,
    known: &GroupState,
    policy: &Policy,
    digest: Digest,
    outcome: &dyn Fn() -> TurnOutcome,
) -> (Vec<Vec<HostId>>, Rollout) {
    let mut at = LedgerTime::default();
    let submission = submission(known, policy, digest);
    let targets = state.targets(&submission);
    let mut rollout = Rollout::queued(submission, at);
    let entrants = state.members_of(&known.group).into_iter().map(|host| Entrant {
        host: host.record.host,
        standing: known.standing.get(&host.record.host).copied(),
        down: host.down,
        target: targets.as_ref().is_none_or(|targets| targets.contains(&host.record.host)),
        zone: host.record.zone.clone(),
    });
    let mut batch = rollout.begin(entrants.collect(), at);
    let mut batches = Vec::new();
    while !batch.is_empty() {
        let mut next = Vec::new();
        for host in &batch {
            // A verdict takes unused leases back: then it has no turn to start.
            if rollout.start_turn(*host, at) {
                next.extend(rollout.end_turn(*host, outcome(), at).unwrap_or_default());
            }
        }
        batches.push(std::mem::replace(&mut batch, next));
        if let Some(until) = rollout.bakes_until() {
            at = until;
            batch.extend(rollout.wake(at));
        }
    }
    (batches, rollout)
}

fn submission(known: &GroupState, policy: &Policy, digest: Digest) -> Submission {
    Submission {
        deployment: DeploymentId::derive(b"a plan"),
        group: known.group.name.clone(),
        revision: Revision { digest, size: 0, origin: String::new() },
        policy: policy.clone(),
        creator: Creator::User,
        rollback_of: None,
        description: String::new(),
        holders: Vec::new(),
        queue: false,
    }
}

fn failed() -> TurnOutcome {
    TurnOutcome::Failed(Failure {
        event: None,
        code: ErrorCode::UnknownError,
        script: String::new(),
        message: String::new(),
        log: String::new(),
    })
}
