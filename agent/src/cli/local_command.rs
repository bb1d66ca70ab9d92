//! `skein local`; under the name `codedeploy-local` it is [`codedeploy`].

pub(crate) mod codedeploy;
mod options;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use proto::appspec::{CustomEvents, Mistake};
use proto::entry::Failure;
use proto::lifecycle::Course;
use proto::policy::FileExists;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Exit, Screen, progress_meter};
use crate::bundle::remote::Settings;
use crate::bundle::source::Source;
use crate::bundle::{self, Cache, Kind, unpack};
use crate::check;
use crate::harmless::clean;
use crate::host_side::appspec_file::find_appspec;
use crate::host_side::deployment::EventError;
use crate::install::state::REVISIONS_MAX;
use crate::local::agent_config::{self, AgentConfig};
use crate::local::{EventEnd, Local, LocalError, Request, event_list};
use crate::telemetry;
use options::{BundleType, Options};

/// Deploy a bundle to this host alone, without a mesh
#[derive(Args, Debug)]
pub(crate) struct LocalArgs {
    /// The bundle: a directory or an archive, s3://…, https://…, github:owner/repo@commit [default: the current
    /// directory]
    #[arg(value_name = "SOURCE", conflicts_with = "bundle_location")]
    source: Option<String>,
    /// Only report what is wrong with the bundle; run and change nothing
    #[arg(long)]
    check: bool,
    /// The form that the bundle must have [default: the form that it has]
    #[arg(short = 't', long = "type", value_name = "TYPE", ignore_case = true)]
    kind: Option<BundleType>,
    #[command(flatten)]
    options: Options,
    /// Continue if a script that stops the previous revision fails
    #[arg(long)]
    ignore_application_stop_failures: bool,
    /// Run exactly these events, in this order, even without the events that they need before them
    #[arg(long, value_name = "EVENTS", hide = true, conflicts_with = "events")]
    only_events: Option<String>,
    /// Continue after an event that failed
    #[arg(long, hide = true)]
    keep_going: bool,
    /// Run the scripts that the rollback of a blue/green deployment runs on a host
    #[arg(long)]
    blue_green_rollback: bool,
    /// The directory for deployments [default: root_dir of the configuration file]
    #[arg(long, value_name = "DIR")]
    deploy_root: Option<PathBuf>,
}

/// The directory in which the official agent keeps its deployments.
const DEPLOY_ROOT: &str = "/opt/codedeploy-agent/deployment-root";

/// Deploys or checks a bundle. The exit code is 0 on success, otherwise 1.
pub(crate) async fn run(args: LocalArgs, screen: &Screen) -> anyhow::Result<Exit> {
    telemetry::start_plain();
    let location = args.source.as_ref().or(args.options.bundle_location.as_ref()).cloned();
    let location = location.unwrap_or_else(|| ".".to_owned());
    let source: Source = location.parse().context("this is no bundle")?;
    args.kind.map_or(Ok(()), |kind| require(kind, &source))?;
    let success =
        if args.check { check(&args, source, screen).await? } else { deploy(args, source, screen).await? };
    Ok(if success { Exit::Done } else { Exit::Error })
}

fn require(kind: BundleType, source: &Source) -> anyhow::Result<()> {
    let Source::Path(path) = source else { return Ok(()) };
    let metadata = path.metadata().with_context(|| format!("there is no bundle at `{}`", path.display()))?;
    match kind {
        BundleType::Directory if metadata.is_dir() => Ok(()),
        BundleType::Directory => {
            anyhow::bail!("`{}` is not a directory: --type tar, tgz or zip is for archives", path.display())
        }
        BundleType::Tar | BundleType::Tgz | BundleType::Zip if metadata.is_dir() => {
            anyhow::bail!("`{}` is a directory: --type directory is for those", path.display())
        }
        // The kind of archive shows when it is unpacked.
        BundleType::Tar | BundleType::Tgz | BundleType::Zip => Ok(()),
    }
}

