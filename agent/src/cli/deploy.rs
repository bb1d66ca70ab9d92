//! `skein push`, `deploy`, `stop`, `rollback`: the commands that change hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use proto::deployment_kind::DeploymentKind;
use proto::id::GroupName;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::group::path_of;
use super::packing::{self, Place};
use super::progress_meter::Meter;
use super::show::deployment_path;
use super::watch::{self, Patience};
use super::which::{self, OfGroup};
use super::{Exit, Mistyped, Session};
use crate::api::{CheckBody, DeployBody, PushBody, RevisionView, RollbackBody, StopBody};
use crate::harmless::clean;
use crate::view::{DeploymentView, TurnView};

#[derive(Args)]
pub(crate) struct PushArgs {
    /// A directory or archive, s3://bucket/key, https://…, github:owner/repo@commit
    source: String,
}

#[derive(Args)]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    options: DeployOptions,
    #[command(flatten)]
    waiting: Waiting,
    /// A description, shown in the history
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
}

/// The bundle, the group and the settings of a deployment, for `deploy` and `plan`.
#[derive(Args)]
pub(super) struct DeployOptions {
    /// APPLICATION/GROUP
    pub(super) group: GroupName,
    /// A directory or archive, s3://…, https://…, github:owner/repo@commit, blake3:DIGEST
    #[arg(required_unless_present = "restart", conflicts_with = "restart")]
    source: Option<String>,
    /// Stop and start what is installed, host by host, without a download; same as --override mode=RESTART
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    overrides: Overrides,
    /// Wait behind the group's running deployment instead of being refused
    #[arg(long)]
    pub(super) queue: bool,
}

#[derive(Args)]
pub(crate) struct StopArgs {
    #[arg(help = which::WORDS)]
    deployment: String,
    /// Roll back afterwards, whatever the group's policy says
    #[arg(long)]
    rollback: bool,
    /// Cut running scripts short (SIGTERM, then SIGKILL) instead of letting each host finish its event
    #[arg(long)]
    now: bool,
}

#[derive(Args)]
pub(crate) struct RollbackArgs {
    /// APPLICATION/GROUP
    group: GroupName,
    /// A revision's digest, or its first hex digits [default: the last good one before the current]
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Args)]
struct Waiting {
    /// Show the progress until the deployment is over (the default)
    #[arg(long, conflicts_with = "detach")]
    watch: bool,
    /// Return as soon as it is submitted
    #[arg(long)]
    detach: bool,
    /// Wait at most this long (30s, 10m); then exit with 7, while the deployment continues
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "detach")]
    wait_timeout: Option<Duration>,
}

#[derive(Args)]
struct Overrides {
    /// In this deployment alone, a setting of the group file: config, minimum_healthy, turns_max,
    /// canary.hosts, zones.bake, rollback.on …; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_value)]
    pairs: Vec<(String, String)>,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("invalid duration `{text}`: use 30s or 10m"))
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().into(), value.trim().into())),
        Some(_) | None => Err("write KEY=VALUE, for example config=AllAtOnce".into()),
    }
}

impl DeployOptions {
    /// Returns the place of the bundle; `None` for a restart.
    pub(super) fn place(&self) -> anyhow::Result<Option<Place>> {
        self.source.as_deref().map(Place::of).transpose()
    }

    /// Returns the overrides by key, including `--restart`.
    /// # Errors
    /// If they contradict each other.
    pub(super) fn overrides(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut overrides = self.overrides.map()?;
        let mode = self.restart.then(|| overrides.insert("mode".into(), "RESTART".into())).flatten();
        if mode.is_some_and(|mode| mode != "RESTART") {
            let problem = "--restart and --override mode=… say different things: keep one";
            return Err(Mistyped(problem.into()).into());
        }
        Ok(overrides)
    }
}

impl Overrides {
    /// Returns the overrides by key.
    /// # Errors
    /// If a key has two values.
    fn map(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut map = BTreeMap::new();
        for (key, value) in &self.pairs {
            if let Some(other) = map.insert(key.clone(), value.clone())
                && other != *value
            {
                let problem =
                    format!("override `{key}` is given twice, as `{other}` and as `{value}`: keep one");
                return Err(Mistyped(problem).into());
            }
        }
        Ok(map)
    }
}

