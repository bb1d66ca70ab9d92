//! Why a request is refused: typed, with numbers, and with what to do.

use super::because;
use crate::health::InvalidCheck;
use crate::id::{ConfigName, DeploymentId, Digest, GroupName, HostId, VoterId};
use crate::node::Halt;
use crate::policy::{InvalidPolicy, PREDEFINED};
use crate::time::LedgerTime;

/// What must come first for who wants to go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Another rollback is on its way.
    GoesBack,
    /// What runs may be stopped in such a way that the mesh goes back there.
    StopAndGoBack,
    /// What runs may be stopped.
    Stop,
    /// What waits may be stopped.
    StopQueued,
}

/// Why a request is refused. Nothing has changed, unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This host has not joined a mesh yet.
    #[error("this host has not joined its mesh yet: {0}")]
    NotJoined(String),
    /// No such group.
    #[error("no group {0}: `skein group list` shows the groups, `skein group set FILE` defines one")]
    UnknownGroup(GroupName),
    /// No such deployment.
    #[error("no deployment {0}: `skein deployments` lists them")]
    UnknownDeployment(DeploymentId),
    /// No host has the tags.
    #[error("no host matches the tags of group {0}: `skein hosts` shows every host's tags")]
    NoHosts(GroupName),
    /// M ≥ N: nothing could ever be taken out of service.
    #[error(
        "{config} of {total} hosts means {minimum} must stay healthy, so no host may ever be taken out of \
         service: {advice}"
    )]
    ImpossibleMinimum {
        /// The minimum as configured.
        config: String,
        /// N.
        total: u32,
        /// M.
        minimum: u32,
        /// The smallest change that makes it possible.
        advice: String,
    },
    /// One deployment per group at a time.
    #[error("deployment {running} of {group} is still running: stop it, wait for it, or submit with --queue")]
    AlreadyRunning {
        /// The group.
        group: GroupName,
        /// What runs.
        running: DeploymentId,
    },
    /// Nothing goes back beside a deployment that runs.
    #[error("{}", stop_first(group, *busy, *first))]
    StopFirst {
        /// The group.
        group: GroupName,
        /// What is in the way.
        busy: DeploymentId,
        /// What comes first.
        first: First,
    },
    /// The queue holds one.
    #[error("deployment {queued} of {group} is waiting already: a group's queue holds one")]
    QueueFull {
        /// The group.
        group: GroupName,
        /// What waits.
        queued: DeploymentId,
    },
    /// The deployment is over.
    #[error("deployment {0} is over already ({1})")]
    AlreadyOver(DeploymentId, &'static str),
    /// No revision to go back to.
    #[error("group {0} has no earlier good revision to roll back to")]
    NothingToRollBackTo(GroupName),
    /// A revision that was never deployed to the group.
    #[error("revision {0} was never deployed successfully to {1}: `skein history {1}` lists what was")]
    UnknownRevision(Digest, GroupName),
    /// A group that is being deployed to cannot be removed.
    #[error("group {group} has a running deployment, {running}: stop it first")]
    GroupInUse {
        /// The group.
        group: GroupName,
        /// What runs.
        running: DeploymentId,
    },
    /// No such host.
    #[error("no host {0} in this mesh")]
    UnknownHost(HostId),
    /// The host that is asked does not belong to the mesh any more.
    #[error(
        "this host was taken out of its mesh at {at}: what it knows is as of then. To let the machine in again, \
         give its agent a new data directory and a token (`skein mesh token` on a member)"
    )]
    Removed {
        /// When.
        at: LedgerTime,
    },
    /// A mesh without hosts would know nothing.
    #[error("it is the only host of this mesh: stop its agent and remove its data directory instead")]
    LastHost,
    /// It is out of the mesh, but the mesh still needs it.
    #[error(
        "the host is out of the mesh, but after {seconds} s no other has taken its place in consensus ({voters_up} \
         of {voters} voters are connected): leave its agent running, and say this again until it is done"
    )]
    StillVotes {
        /// How long it was waited for.
        seconds: u64,
        /// Voters that this host is connected to, itself included.
        voters_up: u32,
        /// Voters in all.
        voters: u32,
    },
    /// Too large, too many, out of bounds.
    #[error("{what}: at most {limit}")]
    Limit {
        /// What is too much.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// Consensus did not answer. The change may or may not still happen.
    #[error(
        "the mesh did not commit this within {seconds} s ({voters_up} of {voters} voters are connected): it may \
         still happen; look with `skein status` before trying again"
    )]
    NotCommitted {
        /// How long it was tried.
        seconds: u64,
        /// Voters that this host is connected to, itself included.
        voters_up: u32,
        /// Voters in all.
        voters: u32,
    },
    /// It was folded where this host did not see it.
    #[error(
        "the mesh has folded this, but this host was behind and learned it from a snapshot, which does not say \
         whether it was accepted: look with `skein status` before trying again"
    )]
    FoldedUnseen,
    /// This host folds the ledger no further.
    #[error(transparent)]
    Halted(Halt),
    /// Only a host itself speaks of itself.
    #[error("{author} cannot speak for {of}: only a host itself says this of itself")]
    NotItsAuthor {
        /// Of which host something was said.
        of: HostId,
        /// By which host.
        author: HostId,
    },
    /// A host joins under another's number in consensus.
    #[error("the {0} is another host's, or was: a host takes a new number with each new store")]
    VoterTaken(VoterId),
    /// The agent ends.
    #[error("this agent is stopping")]
    Leaving,
    /// The group's health check could not work.
    #[error("the group's health check: {0}")]
    HealthCheck(#[from] InvalidCheck),
    /// What no policy may say.
    #[error(transparent)]
    InvalidPolicy(InvalidPolicy),
    /// M ≥ N in a zone.
    #[error(
        "{config} of the {total} hosts {} means {minimum} must stay healthy, so none of them may ever be taken out \
         of service: {advice}", in_zone(.zone)
    )]
    ImpossibleZoneMinimum {
        /// The zone's minimum as configured.
        config: String,
        /// Which zone; empty for hosts that name none.
        zone: String,
        /// N of the zone.
        total: u32,
        /// M of the zone.
        minimum: u32,
        /// The smallest change that makes it possible.
        advice: String,
    },
    /// Zone by zone, with no zones.
    #[error(
        "{group} is to be deployed to zone by zone, but none of its {hosts} hosts says in which zone it is: start \
         their agents with --zone, or remove [zones] (for one deployment: --override zones.enabled=false)"
    )]
    NoZones {
        /// The group.
        group: GroupName,
        /// N.
        hosts: u32,
    },
    /// A zone is put in order that no host is in.
    #[error("zones.order names {}, but no host of {group} is there; its zones are: {}", list(.unknown), list(.known))]
    UnknownZones {
        /// The group.
        group: GroupName,
        /// Those that no host has.
        unknown: Vec<String>,
        /// Those that its hosts have.
        known: Vec<String>,
    },
    /// A canary that nobody follows.
    #[error(
        "a canary of {config} takes in every host of {group} ({total}), so nobody would follow it: make it \
         smaller{}, or leave it out (--override canary.enabled=false)", smaller(*.total)
    )]
    ImpossibleCanary {
        /// The group.
        group: GroupName,
        /// The canary as configured.
        config: String,
        /// As a number of hosts.
        canary: u32,
        /// N.
        total: u32,
    },
    /// It would time out while it bakes.
    #[error(
        "the bakes of this deployment take {bakes} s in all and its timeout is {timeout} s, so it could never end \
         well: make the bakes shorter, or the timeout longer (--override timeout={}s)", .bakes + .timeout
    )]
    BakesTooLong {
        /// Seconds in all.
        bakes: u64,
        /// Seconds.
        timeout: u64,
    },
    /// All hosts have it.
    #[error(
        "all {hosts} hosts of {group} run {} already, so outdated_only leaves nothing to do: deploy without it to \
         install it again", .digest.short()
    )]
    NothingOutdated {
        /// The group.
        group: GroupName,
        /// N.
        hosts: u32,
        /// The revision.
        digest: Digest,
    },
    /// A rollback to where the group is.
    #[error(
        "{group} is back at {} already: to go back further, name an older revision (`skein rollback {group} --to \
         …`; `skein history {group}` lists them)", .digest.short()
    )]
    AlreadyBack {
        /// The group.
        group: GroupName,
        /// Where it is.
        digest: Digest,
    },
    /// A restart of what is not there.
    #[error(
        "no host of {0} runs its last good revision, so there is nothing to restart: deploy a bundle to it"
    )]
    NothingToRestart(GroupName),
    /// The revision has changed since the restart was asked for.
    #[error("the last good revision of {group} is not {} any more: ask for the restart again", .digest.short())]
    RestartOutrun {
        /// The group.
        group: GroupName,
        /// What was to be restarted.
        digest: Digest,
    },
    /// Agents that could not follow it.
    #[error(
        "this deployment asks for what {} cannot follow ({} of the mesh {} older than wire version {needs}): \
         upgrade the agents there, or take hosts that are gone out of the mesh", list(.hosts), .older,
         if *.older == 1 { "is" } else { "are" }
    )]
    TooOld {
        /// Their names, the first few.
        hosts: Vec<String>,
        /// How many.
        older: u32,
        /// The wire version that is needed.
        needs: u16,
    },
    /// No such configuration.
    #[error(
        "no deployment configuration `{name}`: there are {}; `skein config set FILE` defines one", configs(.known)
    )]
    UnknownConfig {
        /// As given.
        name: ConfigName,
        /// Those of the mesh's own.
        known: Vec<ConfigName>,
    },
    /// The predefined names mean the same everywhere.
    #[error("`{0}` is predefined and means the same in every mesh: choose another name")]
    PredefinedConfig(ConfigName),
    /// A configuration that groups follow cannot be removed.
    #[error("configuration `{name}` is used by {}: set another one there first", list(.groups))]
    ConfigInUse {
        /// Which.
        name: ConfigName,
        /// By whom.
        groups: Vec<String>,
    },
    /// No such alarm.
    #[error(
        "group {group} has no alarm `{alarm}` that is set by hand ({known}): see `skein alarm list {group}`"
    )]
    UnknownAlarm {
        /// The group.
        group: GroupName,
        /// As typed.
        alarm: String,
        /// Those that it has, in words.
        known: String,
    },
    /// An alarm that was set by hand would stop it at once.
    #[error(
        "alarm `{alarm}` of {group} is active since {since} ({detail}), so a deployment would be stopped at \
         once: `skein alarm clear {group} {alarm}`, or submit with --override alarms=ignore"
    )]
    AlarmActive {
        /// The group.
        group: GroupName,
        /// Which.
        alarm: String,
        /// Since when.
        since: LedgerTime,
        /// Why, and by whom.
        detail: String,
    },
    /// Nothing new begins now.
    #[error(
        "group {group} is frozen until {until} by {by}{}: wait, or end it with `skein unfreeze {group}`; \
         rollbacks and stops are allowed",
        because(reason)
    )]
    Frozen {
        /// The group.
        group: GroupName,
        /// Until when.
        until: LedgerTime,
        /// Who did it.
        by: String,
        /// Why; may be empty.
        reason: String,
    },
    /// A freeze that would end before it begins, or last too long.
    #[error(
        "until {until} is no freeze: it must be later than now ({now}) and at most {max_days} days ahead"
    )]
    NotAFreeze {
        /// As asked.
        until: LedgerTime,
        /// The ledger's clock.
        now: LedgerTime,
        /// See `state::FREEZE_MAX`.
        max_days: u64,
    },
}

