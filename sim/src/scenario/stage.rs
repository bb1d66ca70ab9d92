//! Prepares the start of the story: the mesh, its groups, and the bundles that
//! are already deployed.

use std::collections::BTreeSet;
use std::time::Duration;

use proto::lifecycle::LifecycleEvent;
use proto::node::Node;
use proto::policy::{Minimum, Policy, RollbackOn};
use proto::rollout::DeploymentStatus;

use super::{Running, Scenario};
use crate::clock::Moment;
use crate::hooks::{Bundle, HookFault, How};
use crate::host::{FOUNDER, HostNo};
use crate::network::Quality;
use crate::watches::Ways;
use crate::world::{Asked, Wish, World};

/// The time within which a mesh without faults completes each step of the
/// preparation.
const EACH_WITHIN: Duration = Duration::from_secs(300);

/// The time after that to choose the voters, and for all hosts to learn of it.
const SETTLES: Duration = Duration::from_secs(5);

/// Returns a network without randomness, so that the times of a story depend only
/// on its lines.
fn quality() -> Quality {
    let latency = Duration::from_micros(500);
    let idle = Duration::from_secs(4);
    Quality {
        latency: (latency, latency),
        jitter: Duration::ZERO,
        idle_timeout: (idle, idle),
        ..Quality::default()
    }
}

/// Builds the world, with hosts that are not yet started.
pub(super) fn world(scenario: &Scenario, seed: u64) -> World {
    let mut world = World::new(seed, quality());
    world.checks_mut().chronicle.keep();
    let takes = Duration::from_millis(100);
    world.set_ways(Ways { takes: (takes, takes), lost_percent: 0, hang_percent: 0 });
    for performer in &scenario.hosts {
        let no = world.add_host(performer.profile.clone());
        if !performer.is_later {
            world.start_at(no, Moment::START + Duration::from_millis(10) * no.0);
        }
    }
    scenario.bundles.iter().for_each(|bundle| world.add_bundle(bundle.clone()));
    world
}

/// Lets the mesh form and deploy what runs before the story. Returns the time
/// at which the story begins, a whole second.
/// # Errors
/// Says which step was not completed in time.
pub(super) fn prepare(scenario: &Scenario, world: &mut World) -> Result<Moment, String> {
    let present = scenario.hosts.iter().filter(|performer| !performer.is_later).count();
    let has_joined = |world: &World| {
        world.nodes().count() == present
            && world.nodes().all(|(_, node)| node.state().hosts().len() == present)
    };
    wait(world, "the hosts do not find each other", has_joined)?;
    for group in &scenario.groups {
        ask(world, Wish::SetGroup(group.clone()));
        let name = group.name.clone();
        let is_set = move |world: &World| world.checks().model.groups().contains_key(&name);
        wait(world, "a group is not set", is_set)?;
    }
    for running in &scenario.running {
        deploy(scenario, running, world)?;
    }
    world.run_until(world.now() + SETTLES);
    let zero = Moment::from_micros((world.now().as_secs() + 1) * 1_000_000);
    world.run_until(zero);
    world.begin_story();
    Ok(zero)
}

fn deploy(scenario: &Scenario, running: &Running, world: &mut World) -> Result<(), String> {
    let bundle = scenario.bundles.iter().find(|bundle| bundle.name == running.bundle);
    let bundle = bundle.ok_or_else(|| format!("there is no bundle {}", running.bundle))?;
    world.add_bundle(failing_on(bundle, &running.not_on));
    let group = running.group.clone();
    let policy = Policy {
        minimum: Minimum::AllAtOnce,
        rollback: RollbackOn { failure: false, alarm: false, stop: false },
        ..Policy::default()
    };
    let digest = bundle.revision.digest;
    ask(world, Wish::Deploy { group: group.clone(), digest, policy: Some(policy), queue: false });
    let last = |world: &World| {
        let group = world.checks().model.groups().get(&group)?;
        let last = world.checks().model.deployment(*group.deployments.last()?)?;
        (last.submission.revision.digest == digest && last.status.is_over()).then_some(last.status)
    };
    wait(world, &format!("{} is not deployed", bundle.name), |world| last(world).is_some())?;
    let status = last(world);
    // A host that has not heard of the end yet would refuse the next
    // deployment.
    let is_over = |node: &Node| node.state().rollouts().values().all(|rollout| rollout.status().is_over());
    wait(world, "a host does not hear of it", |world| world.nodes().all(|(_, node)| is_over(node)))?;
    world.add_bundle(bundle.clone());
    match status {
        Some(DeploymentStatus::Succeeded) => Ok(()),
        other => Err(format!("{} is to run before the story begins, but ends as {other:?}", bundle.name)),
    }
}

/// Returns the same bundle, except that on some hosts it fails before Install.
fn failing_on(bundle: &Bundle, hosts: &BTreeSet<HostNo>) -> Bundle {
    let mut bundle = bundle.clone();
    bundle.faults.clear();
    let fault =
        HookFault { event: LifecycleEvent::BeforeInstall, hosts: Some(hosts.clone()), how: How::Fails };
    bundle.faults.push(fault);
    bundle
}

fn ask(world: &mut World, wish: Wish) {
    let now = world.now();
    world.ask_at(Asked { at: FOUNDER, wish, insists: true }, now);
}

fn wait(world: &mut World, otherwise: &str, comes_true: impl Fn(&World) -> bool) -> Result<(), String> {
    if world.run_while(EACH_WITHIN, |world| !comes_true(world)) {
        return Ok(());
    }
    let counterexample = world.checks().counterexample().map(ToString::to_string).unwrap_or_default();
    Err(format!("before the story begins, {otherwise} within {} s {counterexample}", EACH_WITHIN.as_secs()))
}
