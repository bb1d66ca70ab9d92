//! The story that the demo tells, and the check that it went as told.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::bundles;
use super::fleet::Fleet;
use super::traffic::{Tally, Traffic};
use crate::cli::{Exit, Screen};
use crate::client::Client;
use crate::view::{DeploymentView, GroupView};

const GROUP: &str = "hello/prod";
const GROUP_FILE: &str = r#"application = "hello"
name = "prod"
tags = [["role=web"]]

[deployment]
config = "OneAtATime"

[rollback]
on = ["failure"]
"#;

/// Plays the story. Returns `Done` only if everything went as told.
pub(super) async fn tell(screen: &Screen, fleet: &mut Fleet) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let hosts = fleet.hosts.len();
    say(screen, &format!("Starting {hosts} agents on this machine, under {}", fleet.directory().display()));
    make_mesh(fleet).await?;
    screen.progress(&format!("{hosts} agents are one mesh after {:.1} s.", begun.elapsed().as_secs_f64()));

    say(screen, &format!("A group: the hosts tagged role=web get the application hello ({GROUP})"));
    let file = fleet.directory().join("hello-prod.toml");
    std::fs::write(&file, GROUP_FILE).context("cannot write the group file")?;
    shown(screen, fleet, &["group", "set", &text(&file)?], Exit::Done).await?;

    let traffic = Traffic::start(fleet);
    say(screen, "Release v1, onto hosts that have nothing yet");
    deploy(screen, fleet, "v1", false, Exit::Done).await?;
    say(
        screen,
        "Release v2, one host at a time, while a client asks the hosts in service 100 times a second",
    );
    deploy(screen, fleet, "v2", false, Exit::Done).await?;
    say(screen, "Release v3, which is broken: its ValidateService hook fails on the first host");
    deploy(screen, fleet, "v3", true, Exit::RolledBack).await?;

    let told =
        Told { tally: traffic.tally(), deployments: deployments(fleet).await?, group: group(fleet).await? };
    drop(traffic);
    screen.result(&told.json(begun), || told.words(screen, begun))?;
    told.check(hosts)?;
    Ok(Exit::Done)
}

async fn make_mesh(fleet: &mut Fleet) -> anyhow::Result<()> {
    let data_dir = text(&fleet.first().directory.join("data"))?;
    fleet.skein_quietly(&["mesh", "init", "--data-dir", &data_dir]).await?;
    fleet.start(0, None)?;
    fleet.wait_for(0, 1).await?;
    let token = fleet.skein_quietly(&["mesh", "token"]).await?;
    let hosts = fleet.hosts.len();
    for at in 1..hosts {
        fleet.start(at, Some(&token))?;
    }
    for at in 0..hosts {
        fleet.wait_for(at, hosts).await?;
    }
    Ok(())
}

async fn deploy(
    screen: &Screen,
    fleet: &Fleet,
    release: &str,
    broken: bool,
    ends: Exit,
) -> anyhow::Result<()> {
    let bundle = bundles::write(fleet.directory(), release, broken);
    let bundle = text(&bundle.with_context(|| format!("cannot write the bundle of {release}"))?)?;
    let description = format!("hello {release}");
    shown(screen, fleet, &["deploy", GROUP, &bundle, "--description", &description], ends).await
}

/// Shows the command, runs it as the user would, and checks its exit code.
async fn shown(screen: &Screen, fleet: &Fleet, arguments: &[&str], ends: Exit) -> anyhow::Result<()> {
    screen.progress(&screen.bold(&format!("$ skein {}", quoted(arguments))));
    let status = match screen.is_json() || screen.is_quiet() {
        true => fleet.skein_silently(arguments).await?,
        false => fleet.skein(arguments).await?,
    };
    let code = status.code();
    let wanted = u8::from(ends);
    if code != Some(i32::from(wanted)) {
        bail!("`skein {}` ended with {code:?} instead of {wanted}", quoted(arguments));
    }
    Ok(())
}

fn quoted(arguments: &[&str]) -> String {
    let quote = |argument: &&str| match argument.contains(' ') {
        true => format!("'{argument}'"),
        false => argument.to_string(),
    };
    arguments.iter().map(quote).collect::<Vec<_>>().join(" ")
}

