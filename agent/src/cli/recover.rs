//! `skein mesh recover`: a person lets the mesh continue without most of its voters.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use data_encoding::BASE64;
use proto::recovery::{Recovery, RecoveryKey};
use serde_json::Value;

use super::exit::NotConfirmed;
use super::screen::table;
use super::{Exit, Session};
use crate::api::RecoverBody;
use crate::config::recovery_key_in;
use crate::recovery_key;
use crate::view::{OutOfReachView, RecoveryView, StatusView};

/// The longest line of names that a person types, in bytes: far more than seven voters have.
const ANSWER_BYTES_MAX: u64 = 4 * 1024;

#[derive(Args)]
#[command(
    after_help = "All that this host has of the ledger is kept, and it becomes the only voter; the other hosts \
                        follow it, and voters are chosen again. The hosts that are given up must never go on by \
                        themselves: start none of them before the recovered mesh runs. One that comes back takes \
                        the recovered ledger, or stops if it holds entries that the recovered ledger does not have."
)]
pub(crate) struct RecoverArgs {
    /// The key that `skein mesh init` wrote [default: recovery.key in the agent's data directory]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The hosts that are given up: exactly the voters that are out of reach
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    gone: Vec<String>,
    /// Do not ask. Needs --gone
    #[arg(long, requires = "gone")]
    yes: bool,
}

pub(super) async fn recover(session: &Session, args: RecoverArgs) -> anyhow::Result<Exit> {
    let offer: RecoveryView = session.client.get("/v1/mesh/recovery").await?;
    let path = match args.key {
        Some(path) => path,
        None => {
            let status: StatusView = session.client.get("/v1/status").await?;
            recovery_key_in(&PathBuf::from(status.data_dir))
        }
    };
    session.screen.progress(&situation(session, &offer));
    let key = recovery_key::read(&path).context(
        "the mesh was not recovered: give the file that `skein mesh init` wrote as recovery.key with --key FILE",
    )?;
    if key.mesh().to_string() != offer.mesh {
        bail!(
            "{} is the recovery key of mesh {}, and this host is in mesh {}",
            path.display(),
            key.mesh(),
            offer.mesh
        );
    }
    if !args.gone.is_empty() {
        check_gone(&offer.out_of_reach, &args.gone)?;
    }
    if !args.yes {
        check_gone(&offer.out_of_reach, &ask(session, &offer)?)?;
    }
    let body = RecoverBody { signed: signed(&key, &offer)? };
    let answer: Value = session.client.post("/v1/mesh/recovery", &body).await?;
    session.screen.result(&answer, || done(&offer))?;
    Ok(Exit::Done)
}

fn signed(key: &RecoveryKey, offer: &RecoveryView) -> anyhow::Result<String> {
    let bytes = BASE64.decode(offer.to_sign.as_bytes()).ok();
    let recovery = bytes.and_then(|bytes| Recovery::from_bytes(&bytes));
    let recovery =
        recovery.context("the agent offers nothing that can be signed: are both of one version?")?;
    // Sign only what the person was shown.
    if recovery.mesh != key.mesh() || recovery.base != offer.entry || recovery.epoch != offer.epoch {
        bail!("the agent offers to sign something else than it says: nothing was signed");
    }
    Ok(BASE64.encode(&key.sign(recovery).to_bytes()))
}

/// Returns the facts to know before the decision.
fn situation(session: &Session, offer: &RecoveryView) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for voter in &offer.out_of_reach {
        let heard = voter.last_heard.as_deref().unwrap_or("not since this agent started");
        rows.push(vec![voter.who.label().into(), "out of reach".into(), heard.into()]);
    }
    rows.extend(offer.in_reach.iter().map(|name| vec![name.clone(), "in reach".into(), String::new()]));
    let voters = table(&session.screen, &["VOTER", "STATUS", "LAST HEARD"], &rows);
    let tail = match offer.entry - offer.committed {
        0 => String::new(),
        tail => format!(
            ", of which the last {tail} may not have been acknowledged to anybody; they are kept, and count as committed"
        ),
    };
    let mut others: Vec<String> =
        offer.others.iter().map(|other| format!("{} (entry {})", other.who.label(), other.entry)).collect();
    others.sort();
    let others = match others.is_empty() {
        true => "No other host is in reach.".into(),
        false => format!("No host in reach has more. In reach, and to follow: {}.", others.join(", ")),
    };
    let running = match offer.running.is_empty() {
        true => String::new(),
        false => {
            format!("Deployments that run go on or fail by their own rules: {}.\n", offer.running.join(", "))
        }
    };
    format!(
        "{voters}\n{} has the ledger up to entry {}{tail}.\n{others}\n{running}\
         Entries that only the hosts out of reach have are lost to the recovered mesh.\n\
         If these hosts are alive behind a broken network, they may go on by themselves: then there are two\n\
         histories, and this recovery is wrong. Switch them off first, and never start them together again.\n",
        offer.name, offer.entry
    )
}

