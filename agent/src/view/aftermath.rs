//! Describes what an unsuccessful deployment leaves behind:
//! which hosts it was about, and the command that helps.

use std::collections::BTreeMap;

use proto::entry::TurnOutcome;
use proto::id::HostId;
use proto::rollout::{DeploymentStatus, Part, Rollout, Stage};
use proto::state::State;

use super::health_words::named;
use super::names::Names;
use super::written;

/// The words about hosts that a rollback did not bring back. Code that says more about them
/// looks for these words.
pub(crate) const STILL_THERE: &str = "still at the revision that failed";

/// Returns text to append to the reason; empty if there is nothing to add.
pub(super) fn words(rollout: &Rollout, parts: &BTreeMap<HostId, Part<'_>>, names: &Names<'_>) -> String {
    match rollout.status() {
        DeploymentStatus::Failed | DeploymentStatus::Stopped => {}
        DeploymentStatus::Created
        | DeploymentStatus::Queued
        | DeploymentStatus::InProgress
        | DeploymentStatus::Succeeded
        | DeploymentStatus::Baking => return String::new(),
    }
    let never_began = parts.iter().filter(|(_, part)| never_began(part)).map(|(host, _)| label(names, *host));
    let down: Vec<HostId> = parts.keys().copied().filter(|host| is_down(names.state, *host)).collect();
    let mut text = named("never began their turn, because they were away", never_began.collect());
    text += &named("still Down", down.iter().map(|host| since(names, *host)).collect());
    if let Some(first) = down.first() {
        text += &format!(
            ". Bring them back, or take out for good what is gone: skein mesh remove {}",
            names.word(*first)
        );
    }
    text + &left_behind(rollout, parts, names)
}

/// Lists the hosts that a rollback leaves at the revision that it was meant to undo.
fn left_behind(rollout: &Rollout, parts: &BTreeMap<HostId, Part<'_>>, names: &Names<'_>) -> String {
    let state = names.state;
    let (submission, undone) = (&rollout.submission, rollout.submission.rollback_of);
    let failed =
        undone.and_then(|undone| state.rollout(undone)).map(|undone| undone.submission.revision.digest);
    let (Some(failed), Some(group)) = (failed, state.group(&submission.group)) else { return String::new() };
    let has_it = |host: &&HostId| {
        let standing = group.standing.get(*host);
        state.host(**host).is_some() && standing.is_some_and(|standing| standing.revision == Some(failed))
    };
    let left: Vec<HostId> = parts.keys().filter(has_it).copied().collect();
    if left.is_empty() {
        return String::new();
    }
    let what = format!("{STILL_THERE} ({})", failed.short());
    let hosts = named(&what, left.iter().map(|host| label(names, *host)).collect());
    let is_automatic =
        rollout.traits().leaves_behind && left.iter().all(|host| group.behind.contains_key(host));
    let good = submission.revision.digest.short();
    let advice = match is_automatic {
        true => format!(
            "they are brought back by themselves as soon as so many are in service that one can be spared: skein \
             status {}",
            submission.group
        ),
        false => format!("to bring them back: skein rollback {} --to {good}", submission.group),
    };
    format!("{hosts}; {advice}")
}

fn never_began(part: &Part<'_>) -> bool {
    matches!(&*part.stage, Stage::Ended { started: None, outcome: TurnOutcome::Failed(_), .. })
}

fn is_down(state: &State, host: HostId) -> bool {
    state.host(host).is_some_and(|known| known.down.is_some())
}

fn label(names: &Names<'_>, host: HostId) -> String {
    names.named(host).label().to_string()
}

fn since(names: &Names<'_>, host: HostId) -> String {
    let since = names.state.host(host).and_then(|known| known.down).map(written);
    format!("{} since {}", label(names, host), since.unwrap_or_default())
}
