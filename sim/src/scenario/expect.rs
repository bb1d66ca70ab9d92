//! Compares expectations with the run.

use proto::id::{DeploymentId, Digest, GroupName};
use proto::node::Node;
use proto::rollout::{DeploymentStatus, Rollout, Verdict};

use super::perform::WAITS_MAX;
use super::{Expectation, performance_text};
use crate::chronicle::Course;
use crate::host::HostNo;
use crate::model::Deployment;
use crate::world::World;

/// A line that did not hold.
pub(super) struct Unmet {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) what: String,
}

/// Returns the node with the highest index. Every host will know what it knows.
pub(super) fn furthest(world: &World) -> Option<&Node> {
    world.nodes().map(|(_, node)| node).max_by_key(|node| node.state().index())
}

pub(super) fn deployment<'w>(world: &'w World, name: &str) -> Option<&'w Deployment> {
    world.checks().model.deployment(world.story().deployment_called(name)?)
}

pub(super) fn check(world: &mut World, expectation: &Expectation) -> Result<(), String> {
    await_it(world, expectation)?;
    match expectation {
        Expectation::Status { deployment, status, reason } => {
            status_is(world, deployment, *status, reason.as_deref())
        }
        Expectation::Order { deployment, hosts } => {
            let begun = numbers(world, course(world, deployment)?.begun());
            is("the order", hosts_named(hosts), hosts_named(&begun))
        }
        Expectation::Turns { deployment, turns } => {
            is("turns", *turns, u32::try_from(course(world, deployment)?.begun().len()).expect("few"))
        }
        Expectation::AtATime { deployment, turns } => {
            is("turns at a time", *turns, course(world, deployment)?.most_in_flight)
        }
        Expectation::Lowest { deployment, hosts } => {
            is("fewest in service", Some(*hosts), course(world, deployment)?.lowest)
        }
        Expectation::WaitsFor { deployment, words } => {
            let blockers = performance_text::blockers(world, known(world, deployment)?).join("; ");
            contains(&blockers, words)
        }
        Expectation::RollsBack { deployment, undone } => {
            let id = known(world, deployment)?;
            let of = rollout(world, id)?.submission.rollback_of.map(|of| world.story().deployment(of));
            is("it rolls back", Some(undone.clone()), of)
        }
        Expectation::NoRollback { deployment } => {
            let id = known(world, deployment)?;
            let rollout = rollout(world, id)?;
            let by = rollout.rolled_back_by.map(|by| world.story().deployment(by));
            is("it is rolled back by", None, by)?;
            // As soon as a deployment is over, every host knows whether a
            // rollback is owed.
            let state = furthest(world).ok_or("nobody is up")?.state();
            let owes = state.group(&rollout.submission.group).and_then(|group| group.owes_rollback_of);
            is("whether it is over", true, rollout.status().is_over())?;
            is("its rollback is owed", false, owes == Some(id))
        }
        Expectation::Turn { deployment, host, words } => {
            let id = known(world, deployment)?;
            let state = furthest(world).ok_or("nobody is up")?.state();
            let part = state.part(id, world.host(*host).id);
            let stage = part.map_or("no member of it".into(), |part| performance_text::stage(&part.stage));
            contains(&stage, words)
        }
        Expectation::Runs { host, group, bundle } => {
            let state = furthest(world).ok_or("nobody is up")?.state();
            let standing = state.group(group).and_then(|group| group.standing.get(&world.host(*host).id));
            let revision = standing.and_then(|standing| standing.revision);
            is("it runs", bundle.clone(), revision.map(|digest| name(world, &digest)))
        }
        Expectation::Says { host, words } => {
            let said = says(world, *host).unwrap_or_default();
            if said.contains(words) { Ok(()) } else { Err(format!("it says `{said}`")) }
        }
        Expectation::Healthy { group, hosts } => {
            let state = furthest(world).ok_or("nobody is up")?.state();
            let group = state.group(group).ok_or("the group is gone")?;
            let in_service = state.in_service(group);
            let is_healthy = |host: &&&proto::state::Host| in_service.condition(host).serves_but_for_turn();
            let members = state.members_of(&group.group);
            is("healthy", *hosts, u32::try_from(members.iter().filter(is_healthy).count()).expect("few"))
        }
        Expectation::Target { group, bundle } => {
            let state = furthest(world).ok_or("nobody is up")?.state();
            let good = state.group(group).and_then(|group| group.good.last());
            is("its target", Some(bundle.clone()), good.map(|good| name(world, &good.revision.digest)))
        }
        Expectation::Refused { words } => match world.last_reply() {
            Some(Err(refusal)) => contains(&world.story().named(refusal.to_string()), words),
            Some(Ok(_)) => Err("it was accepted".into()),
            None => Err("nothing was answered yet".into()),
        },
        Expectation::Heard { group, trigger, words } => {
            is("it heard", words.clone(), heard(world, group, trigger))
        }
        Expectation::Missed { group, trigger, words } => missed(world, group, trigger, words),
    }
}

pub(super) fn heard(world: &World, group: &GroupName, trigger: &str) -> Vec<String> {
    let of_story =
        world.outside().heard(group, trigger).iter().filter(|(_, of, _)| !world.story().is_earlier(*of));
    of_story.map(|(event, of, host)| world.story().happening(*event, *of, *host)).collect()
}

