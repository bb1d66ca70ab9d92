//! Plays a plan: first the faults, during which nothing unsafe may happen, then
//! the time after healing, in which everything must come to its end.

use std::time::Duration;

use proto::id::DeploymentId;
use proto::node::Node;
use proto::policy::{Minimum, Policy};
use proto::rollout::DeploymentStatus;

use crate::check::{Claim, Counterexample, Violation};
use crate::clock::Moment;
use crate::hooks::Bundle;
use crate::host::{FOUNDER, HostNo, SimHost};
use crate::plan::Plan;
use crate::world::{Asked, Wish, World};

/// The result of a run.
#[derive(Debug, Default)]
pub struct RunSummary {
    pub counterexample: Option<Counterexample>,
    pub lasted: Moment,
    pub hosts: usize,
    pub trace: String,
    pub inputs: u64,
    pub entries: usize,
}

/// The time within which everything must end after healing. It covers the
/// longest timeouts of a deployment, of its rollback and of one that is queued
/// behind them, and clocks that are minutes off.
const ALL_ENDS_WITHIN: Duration = Duration::from_secs(3 * 900 + 600);

/// The time in which a mesh without faults must bring a good revision to its
/// hosts, plus a time for each host.
const LAST_WITHIN: Duration = Duration::from_secs(120);
const LAST_PER_HOST: Duration = Duration::from_secs(30);

/// The interval at which the run checks whether all has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub fn play(plan: &Plan, world: &mut World) -> RunSummary {
    world.run_until(plan.heal_at);
    world.heal();
    wait_for_quiet(world, ALL_ENDS_WITHIN, "after healing");
    one_more(world);
    RunSummary {
        counterexample: world.checks().counterexample().cloned(),
        lasted: world.now(),
        hosts: world.hosts().len(),
        trace: world.trace().hash(),
        inputs: world.trace().inputs(),
        entries: world.checks().agreement.lines().len(),
    }
}

/// Deploys once more. After all its faults, the mesh must still work: a
/// revision in which nothing fails reaches every host of both groups.
fn one_more(world: &mut World) {
    let last = Bundle::new("last", (Duration::from_millis(5), Duration::from_millis(50)));
    let digest = last.revision.digest;
    world.add_bundle(last);
    let groups: Vec<_> = world.checks().model.groups().keys().cloned().collect();
    let has_members = |group: &&proto::id::GroupName| {
        let model = &world.checks().model;
        !model.members(&model.groups()[*group].group).is_empty()
    };
    let groups: Vec<_> = groups.iter().filter(has_members).cloned().collect();
    for group in &groups {
        // The scripts that are already installed may be faulty ones.
        let policy = Policy {
            minimum: Minimum::OneAtATime,
            ignore_application_stop_failures: true,
            ignore_alarms: true,
            ..Policy::default()
        };
        // A proposal from just before all hosts lost their power may be
        // committed only now, ahead of this one.
        let wish = Wish::Deploy { group: group.clone(), digest, policy: Some(policy), queue: true };
        world.ask_at(Asked { at: FOUNDER, wish, insists: true }, world.now());
    }
    let hosts = u32::try_from(world.hosts().len()).expect("few hosts");
    world.run_until(world.now() + Duration::from_secs(1));
    wait_for_quiet(world, LAST_WITHIN + LAST_PER_HOST * hosts, "of the last deployment");
    if world.checks().counterexample().is_some() {
        return;
    }
    for group in groups {
        let state = &world.checks().model.groups()[&group];
        let known = world.checks().model.deployments();
        let wanted = |id: &&DeploymentId| known[*id].submission.kind().traits().counts_as_newest;
        let status = state.deployments.iter().rev().find(wanted).map(|id| known[id].status);
        let good = state.good.last().map(|(good, _)| *good);
        let members = world.checks().model.members(&state.group);
        let behind = members.iter().find(|host| !state.is_current(host.record.host));
        if let Some(behind) = behind.filter(|_| good == Some(digest)) {
            let hosts = world.checks().number(behind.record.host).into_iter().collect();
            let what = format!("in {group} a host is up and well, and never got the last good revision");
            return complain(world, hosts, what);
        }
        if status != Some(DeploymentStatus::Succeeded) || good != Some(digest) {
            let what = format!("the last deployment to {group}, in which nothing fails, ends as {status:?}");
            complain(world, Vec::new(), what);
        }
    }
}