pub(super) async fn push(session: &Session, args: PushArgs) -> anyhow::Result<Exit> {
    let revision: RevisionView = match Place::of(&args.source)? {
        Place::Here(path) => packing::send(session, &path).await?,
        Place::Elsewhere(source) => bring(session, "/v1/bundles", &PushBody { source }).await?,
    };
    warn(session, &revision.warnings);
    session.screen.result(&revision, || revision.digest.clone())?;
    Ok(Exit::Done)
}

pub(super) async fn deploy(session: &Session, args: DeployArgs) -> anyhow::Result<Exit> {
    let options = args.options;
    let (group, overrides, place) = (options.group.to_string(), options.overrides()?, options.place()?);
    if matches!(place, Some(Place::Here(_))) {
        // Check first: a mistyped name must not cost an upload.
        let check = CheckBody { group: group.clone(), overrides: overrides.clone() };
        let _: serde_json::Value = session.client.post("/v1/deployments/check", &check).await?;
    }
    let Sent { source, digest, origin } = sent(session, place).await?;
    let description = args.description;
    let body = DeployBody { group, source, digest, origin, description, overrides, queue: options.queue };
    let submitted: DeploymentView = bring(session, "/v1/deployments", &body).await?;
    warn(session, &submitted.warnings);
    follow(session, submitted, args.waiting).await
}

/// The reference to a bundle in a request, after the bundle itself was sent if necessary.
#[derive(Default)]
pub(super) struct Sent {
    pub(super) source: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) origin: Option<String>,
}

/// Sends the bundle, if it is on this machine.
pub(super) async fn sent(session: &Session, place: Option<Place>) -> anyhow::Result<Sent> {
    Ok(match place {
        Some(Place::Here(path)) => {
            let RevisionView { digest, origin, .. } = packing::send(session, &path).await?;
            Sent { source: None, digest: Some(digest), origin: Some(origin) }
        }
        Some(Place::Elsewhere(source)) => Sent { source: Some(source), ..Sent::default() },
        None => Sent::default(),
    })
}

/// Prints the oddities of a bundle.
pub(super) fn warn(session: &Session, warnings: &[String]) {
    warnings.iter().for_each(|warning| session.screen.note(&format!("warning: {}", clean(warning))));
}

pub(super) async fn rollback(session: &Session, args: RollbackArgs) -> anyhow::Result<Exit> {
    let body = RollbackBody { to: args.to, overrides: args.overrides.map()? };
    let submitted: DeploymentView =
        session.client.post(&format!("{}/rollback", path_of(&args.group)), &body).await?;
    follow(session, submitted, args.waiting).await
}

async fn follow(session: &Session, submitted: DeploymentView, waiting: Waiting) -> anyhow::Result<Exit> {
    if waiting.detach {
        session.screen.result(&submitted, || submitted.id.clone())?;
        return Ok(Exit::Done);
    }
    watch::follow(session, submitted, Patience::of(waiting.wait_timeout)).await
}

pub(super) async fn stop(session: &Session, args: StopArgs) -> anyhow::Result<Exit> {
    // A script that is cut short may have ended before the answer arrives.
    let id = which::deployment(session, &args.deployment, OfGroup::Running).await?;
    let before: DeploymentView = session.client.get(&deployment_path(id)).await?;
    let path = format!("/v1/deployments/{id}/stop");
    let body = StopBody { rollback: args.rollback, now: args.now };
    let stopped: DeploymentView = session.client.post(&path, &body).await?;
    session.screen.result(&stopped, || stops(&before, &stopped, args.rollback, args.now))?;
    Ok(Exit::Done)
}

/// The number of running turns to list.
const UNDER_WAY_SHOWN: usize = 10;

