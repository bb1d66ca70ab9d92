//! `skein config`: deployment configurations that groups share by name.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use proto::id::ConfigName;

use super::screen::table;
use super::{Exit, Session};
use crate::group_file::ConfigFile;
use crate::percent::encoded;
use crate::view::{ConfigView, Why};

#[derive(Subcommand)]
pub(crate) enum ConfigVerb {
    /// Define a configuration, or define it again; running deployments keep the old definition
    Set {
        /// A TOML file: name, minimum_healthy, turns_max, and the sections canary and zones
        file: PathBuf,
    },
    /// List the configurations, the predefined ones too
    List,
    /// Show a configuration as a file that could set it
    Show {
        /// The name of the configuration
        name: ConfigName,
    },
    /// Delete a configuration that no group follows
    Delete {
        /// The name of the configuration
        name: ConfigName,
    },
}

pub(super) async fn run(session: &Session, verb: ConfigVerb) -> anyhow::Result<Exit> {
    match verb {
        ConfigVerb::Set { file } => set(session, file).await,
        ConfigVerb::List => list(session).await,
        ConfigVerb::Show { name } => show(session, &name).await,
        ConfigVerb::Delete { name } => delete(session, &name).await,
    }
}

fn path_of(name: &ConfigName) -> String {
    format!("/v1/configs/{}", encoded(name.as_str()))
}

async fn set(session: &Session, path: PathBuf) -> anyhow::Result<Exit> {
    let file = ConfigFile::read(&path)?;
    // Check it here too, because the message must name the file.
    let config = file.config().with_context(|| format!("{} defines no configuration", path.display()))?;
    let view: ConfigView = session.client.put(&path_of(&config.name), &file).await?;
    session.screen.result(&view, || format!("Configuration {} is set: {}.", view.name, view.says))?;
    impossible(&view).iter().for_each(|line| session.screen.note(line));
    Ok(Exit::Done)
}

/// The number of groups to list; `--json` has all.
const NAMED_MAX: usize = 20;

/// Returns a line for each group in which no deployment could run now.
fn impossible(view: &ConfigView) -> Vec<String> {
    let name = &view.name;
    let words = |(group, why): (&String, &Why)| {
        format!(
            "note: {group} follows {name}, and no deployment of it could run as it stands: {}",
            why.message
        )
    };
    let mut lines: Vec<String> = view.impossible.iter().take(NAMED_MAX).map(words).collect();
    if view.impossible.len() > NAMED_MAX {
        lines.push(format!("note: the same holds for {} more groups", view.impossible.len() - NAMED_MAX));
    }
    lines
}

async fn list(session: &Session) -> anyhow::Result<Exit> {
    let configs: Vec<ConfigView> = session.client.get("/v1/configs").await?;
    let row = |config: &ConfigView| {
        let groups = if config.groups.is_empty() { "-".into() } else { config.groups.join(" ") };
        vec![config.name.clone(), config.says.clone(), groups]
    };
    session.answer_list(&configs, || {
        let rows: Vec<Vec<String>> = configs.iter().map(row).collect();
        table(&session.screen, &["CONFIGURATION", "SAYS", "GROUPS"], &rows)
    })?;
    Ok(Exit::Done)
}

async fn show(session: &Session, name: &ConfigName) -> anyhow::Result<Exit> {
    let view: ConfigView = session.client.get(&path_of(name)).await?;
    let words = match &view.definition {
        Some(file) => file.to_toml().context("the configuration cannot be written as TOML")?,
        None => format!("# {} is predefined: it means the same in every mesh.", view.name),
    };
    session.answer(&view, || words)?;
    Ok(Exit::Done)
}

async fn delete(session: &Session, name: &ConfigName) -> anyhow::Result<Exit> {
    let document: serde_json::Value = session.client.delete(&path_of(name)).await?;
    session.screen.result(&document, || format!("Configuration {name} is deleted."))?;
    Ok(Exit::Done)
}