fn missed(world: &World, group: &GroupName, trigger: &str, words: &str) -> Result<(), String> {
    is("whether it heard of that", false, heard(world, group, trigger).iter().any(|heard| heard == words))?;
    let state = furthest(world).ok_or("nobody is up")?.state();
    let cursor = state.notifications().cursor(group, trigger);
    let given_up = cursor.map(|cursor| cursor.last_given_up.as_slice()).unwrap_or_default();
    let of = given_up.iter().map(|it| world.story().happening(it.event, it.deployment, None));
    contains(&of.collect::<Vec<String>>().join(", "), words)
}

/// Returns true if some happening has not reached its receiver yet.
pub(super) fn is_telling(world: &World) -> bool {
    furthest(world).is_some_and(|node| {
        let (state, waiting) = (node.state(), node.state().notifications());
        let is_telling = |(name, group): (&GroupName, &proto::state::GroupState)| {
            group.group.triggers.iter().any(|trigger| waiting.waiting_for(name, trigger) > 0)
        };
        state.groups().iter().any(is_telling)
    })
}

/// Waits for what the expectation is about: the end of a deployment, or its
/// submission.
fn await_it(world: &mut World, expectation: &Expectation) -> Result<(), String> {
    let is_there = |world: &World, name: &str| deployment(world, name).is_some();
    let is_over = |world: &World, name: &str| deployment(world, name).is_some_and(|d| d.status.is_over());
    let came = match expectation {
        Expectation::Status { deployment, status, .. } if status.is_over() => {
            world.run_while(WAITS_MAX, |world| !is_over(world, deployment))
        }
        Expectation::Status { deployment, .. }
        | Expectation::RollsBack { deployment, .. }
        | Expectation::WaitsFor { deployment, .. } => {
            world.run_while(WAITS_MAX, |world| !is_there(world, deployment))
        }
        Expectation::Says { host, .. } => world.run_while(WAITS_MAX, |world| says(world, *host).is_none()),
        Expectation::Refused { .. } => world.run_while(WAITS_MAX, |world| world.open_requests() > 0),
        // Waits until every happening was told or given up.
        Expectation::Heard { .. } | Expectation::Missed { .. } => world.run_while(WAITS_MAX, is_telling),
        Expectation::Order { .. }
        | Expectation::Turns { .. }
        | Expectation::AtATime { .. }
        | Expectation::Lowest { .. }
        | Expectation::NoRollback { .. }
        | Expectation::Turn { .. }
        | Expectation::Runs { .. }
        | Expectation::Healthy { .. }
        | Expectation::Target { .. } => true,
    };
    if came { Ok(()) } else { Err(format!("that did not come in {} s", WAITS_MAX.as_secs())) }
}

/// Returns the reason why the host's agent has stopped, or did not start.
fn says(world: &World, host: HostNo) -> Option<String> {
    let host = world.host(host);
    let halted = host.node().and_then(Node::halted).map(ToString::to_string);
    halted.or_else(|| host.refuses.clone())
}

fn status_is(
    world: &World,
    name: &str,
    status: DeploymentStatus,
    reason: Option<&str>,
) -> Result<(), String> {
    let rollout = rollout(world, known(world, name)?)?;
    is("its status", status.name(), rollout.status().name())?;
    let code = match &rollout.verdict {
        Some(Verdict::Failed(reason) | Verdict::Stopped(reason)) => Some(reason.code.name()),
        Some(Verdict::Succeeded) | None => None,
    };
    match reason {
        Some(reason) => is("its reason", Some(reason), code),
        None => Ok(()),
    }
}

fn known(world: &World, name: &str) -> Result<DeploymentId, String> {
    world.story().deployment_called(name).ok_or_else(|| format!("there is no {name}"))
}

pub(super) fn rollout(world: &World, id: DeploymentId) -> Result<&Rollout, String> {
    furthest(world).and_then(|node| node.state().rollout(id)).ok_or_else(|| "nobody knows of it".into())
}

fn course<'w>(world: &'w World, name: &str) -> Result<&'w Course, String> {
    let course = world.checks().chronicle.course(known(world, name)?);
    course.ok_or_else(|| format!("{name} has not begun"))
}

fn numbers(world: &World, hosts: Vec<proto::id::HostId>) -> Vec<HostNo> {
    hosts.into_iter().filter_map(|host| world.checks().number(host)).collect()
}

fn hosts_named(hosts: &[HostNo]) -> String {
    hosts.iter().map(HostNo::to_string).collect::<Vec<_>>().join(" ")
}

fn name(world: &World, digest: &Digest) -> String {
    world.story().bundle(digest).to_string()
}

fn is<T: PartialEq + std::fmt::Debug>(what: &str, wanted: T, is: T) -> Result<(), String> {
    if wanted == is { Ok(()) } else { Err(format!("{what}: {wanted:?} is expected, {is:?} it is")) }
}

fn contains(text: &str, words: &str) -> Result<(), String> {
    if text.contains(words) { Ok(()) } else { Err(format!("it says “{text}”")) }
}
