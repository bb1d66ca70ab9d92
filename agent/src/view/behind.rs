//! Hosts that are behind their group's last good revision, and why they still are.

use proto::entry::{ErrorCode, TurnOutcome};
use proto::id::{DeploymentId, HostId};
use proto::rollout::Stage;
use proto::state::{CatchUp, Cause, GroupState, State};
use serde::{Deserialize, Serialize};

use super::names::{Named, Names};
use super::{Why, written};

/// A host that is behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BehindView {
    #[serde(flatten)]
    pub(crate) who: Named,
    /// The cause: Joined, Returned, Replaced, Missed, Failed or NotRolledBack.
    pub(crate) cause: String,
    pub(crate) since: String,
    /// The state of its catch-up.
    pub(crate) why: Why,
}

impl BehindView {
    /// Returns one line for people.
    pub(crate) fn line(&self) -> String {
        let how = match self.cause.as_str() {
            "Joined" => "joined",
            "Returned" => "came back",
            "Replaced" => "lost its store",
            "Missed" => "missed its turn, or was lost in it",
            "NotRolledBack" => "still has a failed revision, because its rollback failed",
            _ => "failed in its turn",
        };
        format!("{} ({how} at {}): {} ({})", self.who.label(), self.since, self.why.message, self.why.code)
    }
}

/// Returns the hosts of a group that are behind, sorted by name.
pub(super) fn behind(names: &Names<'_>, known: &GroupState) -> Vec<BehindView> {
    let hosts = known.behind.keys();
    let mut all: Vec<BehindView> = hosts.filter_map(|host| of_host(names, known, *host)).collect();
    all.sort_by(|a, b| a.who.order().cmp(&b.who.order()));
    all
}

/// Returns one host of a group; `None` if it is not behind.
pub(super) fn of_host(names: &Names<'_>, known: &GroupState, host: HostId) -> Option<BehindView> {
    let state = names.state;
    let catch_up = state.catch_up(known, host)?;
    let behind = known.behind.get(&host)?;
    let cause = match behind.cause {
        Cause::Joined => "Joined",
        Cause::Returned => "Returned",
        Cause::Replaced => "Replaced",
        Cause::Missed => "Missed",
        Cause::Failed => "Failed",
        Cause::NotRolledBack => "NotRolledBack",
    };
    Some(BehindView {
        who: names.named(host),
        cause: cause.into(),
        since: written(behind.since),
        why: why(state, host, catch_up),
    })
}

fn why(state: &State, host: HostId, catch_up: CatchUp) -> Why {
    let because = |deployment| failure(state, deployment, host).map(|said| format!(": {said}"));
    let (code, numbers, more): (_, Vec<(&str, u32)>, Option<String>) = match catch_up {
        CatchUp::UnderWay(_) => ("CATCHING_UP", vec![], None),
        CatchUp::Frozen { .. } => ("FROZEN", vec![], None),
        CatchUp::Due => ("CATCH_UP_DUE", vec![], None),
        CatchUp::After(_) => ("WAITS_FOR_DEPLOYMENT", vec![], None),
        CatchUp::NoRevision => ("NO_GOOD_REVISION", vec![], None),
        CatchUp::Down => ("HOST_DOWN", vec![], None),
        CatchUp::TooFewHealthy { available, minimum, total } => (
            "HEALTH_CONSTRAINTS",
            vec![("in_service", available), ("minimum", minimum), ("total", total)],
            None,
        ),
        CatchUp::GivenUp { deployment, attempts: _ } => {
            let message = format!("{}, so {catch_up}", in_vain(state, deployment, host));
            return Why::new("ATTEMPTS_USED_UP", message, &[]);
        }
        CatchUp::LeftAlone(deployment) => ("LEFT_ALONE", vec![], deployment.and_then(because)),
    };
    Why::new(code, format!("{catch_up}{}", more.unwrap_or_default()), &numbers)
}

/// Describes how the last attempt to bring a host to the revision ended.
fn in_vain(state: &State, deployment: DeploymentId, host: HostId) -> String {
    let part = state.part(deployment, host);
    let (started, failure) = match part.as_ref().map(|part| &*part.stage) {
        Some(Stage::Ended { started, outcome: TurnOutcome::Failed(failure), .. }) => (started, failure),
        Some(Stage::Skipped) => return format!("{deployment} ended before its turn"),
        Some(_) | None => return format!("its turn with this revision in {deployment} did not succeed"),
    };
    let why = said(&failure.message).map(|said| format!(" ({said})")).unwrap_or_default();
    match failure.code.was_lost() {
        true if started.is_none() => {
            format!("it missed its turn once more, in {deployment}{why}")
        }
        true => format!("it was lost in its turn once more, in {deployment}{why}"),
        false if failure.code == ErrorCode::Stopped => {
            format!("its turn with this revision was stopped in {deployment}{why}")
        }
        false => format!("its turn with this revision failed in {deployment}{why}"),
    }
}

/// Returns the message of a host's failed turn.
fn failure(state: &State, deployment: DeploymentId, host: HostId) -> Option<String> {
    match &*state.part(deployment, host)?.stage {
        Stage::Ended { outcome: TurnOutcome::Failed(failure), .. } => said(&failure.message),
        Stage::Ended { outcome: TurnOutcome::Succeeded, .. }
        | Stage::NotTargeted
        | Stage::Pending
        | Stage::Leased { .. }
        | Stage::Started { .. }
        | Stage::Skipped => None,
    }
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

/// Finds the revision, among those that the group had, that a user means by its first digits.
pub(crate) fn find_revision(known: &GroupState, text: &str) -> Result<proto::id::Digest, NoRevision> {
    let of_text = || text.chars().take(80).collect::<String>();
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    let digits = text.strip_prefix("blake3:").unwrap_or(text).to_ascii_lowercase();
    if digits.len() < PREFIX_MIN || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(NoRevision::NotOne(of_text()));
    }
    let good = known.good.iter().map(|good| good.revision.digest);
    let found: Vec<_> = good.filter(|digest| digest.hex().starts_with(&digits)).collect();
    match found[..] {
        [digest] => Ok(digest),
        [] => Err(NoRevision::None(of_text(), known.group.name.to_string())),
        [..] => Err(NoRevision::Several(of_text(), found.iter().map(proto::id::Digest::short).collect())),
    }
}

/// The fewest digits that can name a revision: as with Git commits, four could match many.
const PREFIX_MIN: usize = 6;

/// The reason why a text names no revision of a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRevision {
    #[error("invalid revision `{0}`: give a digest or at least the first {PREFIX_MIN} of its hex digits")]
    NotOne(String),
    #[error(
        "no revision that begins with {0} was ever deployed successfully to {1}: `skein history {1}` lists what was"
    )]
    None(String, String),
    #[error("{0} is the beginning of several revisions: {list}", list = .1.join(", "))]
    Several(String, Vec<String>),
}