async fn check(args: &LocalArgs, source: Source, screen: &Screen) -> anyhow::Result<bool> {
    let as_json = screen.is_json();
    // Removed at the end, with everything that was downloaded into it.
    let dir = tempfile::TempDir::new().context("cannot make a temporary directory")?;
    let path = match source {
        Source::Path(path) => path,
        elsewhere @ (Source::Cached(_) | Source::Origin(_) | Source::Web(_)) => {
            let cache = Cache::open(dir.path())?;
            let settings = Settings::default();
            let brought = progress_meter::shown(screen, async |progress| {
                bundle::acquire(elsewhere, &cache, &settings, progress).await
            });
            let revision = brought.await?;
            cache.path(&revision.digest)
        }
    };
    let options = &args.options;
    if !path.is_dir() {
        unpack::require(&path, args.archives())?;
    }
    let events = options.events.as_deref().map_or(Ok(event_list::all()), event_list::parse)?;
    let custom = event_list::custom(&events);
    let custom = CustomEvents::Only(&custom);
    let findings = check::check(&path, &options.appspec_filename, custom, check::Hosts::This)?;
    let is_good = findings.mistakes.is_empty();
    if as_json {
        let words = |found: &[Mistake]| found.iter().map(mistake_json).collect::<Vec<_>>();
        let (mistakes, warnings) = (words(&findings.mistakes), words(&findings.warnings));
        print_json(&json!({"valid": is_good, "mistakes": mistakes, "warnings": warnings}))?;
        return Ok(is_good);
    }
    print_findings("warning", &findings.warnings);
    print_findings("error", &findings.mistakes);
    match (findings.mistakes.len(), findings.warnings.len()) {
        (0, 0) => println!("The bundle is valid."),
        (0, warnings) => {
            println!("The bundle is valid; {} should be looked at.", counted(warnings, "warning"))
        }
        (mistakes, _) => {
            eprintln!("{} to put right before it can be deployed.", counted(mistakes, "mistake"))
        }
    }
    Ok(is_good)
}

/// Prints one line per finding, cleaned, because findings quote text that others wrote.
fn print_findings(what: &str, findings: &[Mistake]) {
    findings.iter().for_each(|finding| eprintln!("{what}: {}", clean(&finding.to_string())));
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

async fn deploy(args: LocalArgs, source: Source, screen: &Screen) -> anyhow::Result<bool> {
    let as_json = screen.is_json();
    let local = Local::begin(request(args, source)?)?;
    let (dir, log) = (local.dir().display(), local.scripts_log());
    let say = |line: String| {
        if !as_json {
            println!("{line}")
        }
    };
    say(format!("Starting to execute deployment from within folder {dir}"));
    let cancel = CancellationToken::new();
    stop_on_signals(&cancel)?;
    // A deployment that ran no script has no log.
    let see_log = || {
        if log.exists() {
            say(format!("See the deployment log at {log} for more details", log = log.display()));
        }
    };
    let warn = |warnings: &[Mistake]| {
        if !as_json {
            print_findings("warning", warnings);
        }
    };
    let ended =
        progress_meter::shown(screen, async |progress| local.run(&cancel, progress, warn).await).await;
    let ends = match ended {
        Err(LocalError::Event(EventError::AppSpec(mistakes))) if !as_json => {
            see_log();
            print_findings("error", &mistakes);
            let mistakes = counted(mistakes.len(), "mistake");
            eprintln!(
                "{mistakes} to put right; no script has run, and nothing that is installed has changed."
            );
            return Ok(false);
        }
        ended => ended.inspect_err(|_| see_log())?,
    };
    for end in ends.iter().filter(|end| end.is_ignored && !as_json) {
        if let Err(failure) = &end.result {
            let message = clean(&failure.message);
            eprintln!("warning: {} failed and is ignored: {message}", end.event.name());
        }
    }
    let counts = ends.iter().filter(|end| !end.is_ignored);
    let failed = counts.filter_map(|end| Some((end, end.result.as_ref().err()?))).next();
    if let Some(script) = failed.and_then(|(end, _)| end.script.as_ref()) {
        let what = "Your local deployment failed while trying to execute your script at";
        say(format!("{what} {}", script.display()));
    }
    see_log();
    if as_json {
        print_json(&json!({
            "deployment": local.id(),
            "dir": local.dir().to_string_lossy(),
            "log": log.to_string_lossy(),
            "succeeded": failed.is_none(),
            "events": ends.iter().map(event_json).collect::<Vec<_>>(),
        }))?;
    }
    match failed {
        Some((end, failure)) if !as_json => {
            eprint!("{}", in_words(end, failure));
            Ok(false)
        }
        Some(_) => Ok(false),
        None => {
            say("AppSpec file valid. Local deployment successful".to_owned());
            Ok(true)
        }
    }
}

/// Describes the failure, with the last output of the script.
fn in_words(end: &EventEnd, failure: &Failure) -> String {
    let event = end.event.name();
    let mut text = format!("error: {event} failed: {}\n", clean(&failure.message));
    // The first lines only name the event and the script.
    let said: Vec<&str> = failure.log.lines().filter(|line| line.starts_with('[')).collect();
    if !said.is_empty() {
        text += "the last that it said:\n";
    }
    for line in &said[said.len().saturating_sub(SAID_LINES_MAX)..] {
        text += &format!("  {}\n", clean(line));
    }
    text
}

/// The most lines of output to print. The log, whose path was printed, has all.
const SAID_LINES_MAX: usize = 20;

fn request(args: LocalArgs, source: Source) -> anyhow::Result<Request> {
    let archives = args.archives();
    let options = args.options;
    let config = match &options.agent_configuration_file {
        Some(path) => AgentConfig::read(path)?,
        // A missing file is not an error: only the official agent needs it.
        None => AgentConfig::of_this_host()
            .with_context(|| format!("`{}` tells where to deploy to", agent_config::DEFAULT))?,
    };
    let events = match (&args.only_events, &options.events) {
        (Some(list), _) => event_list::exactly(list)?,
        (None, Some(list)) => event_list::parse(list)?,
        (None, None) => event_list::all(),
    };
    let root = args.deploy_root.or(config.root_dir).unwrap_or_else(|| DEPLOY_ROOT.into());
    anyhow::ensure!(
        is_name(&options.deployment_group),
        "invalid group id `{}`: it becomes a directory's name, so it has no slash",
        options.deployment_group
    );
    let checks_first = args.only_events.is_none();
    if let Source::Path(path) = &source
        && path.is_dir()
        && checks_first
    {
        // Check before anything is copied: the path may be a home directory, or the whole disk.
        find_appspec(path, &options.appspec_filename)?;
    }
    Ok(Request {
        application: options.application_name.unwrap_or_else(|| source.to_string()),
        source,
        archives,
        settings: Settings { s3_endpoint: config.s3_endpoint, ..Settings::default() },
        deploy_root: std::path::absolute(root)?,
        group_id: options.deployment_group,
        group_name: options.deployment_group_name,
        file_exists: file_exists(&options.file_exists_behavior),
        events,
        checks_first,
        ignores_stop_failures: args.ignore_application_stop_failures,
        goes_on: args.keep_going,
        appspec_name: options.appspec_filename,
        course: if args.blue_green_rollback { Course::LocalRollback } else { Course::Local },
        revisions_max: config.max_revisions.unwrap_or(REVISIONS_MAX),
    })
}

impl LocalArgs {
    /// Returns the kinds of archives that the bundle may be; empty if any is allowed.
    fn archives(&self) -> &'static [Kind] {
        self.kind.map_or(&[], BundleType::archives)
    }
}

