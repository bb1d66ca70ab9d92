//! `skein history`: the past deployments, and the ledger that records them.

use std::time::{Duration, SystemTime};

use clap::Args;
use proto::id::GroupName;

use super::group::short_revision;
use super::screen::table;
use super::{Exit, Session};
use crate::harmless::clean;
use crate::percent::encoded;
use crate::view::{DeploymentView, HistoryView};

#[derive(Args)]
pub(crate) struct HistoryArgs {
    /// APPLICATION/GROUP
    group: Option<GroupName>,
    /// Show the ledger's entries instead of the deployments
    #[arg(long)]
    entries: bool,
    /// Fold the hashes again; exit 1 if the chain is broken
    #[arg(long)]
    verify: bool,
    /// Show at most this many entries, the newest ones
    #[arg(long, default_value_t = 200, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    limit: usize,
}

pub(super) async fn history(session: &Session, args: HistoryArgs) -> anyhow::Result<Exit> {
    let group = args.group.map(|group| format!("&group={}", encoded(&group.to_string()))).unwrap_or_default();
    let path = format!("/v1/history?limit={}&verify={}{group}", args.limit, args.verify);
    let history: HistoryView = session.client.get(&path).await?;
    session.answer(&history, || {
        let text = if args.entries { entries(&history) } else { deployments(session, &history) };
        format!("{text}{}{}", recoveries(&history), chain(&history))
    })?;
    if let Some(index) = history.broken_at {
        session.screen.note(&format!(
            "error: the chain of hashes is broken at entry {index}: this host's ledger was changed or damaged; \
             compare with another host's `skein history --verify`"
        ));
        return Ok(Exit::Error);
    }
    Ok(Exit::Done)
}

fn deployments(session: &Session, history: &HistoryView) -> String {
    if history.deployments.is_empty() {
        return "Nothing was deployed yet.\n".into();
    }
    let row = |view: &DeploymentView| {
        vec![
            view.created_at.clone(),
            view.id.clone(),
            view.group.clone(),
            short_revision(&view.revision),
            view.status.clone(),
            hosts(view),
            took(view),
            remarks(view),
        ]
    };
    let headings = ["CREATED", "DEPLOYMENT", "GROUP", "REVISION", "STATUS", "HOSTS", "TOOK", "REMARKS"];
    table(&session.screen, &headings, &history.deployments.iter().map(row).collect::<Vec<_>>())
}

/// Formats the counts as `8 ok, 1 failed, 1 skipped`, without zeros.
fn hosts(view: &DeploymentView) -> String {
    let counts = view.counts;
    let parts = [
        (counts.succeeded, "ok"),
        (counts.failed, "failed"),
        (counts.in_progress, "in turn"),
        (counts.pending, "to come"),
        (counts.skipped, "skipped"),
    ];
    let said = parts.iter().filter(|(number, _)| *number > 0);
    let words: Vec<String> = said.map(|(number, word)| format!("{number} {word}")).collect();
    if words.is_empty() { "-".into() } else { words.join(", ") }
}

/// Formats the time from its beginning to its end, to a tenth of a second.
fn took(view: &DeploymentView) -> String {
    let moment = |text: &Option<String>| -> Option<SystemTime> {
        text.as_deref().and_then(|text| humantime::parse_rfc3339(text).ok())
    };
    match (moment(&view.started_at), moment(&view.finished_at)) {
        (Some(from), Some(to)) => {
            let took = to.duration_since(from).unwrap_or_default();
            match took {
                short if short < Duration::from_secs(60) => format!("{:.1}s", short.as_secs_f64()),
                long => humantime::format_duration(Duration::from_secs(long.as_secs())).to_string(),
            }
        }
        (Some(_), None) | (None, Some(_) | None) => "-".into(),
    }
}

fn remarks(view: &DeploymentView) -> String {
    let mut remarks = Vec::new();
    if let Some(reason) = &view.reason {
        remarks.push(reason.code.clone());
    }
    if let Some(undone) = &view.rollback_of {
        remarks.push(format!("rollback of {undone}"));
    } else if view.kind().is_by_mesh() {
        remarks.push(format!("by {}", view.creator));
    }
    if !view.kind().installs() {
        remarks.push("restart".into());
    }
    if let Some(words) = view.rollback_words() {
        // It is one remark among others, not a sentence of its own.
        let words = words.trim_end_matches('.');
        remarks.push(words[..1].to_lowercase() + &words[1..]);
    }
    if !view.kind().traits().goes_back && !view.description.is_empty() {
        remarks.push(view.description.clone());
    }
    remarks.join("; ")
}

fn entries(history: &HistoryView) -> String {
    let mut text = String::new();
    if history.is_cut {
        text.push_str("… older entries are left out: --limit shows more\n");
    }
    for entry in &history.entries {
        let index = entry.index.map(|index| index.to_string()).unwrap_or_default();
        let hash: String = entry.hash.as_deref().unwrap_or("").chars().take(8).collect();
        let at = entry.at.as_deref().unwrap_or("");
        let of = entry.deployment.as_deref().unwrap_or("");
        text.push_str(&format!("{index:>6} {hash} {at} {of:<11} {}\n", entry.text));
    }
    text
}

/// Says that the history was cut off and continued from one host, however long ago that was.
fn recoveries(history: &HistoryView) -> String {
    history.recoveries.iter().map(|recovered| format!("{}\n", clean(&recovered.line()))).collect()
}

fn chain(history: &HistoryView) -> String {
    match history.verified {
        Some((first, last)) => format!("The hashes of entries {first} to {last} are right.\n"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::watch::tests::{deployment, host};

    fn check(view: &DeploymentView, expected: [&str; 3]) {
        assert_eq!([hosts(view).as_str(), &took(view), &remarks(view)], expected);
    }

    #[test]
    fn a_deployment_is_one_line_with_what_became_of_it() {
        let ended = deployment(
            "Failed",
            vec![
                host("web-1", "Succeeded", None),
                host("web-2", "Failed", None),
                host("web-3", "Skipped", None),
            ],
        );
        let ended = DeploymentView {
            started_at: Some("2026-01-01T00:00:00.250Z".into()),
            finished_at: Some("2026-01-01T00:00:03.000Z".into()),
            rolled_back_by: Some("d-BBBBBBBBB".into()),
            rollback_status: Some("Succeeded".into()),
            description: "ticket 7".into(),
            ..ended
        };
        check(&ended, ["1 ok, 1 failed, 1 skipped", "2.8s", "it was rolled back by d-BBBBBBBBB; ticket 7"]);

        let back = DeploymentView {
            rollback_of: Some("d-ABCDEFGH1".into()),
            creator: "rollback".into(),
            description: "rollback of d-ABCDEFGH1".into(),
            finished_at: Some("2026-01-01T01:02:00.000Z".into()),
            ..ended.clone()
        };
        check(
            &back,
            [
                "1 ok, 1 failed, 1 skipped",
                "1h 1m 59s",
                "rollback of d-ABCDEFGH1; it was rolled back by d-BBBBBBBBB",
            ],
        );

        check(&deployment("Queued", vec![]), ["-", "-", ""]);
        let restart = DeploymentView { config: "OneAtATime, restart".into(), ..deployment("Queued", vec![]) };
        check(&restart, ["-", "-", "restart"]);
    }
}
