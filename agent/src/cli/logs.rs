//! `skein logs`: what the scripts wrote.

use std::time::Duration;

use clap::Args;
use proto::id::DeploymentId;
use proto::lifecycle::LifecycleEvent;

use super::{Exit, Session};
use crate::api::LogsView;
use crate::client::encoded;

/// Between two looks when following: a person reads no faster.
const LOOK_EVERY: Duration = Duration::from_millis(300);

#[derive(Args)]
pub(crate) struct LogsArgs {
    /// The deployment's id
    deployment: DeploymentId,
    /// The host's name or id
    host: String,
    /// The lines of one lifecycle event alone
    #[arg(long)]
    event: Option<LifecycleEvent>,
    /// Go on until the host's turn is over
    #[arg(long, short)]
    follow: bool,
}

pub(super) async fn logs(session: &Session, args: LogsArgs) -> anyhow::Result<Exit> {
    let mut page = read(session, &args, 0).await?;
    if session.screen.is_json() {
        let page = whole(session, &args, page).await?;
        session.answer(&page, String::new)?;
        return Ok(Exit::Done);
    }
    if let Some(banner) = session.client.freshness().banner() {
        session.screen.note(&banner);
    }
    loop {
        session.screen.text(&page.text);
        let from = page.next;
        let is_all = page.text.is_empty();
        if page.is_final || (is_all && !args.follow) {
            return Ok(Exit::Done);
        }
        if is_all {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        page = read(session, &args, from).await?;
    }
}

/// All pages as one, up to the end if that is asked for.
async fn whole(session: &Session, args: &LogsArgs, first: LogsView) -> anyhow::Result<LogsView> {
    let mut all = first;
    loop {
        let page = read(session, args, all.next).await?;
        let is_all = page.text.is_empty();
        let text = all.text + &page.text;
        all = LogsView { text, ..page };
        if all.is_final || (is_all && !args.follow) {
            return Ok(all);
        }
        if is_all {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn read(session: &Session, args: &LogsArgs, from: u64) -> anyhow::Result<LogsView> {
    let host = encoded(&args.host);
    let event = args.event.map(|event| format!("&event={event}")).unwrap_or_default();
    let path = format!("/v1/deployments/{}/hosts/{host}/logs?from={from}{event}", args.deployment);
    Ok(session.client.get_lines(&path).await?)
}