fn names(offer: &RecoveryView) -> String {
    let names: Vec<&str> = offer.out_of_reach.iter().map(|voter| voter.who.label()).collect();
    names.join(",")
}

/// Asks the person to type the names of the hosts that are given up, and returns them.
fn ask(session: &Session, offer: &RecoveryView) -> anyhow::Result<Vec<String>> {
    if !session.screen.is_live() || !io::stdin().is_terminal() {
        return Err(unconfirmed(offer).into());
    }
    session.screen.text("To give these hosts up for good, type their names, with commas between them: ");
    let mut answer = String::new();
    io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut answer).context("no answer can be read")?;
    Ok(answer.split(',').map(|name| name.trim().to_string()).filter(|name| !name.is_empty()).collect())
}

fn unconfirmed(offer: &RecoveryView) -> NotConfirmed {
    let names = names(offer);
    NotConfirmed(format!(
        "nothing was recovered: there is nobody to confirm it. If {names} will never come back, say so: `skein mesh \
         recover --gone {names} --yes`"
    ))
}

/// Checks that exactly the voters out of reach were named.
fn check_gone(out_of_reach: &[OutOfReachView], gone: &[String]) -> anyhow::Result<()> {
    let is_named = |voter: &OutOfReachView| {
        gone.iter().any(|name| [voter.who.label(), &voter.who.name, &voter.who.host].contains(&name.as_str()))
    };
    let is_out = |name: &&String| {
        out_of_reach
            .iter()
            .any(|voter| [voter.who.label(), &voter.who.name, &voter.who.host].contains(&name.as_str()))
    };
    let label = |voter: &OutOfReachView| voter.who.label().to_string();
    let unnamed: BTreeSet<String> = out_of_reach.iter().filter(|voter| !is_named(voter)).map(label).collect();
    let unknown: BTreeSet<String> = gone.iter().filter(|name| !is_out(name)).cloned().collect();
    let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
    if !unknown.is_empty() {
        let message = format!(
            "nothing was recovered: {} is not a voter out of reach; these are: {}",
            list(&unknown),
            list(&out_of_reach.iter().map(label).collect())
        );
        return Err(NotConfirmed(message).into());
    }
    if !unnamed.is_empty() {
        let message = format!(
            "nothing was recovered: {} is out of reach too and was not named. If it will come back, wait for it; if \
             not, name it as well",
            list(&unnamed)
        );
        return Err(NotConfirmed(message).into());
    }
    Ok(())
}

fn done(offer: &RecoveryView) -> String {
    format!(
        "The mesh goes on from {} as of entry {}, in epoch {}. `skein status` shows its voters as they are chosen again.\n\
         Take the hosts that are gone for good out of the mesh: {}.",
        offer.name,
        offer.entry,
        offer.epoch,
        offer
            .out_of_reach
            .iter()
            .map(|voter| format!("`skein mesh remove {}`", voter.who.label()))
            .collect::<Vec<_>>()
            .join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::names::Named;

    fn voter(name: &str) -> OutOfReachView {
        let who = Named { host: format!("id-{name}"), name: name.into(), label: name.into() };
        OutOfReachView { who, last_heard: None }
    }

    fn check(gone: &[&str], expected: Option<&str>) {
        let gone: Vec<String> = gone.iter().map(ToString::to_string).collect();
        let refused =
            check_gone(&[voter("web-2"), voter("web-3")], &gone).err().map(|error| error.to_string());
        match (refused, expected) {
            (None, None) => {}
            (Some(refused), Some(words)) => assert!(refused.contains(words), "{refused}"),
            (refused, expected) => panic!("{refused:?}, and not {expected:?}"),
        }
    }

    #[test]
    fn exactly_the_hosts_that_are_out_of_reach_are_given_up() {
        check(&["web-2", "web-3"], None);
        check(&["web-3", "id-web-2"], None);
        check(&["web-2"], Some("web-3 is out of reach too"));
        check(&[], Some("web-2, web-3 is out of reach too"));
        check(
            &["web-2", "web-3", "web-1"],
            Some("web-1 is not a voter out of reach; these are: web-2, web-3"),
        );
    }
}
