//! What a user of the command line can do about a refusal.
//!
//! `proto` says what is wrong, in numbers, and knows no command. This table adds the
//! commands and options of `skein` that help, so each refusal has its advice in one
//! place, and another program in front of the API can give other advice for its code.

use proto::id::{DeploymentId, GroupName};
use proto::io::{First, Refusal};
use proto::recovery::NotRecovered;

/// Returns the refusal and the advice as one sentence.
pub(crate) fn in_full(refusal: &Refusal) -> String {
    format!("{refusal}{}", advice(refusal).unwrap_or_default())
}

/// Returns the advice with the punctuation that joins it to the refusal; `None` if the
/// refusal says it all.
fn advice(refusal: &Refusal) -> Option<String> {
    let advice = match refusal {
        Refusal::UnknownGroup(_) => {
            ": `skein group list` shows the groups, `skein group set FILE` defines one".into()
        }
        Refusal::UnknownDeployment(_) => ": `skein deployments` lists them".into(),
        Refusal::NoHosts(_) => ": `skein hosts` shows every host's tags".into(),
        Refusal::AlreadyRunning { .. } => " (--queue)".into(),
        Refusal::StopFirst { group, busy, first } => stop_first(group, *busy, *first),
        Refusal::UnknownRevision(_, group) => format!(": `skein history {group}` lists what was"),
        Refusal::Removed { .. } => " (`skein mesh token` on a member)".into(),
        Refusal::NotCommitted { voters_up, voters, .. } => not_committed(*voters_up, *voters).into(),
        Refusal::FoldedUnseen => ": look with `skein status` before you try again".into(),
        Refusal::NotProposed => ": use `skein mesh recover` there".into(),
        Refusal::Recovery(refused) => recovery(refused)?.into(),
        Refusal::StillUp(_) => ", or start this one without --replace".into(),
        Refusal::NoZones { .. } => {
            ": start their agents with --zone, or remove [zones] (for one deployment: \
             --override zones.enabled=false)"
                .into()
        }
        Refusal::ImpossibleCanary { total, .. } => canary(*total),
        Refusal::BakesTooLong { bakes, timeout } => format!(
            ": make the bakes shorter, or the timeout longer (--override timeout={}s)",
            bakes.saturating_add(*timeout)
        ),
        Refusal::AlreadyBack { group, .. } => format!(
            ": to go back further, name an older revision (`skein rollback {group} --to …`; `skein history \
             {group}` lists them)"
        ),
        Refusal::UnknownConfig { .. } => "; `skein config set FILE` defines one".into(),
        Refusal::UnknownAlarm { group, .. } => format!(": see `skein alarm list {group}`"),
        Refusal::AlarmActive { group, alarm, .. } => {
            format!(": `skein alarm clear {group} {alarm}`, or submit with --override alarms=ignore")
        }
        Refusal::Stillborn(_) => "; `skein plan` says what would make it possible".into(),
        Refusal::Frozen { group, .. } => format!("; wait, or end it with `skein unfreeze {group}`"),
        Refusal::NotJoined(_)
        | Refusal::ImpossibleMinimum { .. }
        | Refusal::QueueFull { .. }
        | Refusal::AlreadyOver(..)
        | Refusal::NothingToRollBackTo(_)
        | Refusal::GroupInUse { .. }
        | Refusal::UnknownHost(_)
        | Refusal::MeshIsNewer { .. }
        | Refusal::NotDue
        | Refusal::LastHost
        | Refusal::StillVotes { .. }
        | Refusal::Limit { .. }
        | Refusal::Halted(_)
        | Refusal::NotItsAuthor { .. }
        | Refusal::VoterTaken(_)
        | Refusal::Leaving
        | Refusal::HealthCheck(_)
        | Refusal::InvalidPolicy(_)
        | Refusal::InvalidEntry(_)
        | Refusal::ImpossibleZoneMinimum { .. }
        | Refusal::UnknownZones { .. }
        | Refusal::NothingOutdated { .. }
        | Refusal::NothingToRestart(_)
        | Refusal::RestartOutrun { .. }
        | Refusal::TooOld { .. }
        | Refusal::PredefinedConfig(_)
        | Refusal::ConfigInUse { .. }
        | Refusal::NotAFreeze { .. } => return None,
    };
    Some(advice)
}

fn stop_first(group: &GroupName, busy: DeploymentId, first: First) -> String {
    match first {
        First::GoesBack => format!(": `skein status {group}`"),
        First::StopAndGoBack => format!(" (`skein stop {busy} --rollback`)"),
        First::Stop | First::StopQueued => format!(" (`skein stop {busy}`)"),
    }
}

/// Returns the advice for a change that was not committed in time. A recovery is only
/// named if most voters are not connected, because it is the last resort.
const fn not_committed(voters_up: u32, voters: u32) -> &'static str {
    if voters_up > voters / 2 {
        return "; look with `skein status` before you try again";
    }
    "; look with `skein status` before you try again. If they are gone for good, `skein mesh recover` goes on without \
     them"
}

fn canary(total: u32) -> String {
    let at_most = if total < 2 { String::new() } else { format!(" (at most {})", total - 1) };
    format!(": make it smaller{at_most}, or leave it out (--override canary.enabled=false)")
}

const fn recovery(refused: &NotRecovered) -> Option<&'static str> {
    match refused {
        NotRecovered::OtherKey => Some(", which `skein mesh init` wrote to recovery.key"),
        NotRecovered::MajorityThere { .. } => Some(": look with `skein status`"),
        NotRecovered::Moved(_) => Some(": look again with `skein mesh recover`"),
        NotRecovered::OtherMesh { .. }
        | NotRecovered::Signature
        | NotRecovered::Malformed
        | NotRecovered::Epoch { .. }
        | NotRecovered::Contradicts { .. }
        | NotRecovered::Further { .. } => None,
    }
}

#[cfg(test)]
mod tests;