async fn deployments(fleet: &Fleet) -> anyhow::Result<Vec<DeploymentView>> {
    let client = Client::new(fleet.first().socket.clone());
    let mut newest_first: Vec<DeploymentView> = client.get("/v1/deployments").await?;
    newest_first.reverse();
    Ok(newest_first)
}

async fn group(fleet: &Fleet) -> anyhow::Result<GroupView> {
    let client = Client::new(fleet.first().socket.clone());
    Ok(client.get(&format!("/v1/groups/{GROUP}")).await?)
}

/// The results of the demo.
struct Told {
    tally: Tally,
    deployments: Vec<DeploymentView>,
    group: GroupView,
}

impl Told {
    /// Fails with the first thing that differs from the story.
    fn check(&self, hosts: usize) -> anyhow::Result<()> {
        let statuses: Vec<&str> = self.deployments.iter().map(|view| view.status.as_str()).collect();
        if statuses != ["Succeeded", "Succeeded", "Failed", "Succeeded"] {
            bail!("the deployments ended otherwise than told: {}", statuses.join(", "));
        }
        if self.deployments[3].rollback_of.as_deref() != Some(self.deployments[2].id.as_str()) {
            bail!("the last deployment is not the rollback of the failed one");
        }
        if self.group.healthy != hosts
            || self.group.revision.as_deref() != Some(&self.deployments[1].revision)
        {
            bail!("{} of {hosts} hosts are healthy, at {:?}", self.group.healthy, self.group.revision);
        }
        if self.tally.failed > 0 {
            bail!("{} requests failed: {}", self.tally.failed, self.tally.failures.join("; "));
        }
        for release in ["v1", "v2"] {
            if !self.tally.answered.contains_key(release) {
                bail!("nobody was answered by {release}");
            }
        }
        Ok(())
    }

    fn json(&self, begun: Instant) -> serde_json::Value {
        json!({
            "seconds": begun.elapsed().as_secs_f64(),
            "requests": { "answered": self.tally.answered, "failed": self.tally.failed },
            "deployments": self.deployments,
        })
    }

    fn words(&self, screen: &Screen, begun: Instant) -> String {
        let mut text = format!(
            "\n{}\n",
            screen.bold(&format!("That was it, in {:.1} s:", begun.elapsed().as_secs_f64()))
        );
        for view in &self.deployments {
            let lowest = view.healthy.lowest_seen;
            let what = match &view.rollback_of {
                Some(undone) => format!("the mesh rolled back {undone} by itself"),
                None => view.description.clone(),
            };
            let in_service = format!("never fewer than {lowest} of {} in service", view.healthy.total);
            let status = screen.status(&view.status);
            text.push_str(&format!("  {}  {status}  {what} ({in_service})\n", view.id));
        }
        let answered: Vec<String> =
            self.tally.answered.iter().map(|(release, count)| format!("{count} by {release}")).collect();
        text.push_str(&format!(
            "  Requests answered meanwhile: {}. Failed: {}.",
            answered.join(", "),
            self.tally.failed
        ));
        text
    }
}

/// Prints how to explore the mesh.
pub(super) fn look_around(screen: &Screen, fleet: &Fleet) {
    let executable = fleet.executable.display();
    let pids: Vec<String> = fleet.pids().iter().map(ToString::to_string).collect();
    screen.progress(&format!(
        "\nThe agents go on. To look around:\n  export SKEIN_API={}\n  {executable} status\n  {executable} hosts\n  \
         {executable} deployments\n  {executable} history\n  {executable} deploy {GROUP} {}/hello-v1\nTo end it:\n  \
         kill {}; rm -rf {}",
        fleet.first().socket.display(),
        fleet.directory().display(),
        pids.join(" "),
        fleet.directory().display(),
    ));
}

fn say(screen: &Screen, headline: &str) {
    screen.progress(&format!("\n{}", screen.bold(headline)));
}

fn text(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(String::from).with_context(|| format!("the path {} is not UTF-8", path.display()))
}