/// Lets time pass until all deployments are over, all requests are answered,
/// and all hosts are equal. Reports a violation if that takes longer than
/// `within`.
fn wait_for_quiet(world: &mut World, within: Duration, when: &str) {
    let until = world.now() + within;
    while world.checks().counterexample().is_none() {
        let Some((hosts, unquiet)) = unquiet(world) else { break };
        if world.now() >= until {
            let what = format!("{} s {when}, {unquiet}", within.as_secs());
            return complain(world, hosts, what);
        }
        world.run_until(world.now() + LOOK_EVERY);
        world.check_answers();
        world.check_alarms();
    }
    world.check_quiet();
}

/// Returns what is still under way, and on which hosts; `None` if all is quiet.
fn unquiet(world: &World) -> Option<(Vec<HostNo>, String)> {
    let is_down = |host: &&SimHost| !host.is_up() && !host.is_off;
    let down: Vec<HostNo> = world.hosts().iter().filter(is_down).map(|host| host.no).collect();
    if !down.is_empty() {
        return Some((down, "some hosts have not started again".into()));
    }
    let unfinished = world.checks().unfinished();
    if let Some(first) = unfinished.first() {
        let status = world.checks().model.deployment(*first).map(|deployment| deployment.status);
        return Some((Vec::new(), format!("{first} is not over yet ({status:?})")));
    }
    // Deployments that wait for the freeze, also catch-ups, come after it.
    let mut groups = world.checks().model.groups().iter();
    if let Some((name, _)) = groups.find(|(_, group)| group.watches.frozen_until.is_some()) {
        return Some((Vec::new(), format!("{name} is still frozen")));
    }
    if world.open_requests() > 0 {
        return Some((Vec::new(), format!("{} requests have no answer", world.open_requests())));
    }
    let index = world.checks().agreement.last();
    let removed = world.checks().model.removed();
    let members = || world.nodes().filter(|(_, node)| !removed.contains(&node.host()));
    let behind: Vec<HostNo> =
        members().filter(|(_, node)| node.state().index() < index).map(|(host, _)| host).collect();
    if !behind.is_empty() {
        return Some((behind, format!("not everybody has all {index} entries")));
    }
    let waiting = members().find_map(|(host, node)| {
        let (mut groups, waiting) = (node.state().groups().iter(), node.state().notifications());
        let (name, _) = groups.find(|(name, group)| {
            group.group.triggers.iter().any(|trigger| waiting.waiting_for(name, trigger) > 0)
        })?;
        Some((vec![host], format!("receivers of {name} are not told everything")))
    });
    if waiting.is_some() {
        return waiting;
    }
    let known = world.checks().model.hosts();
    let missing: Vec<HostNo> = world
        .hosts()
        .iter()
        .filter(|host| !removed.contains(&host.id) && known.get(&host.id).is_none_or(|known| known.down))
        .map(|host| host.no)
        .collect();
    if !missing.is_empty() {
        return Some((missing, "some hosts are not in the mesh, or count as Down".into()));
    }
    let unaware = world.nodes().find(|(_, node)| removed.contains(&node.host()) && !has_left(node));
    if let Some((host, _)) = unaware {
        return Some((vec![host], "it was taken out of the mesh, and does not say so or still votes".into()));
    }
    let needed = members().find(|(_, node)| !node.mesh().voters.is_disjoint(removed));
    if let Some((host, _)) = needed {
        return Some((vec![host], "for it a host that was taken out still votes".into()));
    }
    let mut nodes = members();
    let (first, node) = nodes.next()?;
    let different = nodes.find(|(_, other)| other.state() != node.state());
    different.map(|(other, _)| {
        (vec![first, other], "they have folded the same entries to different states".into())
    })
}

/// Returns true if the host knows that it was removed, and does not vote.
fn has_left(node: &Node) -> bool {
    node.removed().is_some() && !node.is_voting()
}

fn complain(world: &mut World, hosts: Vec<HostNo>, what: String) {
    let now = world.now();
    world.checks_mut().report(Err(Violation::new(Claim::Progress, hosts, what)), now);
}
