//! The command line: its commands, and the module that runs each.

mod alarm_command;
mod config_command;
mod deploy;
mod exit;
mod explain;
mod group;
mod history;
mod local_command;
mod logs;
mod mesh;
mod packing;
mod plan;
mod progress_meter;
mod recover;
mod screen;
mod show;
mod watch;
mod which;
mod width;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory, Parser, Subcommand};
use serde::Serialize;

use crate::client::Client;
use crate::config::{AgentConfig, AgentFlags, default_sockets};
use crate::view::Dated;
use crate::{demo, start};

pub(crate) use exit::{Exit, Mistyped, report, usage};
pub(crate) use local_command::codedeploy;
pub(crate) use screen::Screen;

/// Deploys applications to fleets of hosts, without a central server.
///
/// An agent runs on every host; the agents form a mesh, decide among themselves whose turn it is, run the
/// bundle's AppSpec hooks, and roll back when a release fails. Existing CodeDeploy bundles run unchanged.
#[derive(Parser)]
#[command(name = "skein", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 error, 2 usage, 3 refused, 4 deployment failed, \
                        5 failed and rolled back, 6 stopped, 7 timed out waiting, 130 or 143 interrupted while waiting.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// The options of every command.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// The agent's Unix socket [default: one's own agent's, then /run/skein/skein.sock]
    #[arg(long, value_name = "SOCKET", env = "SKEIN_API", global = true)]
    api: Option<PathBuf>,
    /// Print one JSON document on stdout, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results only
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more, on stderr
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the agent of this host
    Agent(Box<AgentFlags>),
    /// Create a mesh, join one, look at its hosts
    #[command(subcommand)]
    Mesh(mesh::MeshVerb),
    /// Define the groups that are deployed to
    #[command(subcommand)]
    Group(group::GroupVerb),
    /// Name deployment configurations that groups share
    #[command(subcommand)]
    Config(config_command::ConfigVerb),
    /// Bring a bundle into the mesh, and print its digest
    Push(deploy::PushArgs),
    /// Show what a deployment would do; exit 3 if it could never finish
    Plan(plan::PlanArgs),
    /// Deploy a bundle to a group, and wait for the end
    Deploy(deploy::DeployArgs),
    /// Show the mesh, a group or a deployment
    Status(show::StatusArgs),
    /// List the hosts
    Hosts(show::OfGroup),
    /// List the deployments, the newest first
    Deployments(show::OfGroup),
    /// Explain the state of a deployment, in numbers
    Explain(explain::ExplainArgs),
    /// Print what the scripts of a deployment wrote on a host
    Logs(logs::LogsArgs),
    /// Stop a deployment: turns under way end at their next event
    Stop(deploy::StopArgs),
    /// Bring a group back to an earlier revision, as a new deployment
    Rollback(deploy::RollbackArgs),
    /// Set, clear and list a group's alarms
    #[command(subcommand)]
    Alarm(alarm_command::AlarmVerb),
    /// Let no new deployment of a group begin for a while; running ones continue
    Freeze(alarm_command::FreezeArgs),
    /// End a freeze early
    Unfreeze(alarm_command::UnfreezeArgs),
    /// List what was committed
    History(history::HistoryArgs),
    /// Deploy a bundle to this host alone, without a mesh
    Local(Box<local_command::LocalArgs>),
    /// Try it out: five agents on this machine, three releases, one of them bad
    Demo(demo::DemoArgs),
    /// Print completions for a shell
    Completions {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },
    /// The demo's sample application
    #[command(hide = true)]
    DemoApp(demo::AppArgs),
}

/// Returns true if `--json` is among arguments that clap could not parse.
pub(crate) fn wants_json(words: impl Iterator<Item = OsString>) -> bool {
    words.take_while(|word| word != "--").any(|word| word == "--json")
}

/// The client and the screen, which every command needs.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) screen: Screen,
}