impl Refusal {
    /// What kind: the word that JSON carries.
    pub fn code(&self) -> &'static str {
        self.in_numbers().0
    }

    /// The kind, and the numbers that it is about.
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
            Refusal::Frozen { until, .. } => ("FROZEN", vec![("until_ms", until.as_millis())]),
            Refusal::NotAFreeze { .. } => ("INVALID_TIME", vec![]),
            Refusal::UnknownHost(_) => ("UNKNOWN_HOST", vec![]),
            Refusal::Removed { at } => ("REMOVED", vec![("at_ms", at.as_millis())]),
            Refusal::LastHost => ("LAST_HOST", vec![]),
            Refusal::StillVotes { .. } => ("STILL_VOTES", vec![]),
            Refusal::Limit { limit, .. } => ("LIMIT", vec![("limit", *limit)]),
            Refusal::NotCommitted { .. } => ("NOT_COMMITTED", vec![]),
            Refusal::FoldedUnseen => ("FOLDED_UNSEEN", vec![]),
            Refusal::Halted(_) => ("HALTED", vec![]),
            Refusal::NotItsAuthor { .. } => ("NOT_ITS_AUTHOR", vec![]),
            Refusal::VoterTaken(_) => ("VOTER_TAKEN", vec![]),
            Refusal::HealthCheck(_) => ("INVALID_GROUP", vec![]),
            Refusal::Leaving => ("STOPPING", vec![]),
            Refusal::InvalidPolicy(_) => ("INVALID_POLICY", vec![]),
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

    /// Whether it passes by itself, or by what somebody does elsewhere: the
    /// deployment as it was asked for could be submitted then.
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
        First::GoesBack => format!("{group} is being taken back already: `skein status {group}`"),
        First::StopAndGoBack => format!(
            "deployment {busy} of {group} is still running: `skein stop {busy} --rollback` ends it and goes back"
        ),
        First::Stop => format!(
            "deployment {busy} of {group} is still running: end it with `skein stop {busy}`, then ask again"
        ),
        First::StopQueued => format!(
            "deployment {busy} of {group} is about to begin: take it back with `skein stop {busy}`, then ask again"
        ),
    }
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

fn smaller(total: u32) -> String {
    if total < 2 { String::new() } else { format!(" (at most {})", total - 1) }
}