/// Parses the behaviour for existing files. As with codedeploy-local, an unknown word
/// matters only when a file is in the way; here it gives a warning and means DISALLOW.
fn file_exists(word: &str) -> FileExists {
    match word.to_ascii_uppercase().as_str() {
        "DISALLOW" => FileExists::Disallow,
        "OVERWRITE" => FileExists::Overwrite,
        "RETAIN" => FileExists::Retain,
        other => {
            eprintln!("warning: `{other}` is none of DISALLOW, OVERWRITE and RETAIN: DISALLOW is meant");
            FileExists::Disallow
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('/') && text != "." && text != ".."
}

/// Cancels on a signal. The running script is stopped too: it has its own process
/// group, so the terminal's Ctrl-C does not reach it.
fn stop_on_signals(cancel: &CancellationToken) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let (mut signals, cancel) = (signal(kind).context("cannot listen for signals")?, cancel.clone());
        tokio::spawn(async move {
            signals.recv().await;
            cancel.cancel();
        });
    }
    Ok(())
}

fn print_json(value: &Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn event_json(end: &EventEnd) -> Value {
    let (status, code, script, message, log) = match &end.result {
        Ok(()) => ("Succeeded", proto::entry::ErrorCode::Success, "", "", ""),
        Err(failure) => {
            ("Failed", failure.code, failure.script.as_str(), failure.message.as_str(), failure.log.as_str())
        }
    };
    json!({
        "event": end.event.name(),
        "status": status,
        "error_code": code.name(),
        "script": script,
        "message": message,
        "log": log,
        "ignored": end.is_ignored && end.result.is_err(),
    })
}

fn mistake_json(mistake: &Mistake) -> Value {
    json!({
        "file": mistake.file,
        "line": mistake.line,
        "column": mistake.column,
        "key": mistake.key,
        "problem": mistake.problem,
    })
}