impl Session {
    /// Prints an answer. If it is not current, says so first.
    pub(crate) fn answer<T: Serialize>(
        &self,
        view: &T,
        words: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let freshness = self.client.freshness();
        let banner = freshness.banner();
        self.screen.result(&Dated { view, freshness }, || with_banner(banner, words()))
    }

    /// Prints an answer that is a list.
    pub(crate) fn answer_list<T: Serialize>(
        &self,
        views: &[T],
        words: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let freshness = self.client.freshness();
        let banner = freshness.banner();
        let dated = views.iter().map(|view| Dated { view, freshness: freshness.clone() });
        self.screen.result(&dated.collect::<Vec<_>>(), || with_banner(banner, words()))
    }
}

fn with_banner(banner: Option<String>, words: String) -> String {
    match banner {
        Some(banner) => format!("{banner}\n{words}"),
        None => words,
    }
}

/// Runs the command that was typed.
pub(crate) fn run(cli: Cli) -> anyhow::Result<Exit> {
    let mut runtime = match matches!(cli.verb, Verb::Agent(_)) {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    runtime.enable_all().build().context("cannot start")?.block_on(dispatch(cli))
}

async fn dispatch(Cli { global, verb }: Cli) -> anyhow::Result<Exit> {
    let sockets = global.api.clone().map_or_else(default_sockets, |socket| vec![socket]);
    let client = Client::of(sockets).verbose(global.verbose > 0).exact(global.json);
    let session = Session { client, screen: Screen::new(&global) };
    match verb {
        Verb::Agent(flags) => {
            start::run(AgentConfig::load(*flags, global.api)?).await?;
            Ok(Exit::Done)
        }
        Verb::Mesh(verb) => mesh::run(&session, verb).await,
        Verb::Group(verb) => group::run(&session, verb).await,
        Verb::Config(verb) => config_command::run(&session, verb).await,
        Verb::Push(args) => deploy::push(&session, args).await,
        Verb::Plan(args) => plan::plan(&session, args).await,
        Verb::Deploy(args) => deploy::deploy(&session, args).await,
        Verb::Status(args) => show::status(&session, args).await,
        Verb::Hosts(args) => show::hosts(&session, args).await,
        Verb::Deployments(args) => show::deployments(&session, args).await,
        Verb::Explain(args) => explain::explain(&session, args).await,
        Verb::Logs(args) => logs::logs(&session, args).await,
        Verb::Stop(args) => deploy::stop(&session, args).await,
        Verb::Rollback(args) => deploy::rollback(&session, args).await,
        Verb::Alarm(verb) => alarm_command::run(&session, verb).await,
        Verb::Freeze(args) => alarm_command::freeze(&session, args).await,
        Verb::Unfreeze(args) => alarm_command::unfreeze(&session, args).await,
        Verb::History(args) => history::history(&session, args).await,
        Verb::Local(args) => local_command::run(*args, &session.screen).await,
        Verb::Demo(args) => demo::run(&session.screen, args).await,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "skein", &mut script);
            session.screen.text(&String::from_utf8_lossy(&script));
            Ok(Exit::Done)
        }
        Verb::DemoApp(args) => demo::serve(args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn who_mistypes_and_reads_json_is_told_in_json() {
        let wants = |words: &[&str]| wants_json(words.iter().map(OsString::from));
        assert!(wants(&["skein", "dploy", "--json"]) && wants(&["skein", "--json", "deploy"]));
        assert!(!wants(&["skein", "dploy"]) && !wants(&["skein", "deploy", "--", "--json"]));
    }

    #[test]
    fn usage_errors_end_with_2() {
        for wrong in [
            &["skein", "dploy"][..],
            &["skein", "deploy"],
            &["skein", "history", "--limit", "0"],
            &["skein", "deploy", "a/b", ".", "--watch", "--detach"],
        ] {
            let error = Cli::try_parse_from(wrong).err().expect("refused");
            assert_eq!(error.exit_code(), i32::from(u8::from(Exit::Usage)), "{wrong:?}");
        }
    }
}
