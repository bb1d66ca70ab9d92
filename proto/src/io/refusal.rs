//! The reasons why a request is refused, typed and with numbers. A reason says what is
//! wrong, and names no command or option: what a user can do about it depends on the
//! program that shows it, and each program adds its own advice.

use super::because;
use crate::health::InvalidCheck;
use crate::id::{ConfigName, DeploymentId, Digest, GroupName, HostId, VoterId};
use crate::node::Halt;
use crate::policy::{InvalidPolicy, PREDEFINED};
use crate::recovery::NotRecovered;
use crate::rollout::Reason;
use crate::statement::InvalidEntry;
use crate::time::LedgerTime;

/// The thing that an operator who wants to roll back must do or wait for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Wait: another rollback is on its way.
    GoesBack,
    /// Stop the running deployment with a rollback, which goes back to the wanted
    /// revision.
    StopAndGoBack,
    /// Stop the running deployment.
    Stop,
    /// Stop the queued deployment.
    StopQueued,
}

/// The reason why a request is refused. Nothing has changed, unless the variant
/// says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This host has not joined a mesh yet.
    #[error("this host has not joined its mesh yet: {0}")]
    NotJoined(String),
    /// There is no group with this name.
    #[error("no group {0}")]
    UnknownGroup(GroupName),
    /// There is no deployment with this id.
    #[error("no deployment {0}")]
    UnknownDeployment(DeploymentId),
    /// No host has the group's tags.
    #[error("no host matches the tags of group {0}")]
    NoHosts(GroupName),
    /// The minimum includes every host (M ≥ N), so none could ever be taken out of
    /// service.
    #[error(
        "{config} of {total} hosts means {minimum} must stay healthy, so no host may ever be taken out of \
         service: {advice}"
    )]
    ImpossibleMinimum {
        /// The minimum as configured.
        config: String,
        /// N: the number of hosts in the group.
        total: u32,
        /// M: the number of hosts that must stay healthy.
        minimum: u32,
        /// The smallest change that makes the deployment possible.
        advice: String,
    },
    /// The group has a running deployment, and may have one at a time.
    #[error("deployment {running} of {group} is still running: stop it, wait for it, or queue this one")]
    AlreadyRunning {
        /// The name of the group.
        group: GroupName,
        /// The running deployment.
        running: DeploymentId,
    },
    /// A rollback cannot run beside another deployment.
    #[error("{}", stop_first(group, *busy, *first))]
    StopFirst {
        /// The name of the group.
        group: GroupName,
        /// The deployment that is in the way.
        busy: DeploymentId,
        /// The thing to do or wait for first.
        first: First,
    },
    /// The group's queue holds one deployment, and it is taken.
    #[error("deployment {queued} of {group} is waiting already: a group's queue holds one")]
    QueueFull {
        /// The name of the group.
        group: GroupName,
        /// The deployment that waits.
        queued: DeploymentId,
    },
    /// The deployment is over already; its status follows.
    #[error("deployment {0} is over already ({1})")]
    AlreadyOver(DeploymentId, &'static str),
    /// The group has no revision to go back to.
    #[error("group {0} has no earlier good revision to roll back to")]
    NothingToRollBackTo(GroupName),
    /// The revision was never deployed to the group.
    #[error("revision {0} was never deployed successfully to {1}")]
    UnknownRevision(Digest, GroupName),
    /// The group is being deployed to, so it cannot be deleted.
    #[error("group {group} has a running deployment, {running}: stop it first")]
    GroupInUse {
        /// The name of the group.
        group: GroupName,
        /// The running deployment.
        running: DeploymentId,
    },
    /// There is no host with this id.
    #[error("no host {0} in this mesh")]
    UnknownHost(HostId),
    /// The host that was asked no longer belongs to the mesh.
    #[error(
        "this host was taken out of its mesh at {at}: what it knows is as of then. To let the machine in again, \
         give its agent a new data directory and a token"
    )]
    Removed {
        /// The time at which it was taken out.
        at: LedgerTime,
    },
    /// The mesh uses what the host's agent cannot read.
    #[error(
        "this mesh has moved to version {mesh}, and this agent speaks up to {agent}: install the newer agent again, \
         and start it"
    )]
    MeshIsNewer {
        /// The version of the mesh.
        mesh: u16,
        /// The newest version that the agent speaks.
        agent: u16,
    },
    /// Every host works this out from the ledger, and this one comes to another result.
    #[error("the ledger does not lead to this (any longer)")]
    NotDue,
    /// The host is the last one: a mesh without hosts would know nothing.
    #[error("it is the only host of this mesh: stop its agent and remove its data directory instead")]
    LastHost,
    /// The host is out of the mesh, but the mesh still needs its vote.
    #[error(
        "the host is out of the mesh, but after {seconds} s no other has taken its place in consensus ({voters_up} \
         of {voters} voters are connected): leave its agent running, and say this again until it is done"
    )]
    StillVotes {
        /// The time that the request has waited for it, in seconds.
        seconds: u64,
        /// The number of voters that this host is connected to, including itself.
        voters_up: u32,
        /// The number of all voters.
        voters: u32,
    },
    /// Something is too large, or there are too many.
    #[error("{what}: at most {limit}")]
    Limit {
        /// The thing that exceeds the limit.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// Consensus did not answer in time. The change may still happen.
    #[error(
        "the mesh did not commit this within {seconds} s ({voters_up} of {voters} voters are connected): it may \
         still happen{}", without(*.voters_up, *.voters)
    )]
    NotCommitted {
        /// The time for which it was tried, in seconds.
        seconds: u64,
        /// The number of voters that this host is connected to, including itself.
        voters_up: u32,
        /// The number of all voters.
        voters: u32,
    },
    /// The entry was folded, but this host got it with a snapshot and does not know
    /// the result.
    #[error(
        "the mesh has folded this, but this host was behind and learned it from a snapshot, which does not say \
         whether it was accepted"
    )]
    FoldedUnseen,
    /// This host has stopped folding the ledger.
    #[error(transparent)]
    Halted(Halt),
    /// A host said something about another host that only that host may say of
    /// itself.
    #[error("{author} cannot speak for {of}: only a host itself says this of itself")]
    NotItsAuthor {
        /// The host that the statement is about.
        of: HostId,
        /// The host that made the statement.
        author: HostId,
    },
    /// A host tried to join under another host's number in consensus.
    #[error("the {0} is another host's, or was: a host takes a new number with each new store")]
    VoterTaken(VoterId),
    /// A member proposed a recovery like any other entry.
    #[error("a recovery is not proposed like another entry: it is made on the host that goes on")]
    NotProposed,
    /// The recovery is refused.
    #[error(transparent)]
    Recovery(#[from] NotRecovered),
    /// The agent is stopping.
    #[error("this agent is stopping")]
    Leaving,
    /// The group's health check is invalid.
    #[error("the group's health check: {0}")]
    HealthCheck(#[from] InvalidCheck),
    /// The policy is invalid.
    #[error(transparent)]
    InvalidPolicy(InvalidPolicy),
    /// Who is up is not replaced.
    #[error(
        "this host is to take the place of {0}, which is up: stop the agent there first and wait until {0} counts \
         as Down"
    )]
    StillUp(String),
    /// A value of the entry is out of its bounds.
    #[error(transparent)]
    InvalidEntry(InvalidEntry),
    /// The minimum of a zone includes every host there (M ≥ N).
    #[error(
        "{config} of the {total} hosts {} means {minimum} must stay healthy, so none of them may ever be taken out \
         of service: {advice}", in_zone(.zone)
    )]
    ImpossibleZoneMinimum {
        /// The zone's minimum as configured.
        config: String,
        /// The name of the zone; empty for hosts without a zone.
        zone: String,
        /// N: the hosts of the zone.
        total: u32,
        /// M: the hosts of the zone that must stay healthy.
        minimum: u32,
        /// The smallest change that makes the deployment possible.
        advice: String,
    },
    /// The policy goes zone by zone, but no host of the group names a zone.
    #[error(
        "{group} is to be deployed to zone by zone, but none of its {hosts} hosts says in which zone it is"
    )]
    NoZones {
        /// The name of the group.
        group: GroupName,
        /// N: the number of hosts in the group.
        hosts: u32,
    },
    /// The order of zones names a zone that no host is in.
    #[error("zones.order names {}, but no host of {group} is there; its zones are: {}", list(.unknown), list(.known))]
    UnknownZones {
        /// The name of the group.
        group: GroupName,
        /// The names in the order that no host has.
        unknown: Vec<String>,
        /// The zones of the group's hosts.
        known: Vec<String>,
    },
    /// The canary would include every host, so none would follow it.
    #[error("a canary of {config} takes in every host of {group} ({total}), so none would follow it")]
    ImpossibleCanary {
        /// The name of the group.
        group: GroupName,
        /// The canary as configured.
        config: String,
        /// The canary as a number of hosts.
        canary: u32,
        /// N: the number of hosts in the group.
        total: u32,
    },
    /// The deployment would reach its timeout while it bakes.
    #[error(
        "the bakes of this deployment take {bakes} s in all and its timeout is {timeout} s, so it could never \
         succeed"
    )]
    BakesTooLong {
        /// The length of all bakes together, in seconds.
        bakes: u64,
        /// The timeout of the deployment, in seconds.
        timeout: u64,
    },
    /// All hosts have the revision already, so outdated-only leaves none to deploy
    /// to.
    #[error(
        "all {hosts} hosts of {group} run {} already, so outdated_only leaves nothing to do: deploy without it to \
         install it again", .digest.short()
    )]
    NothingOutdated {
        /// The name of the group.
        group: GroupName,
        /// N: the number of hosts in the group.
        hosts: u32,
        /// The revision.
        digest: Digest,
    },
    /// The rollback leads to the revision that the group is at already.
    #[error(
        "{group} is back at {} already", .digest.short()
    )]
    AlreadyBack {
        /// The name of the group.
        group: GroupName,
        /// The revision that the group is at.
        digest: Digest,
    },
    /// No host of the group runs its last good revision, so there is nothing to
    /// restart.
    #[error(
        "no host of {0} runs its last good revision, so there is nothing to restart: deploy a bundle to it"
    )]
    NothingToRestart(GroupName),
    /// The last good revision has changed since the restart was asked for.
    #[error("the last good revision of {group} is no longer {}: ask for the restart again", .digest.short())]
    RestartOutrun {
        /// The name of the group.
        group: GroupName,
        /// The revision that was to be restarted.
        digest: Digest,
    },
    /// Some agents are too old to fold this deployment.
    #[error(
        "this deployment asks for what {} cannot follow ({} of the mesh {} older than wire version {needs}): \
         upgrade the agents there, or take hosts that are gone out of the mesh", list(.hosts), .older,
         if *.older == 1 { "is" } else { "are" }
    )]
    TooOld {
        /// The names of their hosts, at most the first few.
        hosts: Vec<String>,
        /// The number of such hosts.
        older: u32,
        /// The wire version that the deployment needs.
        needs: u16,
    },
    /// There is no deployment configuration with this name.
    #[error(
        "no deployment configuration `{name}`: there are {}", configs(.known)
    )]
    UnknownConfig {
        /// The name that was given.
        name: ConfigName,
        /// The mesh's own configurations.
        known: Vec<ConfigName>,
    },
    /// The name is predefined, and cannot be redefined or deleted.
    #[error("`{0}` is predefined and means the same in every mesh: choose another name")]
    PredefinedConfig(ConfigName),
    /// Groups follow the configuration, so it cannot be deleted.
    #[error("configuration `{name}` is used by {}: set another one there first", list(.groups))]
    ConfigInUse {
        /// The name of the configuration.
        name: ConfigName,
        /// The names of the groups that follow it.
        groups: Vec<String>,
    },
    /// The group has no alarm with this name that is set by hand.
    #[error("group {group} has no alarm `{alarm}` that is set by hand ({known})")]
    UnknownAlarm {
        /// The name of the group.
        group: GroupName,
        /// The name that was given.
        alarm: String,
        /// The alarms that it has, as text.
        known: String,
    },
    /// An alarm is active, and would stop the deployment at once.
    #[error(
        "alarm `{alarm}` of {group} is active since {since} ({detail}), so a deployment would be stopped at \
         once"
    )]
    AlarmActive {
        /// The name of the group.
        group: GroupName,
        /// The name of the alarm.
        alarm: String,
        /// The time at which it became active.
        since: LedgerTime,
        /// The reason, and the person who gave it.
        detail: String,
    },
    /// The deployment would be over before any host had its turn, which would only
    /// add a failed deployment.
    #[error("it would fail before any host had its turn: {0}")]
    Stillborn(Box<Reason>),
    /// The group is frozen, so nothing new may begin.
    #[error(
        "group {group} is frozen until {until} by {by}{}: rollbacks and stops are allowed",
        because(reason)
    )]
    Frozen {
        /// The name of the group.
        group: GroupName,
        /// The end of the freeze.
        until: LedgerTime,
        /// The person who froze the group.
        by: String,
        /// The reason; may be empty.
        reason: String,
    },
    /// A freeze that would end before it begins, or last too long.
    #[error(
        "invalid end of a freeze, {until}: it must be later than now ({now}) and at most {max_days} days ahead"
    )]
    NotAFreeze {
        /// The end that was asked for.
        until: LedgerTime,
        /// The time on the ledger's clock.
        now: LedgerTime,
        /// The longest freeze, in days: see `state::FREEZE_MAX`.
        max_days: u64,
    },
}

