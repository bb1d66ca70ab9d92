//! Finds the deployment that an argument means.

use anyhow::bail;
use proto::id::{DeploymentId, GroupName};

use super::Session;
use super::group::path_of;
use crate::view::{DeploymentView, GroupView};

/// The number of ids to list if several have the same beginning.
const NAMED_MAX: usize = 5;
/// The prefix of every id.
const ID_START: &str = "d-";

/// The help text of each command that takes a deployment.
pub(super) const WORDS: &str = "A deployment's id, or the beginning of it; or APPLICATION/GROUP";

/// The deployment that a group's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfGroup {
    /// Its running deployment, or else its last one.
    Last,
    /// Only one that is not over.
    Running,
}

/// Finds the deployment by an id, by the beginning of one, or by a group.
pub(super) async fn deployment(
    session: &Session,
    word: &str,
    of_group: OfGroup,
) -> anyhow::Result<DeploymentId> {
    if let Ok(id) = word.parse() {
        return Ok(id);
    }
    if let Ok(name) = word.parse::<GroupName>() {
        let group: GroupView = session.client.get(&path_of(&name)).await?;
        return Ok(of(&group, of_group)?.parse()?);
    }
    if !word.get(..ID_START.len()).is_some_and(|start| start.eq_ignore_ascii_case(ID_START)) {
        bail!("`{word}` is neither a deployment (d-…) nor a group (APPLICATION/GROUP)");
    }
    let all: Vec<DeploymentView> = session.client.get("/v1/deployments").await?;
    let ids: Vec<&str> = all.iter().map(|view| view.id.as_str()).collect();
    Ok(beginning_with(&ids, word)?.parse()?)
}

fn of(group: &GroupView, of_group: OfGroup) -> anyhow::Result<&str> {
    let GroupView { group: name, running, catching_up, queued, last_deployment, last_status, .. } = group;
    let unfinished = running.as_ref().or(catching_up.as_ref()).or(queued.as_ref());
    match (unfinished, last_deployment, of_group) {
        (Some(id), _, _) | (None, Some(id), OfGroup::Last) => Ok(id),
        (None, Some(last), OfGroup::Running) => bail!(
            "no deployment of {name} is running: the last one, {last}, is {}",
            last_status.as_deref().unwrap_or("over")
        ),
        (None, None, _) => bail!("nothing was deployed in {name} yet"),
    }
}

/// Returns the only id with this beginning; ignores case.
fn beginning_with<'i>(ids: &[&'i str], start: &str) -> anyhow::Result<&'i str> {
    let begins = |id: &&&str| id.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start));
    let found: Vec<&str> = ids.iter().filter(begins).copied().collect();
    match found[..] {
        [] => bail!("no deployment begins with `{start}`: `skein deployments` lists them"),
        [id] => Ok(id),
        [..] => {
            let more = found.len().saturating_sub(NAMED_MAX);
            let named = found[..found.len().min(NAMED_MAX)].join(", ");
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            bail!("{} deployments begin with `{start}`: {named}{more}; write more of the id", found.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(start: &str, expected: Result<&str, &str>) {
        let ids = ["d-ABCDEFGH1", "d-ABXDEFGH2", "d-CBCDEFGH3"];
        match (beginning_with(&ids, start), expected) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{start}"),
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{start}: {error}"),
            (found, _) => panic!("{start}: {found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn the_beginning_of_an_id_is_enough_if_no_other_begins_so() {
        check("d-C", Ok("d-CBCDEFGH3"));
        check("D-abc", Ok("d-ABCDEFGH1"));
        check("d-AB", Err("2 deployments begin with `d-AB`: d-ABCDEFGH1, d-ABXDEFGH2; write more"));
        check("d-", Err("3 deployments"));
        check("d-X", Err("no deployment begins with `d-X`: `skein deployments`"));
        check("d-ABCDEFGH1x", Err("no deployment"));
        check("d-é", Err("no deployment"));
    }
}
