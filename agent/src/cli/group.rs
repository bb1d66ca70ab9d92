//! `skein group`: commands that define groups.

mod difference;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use difference::Difference;
use proto::id::GroupName;

use super::exit::NotConfirmed;
use super::screen::table;
use super::{Exit, Session};
use crate::client::ClientError;
use crate::group_file::GroupFile;
use crate::percent::encoded;
use crate::view::GroupView;

#[derive(Subcommand)]
pub(crate) enum GroupVerb {
    /// Define a group, or define it again, from a TOML file
    Set {
        /// The group file
        file: PathBuf,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Do not ask before a health check, an alarm, a trigger, a canary or zones are dropped
        #[arg(long, short)]
        yes: bool,
    },
    /// List the groups
    List,
    /// Show a group as a file that could set it
    Show {
        /// APPLICATION/GROUP
        name: GroupName,
    },
    /// Delete a group and its history; its hosts keep what they run
    Delete {
        /// APPLICATION/GROUP
        name: GroupName,
    },
}

/// Returns the API's path of a group.
pub(super) fn path_of(name: &GroupName) -> String {
    format!("/v1/groups/{}/{}", encoded(name.application()), encoded(name.group()))
}

pub(super) async fn run(session: &Session, verb: GroupVerb) -> anyhow::Result<Exit> {
    match verb {
        GroupVerb::Set { file, dry_run, yes } => set(session, file, dry_run, yes).await,
        GroupVerb::List => list(session).await,
        GroupVerb::Show { name } => show(session, &name).await,
        GroupVerb::Delete { name } => delete(session, &name).await,
    }
}

async fn set(session: &Session, path: PathBuf, dry_run: bool, yes: bool) -> anyhow::Result<Exit> {
    let file = GroupFile::read(&path)?;
    // Check it here too, because the message must name the file.
    let group = file.group().with_context(|| format!("{} defines no group", path.display()))?;
    let name = &group.name;
    let before = match session.client.get::<GroupView>(&path_of(name)).await {
        Ok(view) => Some(view.definition),
        Err(ClientError::Refused(body)) if body.code == "UNKNOWN_GROUP" => None,
        Err(error) => return Err(error.into()),
    };
    let difference = before.map(|before| Difference::between(&before, &GroupFile::of(&group))).transpose()?;
    if dry_run {
        return would_change(session, name, difference.as_ref());
    }
    if let Some(difference) = &difference {
        if !difference.changes.is_empty() {
            session.screen.progress(difference.words().trim_end());
        }
        confirm(session, name, difference, yes)?;
    }
    let view: GroupView = session.client.put(&path_of(&group.name), &file).await?;
    session.screen.result(&view, || format!("Group {} is set: {}.", view.group, hosts_of(&view)))?;
    if view.hosts == 0 {
        session.screen.note("note: no host has its tags yet; `skein hosts` shows every host's tags");
    } else if let Some(why) = &view.impossible {
        session.screen.note(&format!("note: no deployment could run as it stands: {}", why.message));
    }
    Ok(Exit::Done)
}

/// Shows what the file would change.
fn would_change(
    session: &Session,
    name: &GroupName,
    difference: Option<&Difference>,
) -> anyhow::Result<Exit> {
    let document = serde_json::json!({
        "group": name.to_string(),
        "is_new": difference.is_none(),
        "changes": difference.map(|difference| &difference.changes),
        "drops": difference.map(|difference| &difference.drops),
    });
    session.answer(&document, || match difference {
        None => format!("Group {name} would be new. Nothing was changed."),
        Some(difference) if difference.changes.is_empty() => format!("Group {name} is set so already."),
        Some(difference) => format!("Group {name} would change:\n{}Nothing was changed.", difference.words()),
    })?;
    Ok(Exit::Done)
}

/// Asks for confirmation before a safeguard of the group is dropped: a file that
/// lacks it may just be old.
fn confirm(session: &Session, name: &GroupName, difference: &Difference, yes: bool) -> anyhow::Result<()> {
    if yes || difference.drops.is_empty() {
        return Ok(());
    }
    let drops = difference.drops.join(", ");
    let question = format!("The file lacks, and {name} would lose: {drops}. Set it all the same?");
    if session.screen.asks(&question) {
        return Ok(());
    }
    let message = format!(
        "nothing was changed: the file lacks, and {name} would lose: {drops}. Add --yes if that is meant, or begin \
         with what it has now: skein group show {name}"
    );
    Err(NotConfirmed(message).into())
}

fn hosts_of(view: &GroupView) -> String {
    match view.hosts {
        1 => format!("1 host has its tags, {}", view.config),
        hosts => format!("{hosts} hosts have its tags, {}", view.config),
    }
}

async fn list(session: &Session) -> anyhow::Result<Exit> {
    let groups: Vec<GroupView> = session.client.get("/v1/groups").await?;
    session.answer_list(&groups, || match groups.is_empty() {
        true => "No groups yet: `skein group set FILE` defines one.".into(),
        false => groups_table(session, &groups),
    })?;
    Ok(Exit::Done)
}

/// Formats groups as a table.
pub(super) fn groups_table(session: &Session, groups: &[GroupView]) -> String {
    let row = |group: &GroupView| {
        let dash = || "-".to_string();
        vec![
            group.group.clone(),
            format!("{} of {}", group.healthy, group.hosts),
            group.config.clone(),
            group.revision.as_deref().map_or_else(dash, short_revision),
            group.last_deployment.clone().unwrap_or_else(dash),
            group.last_status.clone().unwrap_or_else(dash),
        ]
    };
    let headings = ["GROUP", "HEALTHY", "CONFIG", "REVISION", "LAST DEPLOYMENT", "STATUS"];
    table(&session.screen, &headings, &groups.iter().map(row).collect::<Vec<_>>())
}

/// Returns the first twelve hex digits.
pub(super) fn short_revision(digest: &str) -> String {
    digest.trim_start_matches("blake3:").chars().take(12).collect()
}

async fn show(session: &Session, name: &GroupName) -> anyhow::Result<Exit> {
    let view: GroupView = session.client.get(&path_of(name)).await?;
    let definition = view.definition.to_toml().context("the group cannot be written as TOML")?;
    session.answer(&view, || definition)?;
    Ok(Exit::Done)
}

async fn delete(session: &Session, name: &GroupName) -> anyhow::Result<Exit> {
    let document: serde_json::Value = session.client.delete(&path_of(name)).await?;
    session.screen.result(&document, || format!("Group {name} is deleted; its hosts keep what they run."))?;
    Ok(Exit::Done)
}