impl From<InvalidEntry> for Refusal {
    fn from(error: InvalidEntry) -> Refusal {
        match error {
            InvalidEntry::Policy(error) => Refusal::InvalidPolicy(error),
            error @ (InvalidEntry::Long { .. }
            | InvalidEntry::Control(_)
            | InvalidEntry::Many { .. }
            | InvalidEntry::Group(_)) => Refusal::InvalidEntry(error),
        }
    }
}

impl Refusal {
    /// Returns the name of the kind, as used in JSON.
    pub fn code(&self) -> &'static str {
        self.in_numbers().0
    }

    /// Returns the name of the kind, and the numbers that it is about.
    pub fn in_numbers(&self) -> (&'static str, Vec<(&'static str, u64)>) {
        match self {
            Refusal::NotJoined(_) => ("NOT_JOINED", vec![]),
            Refusal::UnknownGroup(_) => ("UNKNOWN_GROUP", vec![]),
            Refusal::UnknownDeployment(_) => ("UNKNOWN_DEPLOYMENT", vec![]),
            Refusal::NoHosts(_) => ("NO_INSTANCES", vec![]),
            Refusal::ImpossibleMinimum { total, minimum, .. } => (
                "HEALTH_CONSTRAINTS_INVALID",
                vec![("total", (*total).into()), ("minimum", (*minimum).into())],
            ),
            Refusal::AlreadyRunning { .. } | Refusal::StopFirst { .. } => ("ALREADY_RUNNING", vec![]),
            Refusal::QueueFull { .. } => ("QUEUE_FULL", vec![]),
            Refusal::AlreadyOver(..) => ("ALREADY_OVER", vec![]),
            Refusal::NothingToRollBackTo(_) => ("NOTHING_TO_ROLL_BACK_TO", vec![]),
            Refusal::UnknownRevision(..) => ("UNKNOWN_REVISION", vec![]),
            Refusal::GroupInUse { .. } => ("GROUP_IN_USE", vec![]),
            Refusal::UnknownAlarm { .. } => ("UNKNOWN_ALARM", vec![]),
            Refusal::AlarmActive { since, .. } => ("ALARM_ACTIVE", vec![("since_ms", since.as_millis())]),
            Refusal::Stillborn(reason) => (reason.code.name(), vec![]),
            Refusal::Frozen { until, .. } => ("FROZEN", vec![("until_ms", until.as_millis())]),
            Refusal::NotAFreeze { .. } => ("INVALID_TIME", vec![]),
            Refusal::UnknownHost(_) => ("UNKNOWN_HOST", vec![]),
            Refusal::Removed { at } => ("REMOVED", vec![("at_ms", at.as_millis())]),
            Refusal::LastHost => ("LAST_HOST", vec![]),
            Refusal::NotDue => ("NOT_DUE", vec![]),
            Refusal::MeshIsNewer { mesh, agent } => {
                ("MESH_IS_NEWER", vec![("mesh", (*mesh).into()), ("agent", (*agent).into())])
            }
            Refusal::StillVotes { .. } => ("STILL_VOTES", vec![]),
            Refusal::Limit { limit, .. } => ("LIMIT", vec![("limit", *limit)]),
            Refusal::NotCommitted { .. } => ("NOT_COMMITTED", vec![]),
            Refusal::FoldedUnseen => ("FOLDED_UNSEEN", vec![]),
            Refusal::Halted(_) => ("HALTED", vec![]),
            Refusal::NotItsAuthor { .. } => ("NOT_ITS_AUTHOR", vec![]),
            Refusal::VoterTaken(_) => ("VOTER_TAKEN", vec![]),
            Refusal::NotProposed => ("NOT_PROPOSED", vec![]),
            Refusal::Recovery(why) => (why.code(), vec![]),
            Refusal::HealthCheck(_) => ("INVALID_GROUP", vec![]),
            Refusal::Leaving => ("STOPPING", vec![]),
            Refusal::InvalidPolicy(_) => ("INVALID_POLICY", vec![]),
            Refusal::InvalidEntry(_) => ("INVALID_ENTRY", vec![]),
            Refusal::StillUp(_) => ("STILL_UP", vec![]),
            Refusal::ImpossibleZoneMinimum { total, minimum, .. } => (
                "HEALTH_CONSTRAINTS_INVALID",
                vec![("zone_total", (*total).into()), ("zone_minimum", (*minimum).into())],
            ),
            Refusal::NoZones { hosts, .. } => ("NO_ZONES", vec![("total", (*hosts).into())]),
            Refusal::UnknownZones { .. } => ("UNKNOWN_ZONES", vec![]),
            Refusal::ImpossibleCanary { canary, total, .. } => {
                ("IMPOSSIBLE_CANARY", vec![("canary", (*canary).into()), ("total", (*total).into())])
            }
            Refusal::BakesTooLong { bakes, timeout } => {
                ("BAKES_TOO_LONG", vec![("bake_seconds", *bakes), ("timeout_seconds", *timeout)])
            }
            Refusal::AlreadyBack { .. } => ("ALREADY_BACK", vec![]),
            Refusal::NothingOutdated { hosts, .. } => ("NOTHING_OUTDATED", vec![("total", (*hosts).into())]),
            Refusal::NothingToRestart(_) => ("NOTHING_TO_RESTART", vec![]),
            Refusal::RestartOutrun { .. } => ("RESTART_OUTRUN", vec![]),
            Refusal::TooOld { older, needs, .. } => {
                ("AGENTS_TOO_OLD", vec![("older", (*older).into()), ("wire", (*needs).into())])
            }
            Refusal::UnknownConfig { .. } => ("UNKNOWN_CONFIG", vec![]),
            Refusal::PredefinedConfig(_) => ("PREDEFINED_CONFIG", vec![]),
            Refusal::ConfigInUse { .. } => ("CONFIG_IN_USE", vec![]),
        }
    }

    /// Returns true if the reason goes away with time, or can be removed elsewhere.
    /// The same deployment could then be submitted unchanged.
    pub const fn passes(&self) -> bool {
        matches!(
            self,
            Refusal::AlreadyRunning { .. }
                | Refusal::StopFirst { .. }
                | Refusal::QueueFull { .. }
                | Refusal::AlarmActive { .. }
                | Refusal::Frozen { .. }
        )
    }
}

fn stop_first(group: &GroupName, busy: DeploymentId, first: First) -> String {
    match first {
        First::GoesBack => format!("{group} is being taken back already"),
        First::StopAndGoBack => {
            format!(
                "deployment {busy} of {group} is still running: stop it with a rollback, which goes back there"
            )
        }
        First::Stop => format!("deployment {busy} of {group} is still running: stop it, then ask again"),
        First::StopQueued => {
            format!("deployment {busy} of {group} is about to begin: stop it, then ask again")
        }
    }
}

fn without(voters_up: u32, voters: u32) -> &'static str {
    if voters_up > voters / 2 {
        return "";
    }
    "; nothing can be committed without most of them"
}

fn list(names: &[String]) -> String {
    names.join(", ")
}

fn configs(known: &[ConfigName]) -> String {
    let predefined = PREDEFINED.iter().map(|(name, _)| (*name).to_string());
    predefined.chain(known.iter().map(ToString::to_string)).collect::<Vec<_>>().join(", ")
}

fn in_zone(zone: &str) -> String {
    if zone.is_empty() { "without a zone".into() } else { format!("in zone {zone}") }
}
