//! `skein push`, `plan`, `deploy`, `stop`, `rollback`: what changes hosts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use proto::id::{DeploymentId, Digest, GroupName};

use super::group::path_of;
use super::watch::{self, Patience};
use super::{Exit, Session};
use crate::api::{DeployBody, PlanBody, PushBody, RevisionView, RollbackBody, StopBody};
use crate::view::{DeploymentView, PlanView};

#[derive(Args)]
pub(crate) struct PushArgs {
    /// A directory or archive, s3://…, https://…, github:owner/repo@commit
    source: String,
}

#[derive(Args)]
pub(crate) struct PlanArgs {
    /// APPLICATION/GROUP
    group: GroupName,
    /// A directory or archive, s3://…, https://…, github:owner/repo@commit, blake3:DIGEST
    source: String,
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Args)]
pub(crate) struct DeployArgs {
    /// APPLICATION/GROUP
    group: GroupName,
    /// A directory or archive, s3://…, https://…, github:owner/repo@commit, blake3:DIGEST
    #[arg(required_unless_present = "restart", conflicts_with = "restart")]
    source: Option<String>,
    /// Stop and start what is installed, host by host, without a download; same as --override mode=RESTART
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    waiting: Waiting,
    /// Words for those who read the history
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    #[command(flatten)]
    overrides: Overrides,
    /// Wait behind the group's running deployment instead of being refused
    #[arg(long)]
    queue: bool,
}

#[derive(Args)]
pub(crate) struct StopArgs {
    /// The deployment's id
    deployment: DeploymentId,
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
    /// A revision's digest [default: the last good one before the current]
    #[arg(long, value_name = "REVISION")]
    to: Option<Digest>,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Args)]
struct Waiting {
    /// Show how it goes until it is over (the default)
    #[arg(long, conflicts_with = "detach")]
    watch: bool,
    /// Return as soon as it is submitted
    #[arg(long)]
    detach: bool,
    /// Wait at most so long (30s, 10m); then exit 7, and the deployment goes on
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "detach")]
    wait_timeout: Option<Duration>,
}

#[derive(Args)]
struct Overrides {
    /// In this deployment alone, a setting of the group file: config, minimum_healthy, turns_max,
    /// canary.hosts, zones.bake, rollback.on …; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_value)]
    pairs: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().into(), value.trim().into())),
        Some(_) | None => Err("write KEY=VALUE, for example config=AllAtOnce".into()),
    }
}

impl Overrides {
    /// By key.
    /// # Errors
    /// If a key is given two values.
    fn map(self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut map = BTreeMap::new();
        for (key, value) in self.pairs {
            if let Some(other) = map.insert(key.clone(), value.clone())
                && other != value
            {
                bail!("override `{key}` is given twice, as `{other}` and as `{value}`: keep one");
            }
        }
        Ok(map)
    }
}

pub(super) async fn push(session: &Session, args: PushArgs) -> anyhow::Result<Exit> {
    let body = PushBody { source: absolute_source(&args.source)? };
    let revision: RevisionView = session.client.post("/v1/bundles", &body).await?;
    session.screen.result(&revision, || revision.digest.clone())?;
    Ok(Exit::Done)
}

pub(super) async fn plan(session: &Session, args: PlanArgs) -> anyhow::Result<Exit> {
    let source = absolute_source(&args.source)?;
    let body = PlanBody { group: args.group.to_string(), source, overrides: args.overrides.map()? };
    let plan: PlanView = session.client.post("/v1/plan", &body).await?;
    session.screen.result(&plan, || plan_words(&plan))?;
    Ok(if plan.is_possible { Exit::Done } else { Exit::Refused })
}

fn plan_words(plan: &PlanView) -> String {
    let PlanView { group, config, total, minimum, turns_max, .. } = plan;
    let head = format!(
        "{group}: {total} hosts, {config}: {minimum} must stay healthy, {turns_max} at a time at most."
    );
    if !plan.is_possible {
        return format!("{head}\nIt can never finish: no host may be taken out of service.");
    }
    let mut text = format!("{head}\n");
    for (at, batch) in plan.batches.iter().enumerate() {
        text.push_str(&format!("  {:>3}. {}\n", at + 1, batch.join(", ")));
    }
    text.push_str(&format!("In service at the fewest: {} of {total}.\n", plan.lowest_in_service));
    text.push_str(&match plan.stopped_by_failures {
        1 => "The first failed turn stops it.".to_string(),
        several => format!("{several} failed turns, from the first on, stop it."),
    });
    text
}

pub(super) async fn deploy(session: &Session, args: DeployArgs) -> anyhow::Result<Exit> {
    let mut overrides = args.overrides.map()?;
    if args.restart && overrides.insert("mode".into(), "RESTART".into()).is_some_and(|mode| mode != "RESTART")
    {
        bail!("--restart and --override mode=… say different things: keep one");
    }
    let body = DeployBody {
        group: args.group.to_string(),
        source: args.source.as_deref().map(absolute_source).transpose()?,
        digest: None,
        description: args.description,
        overrides,
        queue: args.queue,
    };
    let submitted: DeploymentView = session.client.post("/v1/deployments", &body).await?;
    follow(session, submitted, args.waiting).await
}

pub(super) async fn rollback(session: &Session, args: RollbackArgs) -> anyhow::Result<Exit> {
    let body = RollbackBody { to: args.to.map(|digest| digest.to_string()) };
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
    let path = format!("/v1/deployments/{}/stop", args.deployment);
    let body = StopBody { rollback: args.rollback, now: args.now };
    let stopped: DeploymentView = session.client.post(&path, &body).await?;
    session.screen.result(&stopped, || {
        let under_way = match stopped.counts.in_progress {
            0 => "no turn is under way".to_string(),
            turns if args.now => format!("{turns} under way are cut short"),
            turns => format!("{turns} under way come to their end first"),
        };
        let then = if args.rollback { "; then it is rolled back" } else { "" };
        format!("{} stops: {under_way}{then}.", stopped.id)
    })?;
    Ok(Exit::Done)
}

/// The agent has another working directory: a path is made whole, anything
/// else goes as it is.
fn absolute_source(source: &str) -> anyhow::Result<String> {
    const NOT_PATHS: [&str; 5] = ["s3://", "https://", "http://", "github:", "blake3:"];
    if NOT_PATHS.iter().any(|prefix| source.starts_with(prefix)) {
        return Ok(source.to_string());
    }
    let path = Path::new(source);
    if !path.exists() {
        bail!(
            "there is no `{source}`: give a directory or an archive with an appspec.yml, s3://…, https://…, \
             github:owner/repo@commit or blake3:DIGEST"
        );
    }
    let path = std::path::absolute(path).context("cannot find the current directory")?;
    path.into_os_string().into_string().map_err(|path| {
        anyhow::anyhow!("the path {} is not UTF-8: give the bundle another name", path.to_string_lossy())
    })
}