/// Describes which turns were running at the time of the request, their events, and what
/// happens to them. A lease that was not used is taken back, which does not count as a turn.
fn stops(before: &DeploymentView, stopped: &DeploymentView, rollback: bool, now: bool) -> String {
    let id = &stopped.id;
    if stopped.never_began() {
        let nothing = if rollback { ", so there is nothing to roll back" } else { "" };
        return format!("{id} is stopped: it never began, and no host was touched{nothing}.");
    }
    let has_begun = |host: &&TurnView| {
        host.started_at.is_some() && ["InProgress", "Unknown"].contains(&host.status.as_str())
    };
    let mut named: Vec<String> = before
        .hosts()
        .iter()
        .filter(has_begun)
        .map(|host| match &host.event {
            Some(event) => format!("{} in {event}", host.who.label()),
            None => host.who.label().into(),
        })
        .collect();
    let turns = named.len();
    named.truncate(UNDER_WAY_SHOWN);
    let mut names = named.join(", ");
    if turns > UNDER_WAY_SHOWN {
        names.push_str(&format!(" and {} more", turns - UNDER_WAY_SHOWN));
    }
    let under_way = match (turns, now) {
        (0, _) => "no turn is under way".to_string(),
        (1, true) => format!("the turn under way is cut short ({names})"),
        (1, false) => format!("the turn under way comes to the end of its event first ({names})"),
        (turns, true) => format!("{turns} turns under way are cut short ({names})"),
        (turns, false) => format!("{turns} turns under way come to the end of their events first ({names})"),
    };
    let then = if rollback { format!("; {}", then(stopped, turns)) } else { String::new() };
    format!("{id} stops: {under_way}{then}.")
}

/// Describes what happens to a requested rollback.
fn then(stopped: &DeploymentView, turns: usize) -> &'static str {
    match stopped.kind() {
        DeploymentKind::ManualRollback | DeploymentKind::Rollback => {
            return "it is a rollback itself, so it is not rolled back";
        }
        DeploymentKind::CatchUp => {
            return "it only brings hosts up to date that fell behind, so it is not rolled back";
        }
        DeploymentKind::InPlace | DeploymentKind::Restart => {}
    }
    match stopped.counts.succeeded + stopped.counts.failed {
        0 if turns == 0 => "no host was touched, so there is nothing to roll back",
        _ => "then it is rolled back, unless no revision was good before it",
    }
}

/// Sends a request that needs a bundle, which the agent may have to download first; shows its progress.
pub(super) async fn bring<T: DeserializeOwned>(
    session: &Session,
    path: &str,
    body: &impl Serialize,
) -> anyhow::Result<T> {
    let mut meter = Meter::new(&session.screen);
    Ok(session.client.post_watching(path, body, |far| meter.show(far)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::watch::tests::{deployment, host};

    #[test]
    fn who_stops_a_deployment_reads_which_host_is_where() {
        let at = || Some("2026-01-01T00:00:00.000Z".to_string());
        let begun = TurnView { started_at: at(), ..host("web-1", "InProgress", Some("Install")) };
        // Its lease is not used yet.
        let hosts = vec![begun, host("web-2", "InProgress", None), host("web-3", "Pending", None)];
        let before = DeploymentView { started_at: at(), ..deployment("InProgress", hosts) };
        let stopped = DeploymentView { started_at: at(), ..deployment("Stopped", vec![]) };
        let words = "d-ABCDEFGH1 stops: the turn under way comes to the end of its event first (web-1 in Install); then it is rolled back, unless no revision was good before it.";
        assert_eq!(stops(&before, &stopped, true, false), words);
        let cut = "d-ABCDEFGH1 stops: the turn under way is cut short (web-1 in Install).";
        assert_eq!(stops(&before, &stopped, false, true), cut, "also if they have ended by the answer");
    }

    #[test]
    fn a_mistyped_wait_is_answered_with_what_to_write() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("x"), Err("invalid duration `x`: use 30s or 10m".into()));
    }

    #[test]
    fn what_never_began_is_not_said_to_be_rolled_back() {
        let view = deployment("Stopped", vec![]);
        let never = "d-ABCDEFGH1 is stopped: it never began, and no host was touched";
        assert_eq!(stops(&view, &view, true, false), format!("{never}, so there is nothing to roll back."));
        assert_eq!(stops(&view, &view, false, false), format!("{never}."));
    }
}
