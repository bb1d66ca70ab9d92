//! Carries out a scenario, line by line.

use std::time::Duration;

use proto::alarm::AlarmState;
use proto::id::GroupName;
use proto::policy::{Mode, Policy};

use super::expect::Unmet;
use super::{Line, Occasion, Scenario, Step, Wait, Wanted, expect, performance_text, stage};
use crate::clock::Moment;
use crate::host::FOUNDER;
use crate::model::Stage;
use crate::watches::{How, Spell};
use crate::world::{Asked, Shown, Wish, World};

/// The result of a scenario.
pub struct Performance {
    /// The story, the tables, and the expectations that did not hold.
    pub text: String,
    /// The second part of `text` alone: the results.
    pub tables: String,
    /// True if every expectation and every claim held.
    pub holds: bool,
    pub world: World,
    /// The time at which the story began.
    pub zero: Moment,
}

/// An occasion that does not come within this time will not come. It is longer
/// than any timeout that is sensible in a scenario.
pub(super) const WAITS_MAX: Duration = Duration::from_secs(3_600);

/// The time that everything under way has to end after the last line.
const ENDS_WITHIN: Duration = Duration::from_secs(900);

/// The time after that for all hosts to learn of it.
const SETTLES: Duration = Duration::from_secs(2);

/// Plays a scenario with all randomness from `seed`. `begins` is called with
/// the world before anything happens in it.
pub fn perform(scenario: &Scenario, seed: u64, begins: impl FnOnce(&mut World)) -> Performance {
    let mut world = stage::world(scenario, seed);
    begins(&mut world);
    let mut unmet = Vec::new();
    let zero = match stage::prepare(scenario, &mut world) {
        Ok(zero) => {
            play(scenario, &mut world, zero, &mut unmet);
            zero
        }
        Err(what) => {
            unmet.push(Unmet { line: 1, text: scenario.file.clone(), what });
            Moment::START
        }
    };
    let holds = unmet.is_empty() && world.checks().counterexample().is_none();
    let tables = performance_text::tables(scenario, &world, zero, &unmet);
    let text = performance_text::text(scenario, &world, zero, &tables);
    Performance { text, tables, holds, world, zero }
}

fn play(scenario: &Scenario, world: &mut World, zero: Moment, unmet: &mut Vec<Unmet>) {
    for line in &scenario.lines {
        let went = wait(world, &line.waits, zero).and_then(|()| step(world, line, zero));
        let is_lost = went.is_err() && !matches!(line.does, Step::Expect(_));
        if let Err(what) = went {
            unmet.push(Unmet { line: line.number, text: line.text.clone(), what });
        }
        // The lines after this one would belong to another story.
        if is_lost || world.checks().counterexample().is_some() {
            return;
        }
    }
    let goes_on = |world: &World| {
        world.open_requests() > 0 || !world.checks().unfinished().is_empty() || expect::is_telling(world)
    };
    world.run_while(ENDS_WITHIN, goes_on);
    world.run_until(world.now() + SETTLES);
    world.check_quiet();
}

fn wait(world: &mut World, waits: &Wait, zero: Moment) -> Result<(), String> {
    match waits {
        // A person who makes two requests waits for the answer to the first.
        Wait::No => {
            world.run_while(WAITS_MAX, |world| world.open_requests() > 0);
        }
        Wait::At(at) => {
            let then = zero + *at;
            if then < world.now() {
                return Err(format!("it is {} already", world.now().since(zero)));
            }
            world.run_until(then);
        }
        Wait::After(after) => world.run_until(world.now() + *after),
        Wait::Until(occasion) => {
            if !world.run_while(WAITS_MAX, |world| !has_come(world, occasion)) {
                return Err(format!("that never comes true, in {} s", WAITS_MAX.as_secs()));
            }
        }
    }
    Ok(())
}

fn has_come(world: &World, occasion: &Occasion) -> bool {
    let model = &world.checks().model;
    let turn = |host: &crate::host::HostNo, of: &Option<String>, is_it: fn(Stage) -> bool| {
        let id = world.host(*host).id;
        let of = of.as_ref().map(|of| world.story().deployment_called(of));
        let mut deployments = model.deployments().iter().filter(|(deployment, _)| match of {
            Some(of) => of == Some(**deployment),
            None => !world.story().is_earlier(**deployment),
        });
        deployments.any(|(_, deployment)| deployment.turn(id).is_some_and(|turn| is_it(turn.stage)))
    };
    match occasion {
        Occasion::Begins { host, event, of } => world.host(*host).hooks.running().any(|run| {
            run.event == *event
                && of.as_ref().is_none_or(|of| world.story().deployment(run.deployment) == *of)
        }),
        Occasion::BeginsTurn { host, of } => turn(host, of, |stage| matches!(stage, Stage::Started { .. })),
        Occasion::EndsTurn { host, of } => {
            turn(host, of, |stage| matches!(stage, Stage::Succeeded | Stage::Failed))
        }
        Occasion::Down(host) => model.hosts().get(&world.host(*host).id).is_some_and(|host| host.down),
        Occasion::Up(host) => model.hosts().get(&world.host(*host).id).is_some_and(|host| !host.down),
        Occasion::Starts(name) => {
            expect::deployment(world, name).is_some_and(|deployment| !deployment.turns.is_empty())
        }
        Occasion::Over(name) => {
            expect::deployment(world, name).is_some_and(|deployment| deployment.status.is_over())
        }
    }
}

fn step(world: &mut World, line: &Line, zero: Moment) -> Result<(), String> {
    let now = world.now();
    match &line.does {
        Step::Nothing => {}
        Step::Ask { at, wish } => {
            let wish = wish_of(world, wish)?;
            world.ask_at(Asked { at: at.unwrap_or(FOUNDER), wish, insists: false }, now);
        }
        Step::Break(fault) => world.fault_at(fault.clone(), now),
        Step::Outside { group, of, how, lasts } => change_outside(world, group, of, *how, *lasts),
        Step::Show(name) => {
            let lines = performance_text::now(world, name, zero)?;
            lines.into_iter().for_each(|line| world.say(line));
        }
        Step::Expect(expectation) => return expect::check(world, expectation),
    }
    world.run_until(now);
    Ok(())
}

fn change_outside(world: &mut World, group: &GroupName, of: &str, how: Option<How>, lasts: Option<Duration>) {
    let now = world.now();
    let said = match how {
        Some(How::Alarm(AlarmState::Active)) => format!("alarm {of} fires"),
        Some(How::Alarm(AlarmState::Unreadable)) => format!("alarm {of} cannot be read"),
        Some(How::Deaf) => format!("receiver {of} is away"),
        Some(How::Alarm(AlarmState::Ok)) | None => format!("{of} is well again"),
    };
    let lasting = lasts.map(|lasts| format!(", for {}", Shown(lasts))).unwrap_or_default();
    world.say(format!("{said}{lasting}"));
    let outside = world.outside_mut();
    outside.end_spells(group, of, now);
    if let Some(how) = how {
        let until = lasts.map_or(Moment::from_micros(u64::MAX), |lasts| now + lasts);
        outside.begin_spell(Spell { group: group.clone(), of: of.into(), from: now, until, how });
    }
}

fn wish_of(world: &World, wanted: &Wanted) -> Result<Wish, String> {
    let digest = |name: &str| {
        let bundle = world.bundles().find(|bundle| bundle.name == name);
        bundle.map(|bundle| bundle.revision.digest).ok_or_else(|| format!("there is no bundle {name}"))
    };
    Ok(match wanted {
        Wanted::Deploy { bundle, group, policy, queue } => Wish::Deploy {
            group: group.clone(),
            digest: digest(bundle)?,
            policy: policy.clone(),
            queue: *queue,
        },
        Wanted::Stop { group, rollback, now } => {
            Wish::Stop { group: group.clone(), rollback: *rollback, now: *now }
        }
        Wanted::Restart { group } => {
            let known = expect::furthest(world).and_then(|node| node.state().group(group));
            let policy = known.ok_or("no such group")?.group.policy.clone();
            let policy = Policy { mode: Mode::Restart, outdated_only: false, ..policy };
            Wish::Restart { group: group.clone(), policy }
        }
        Wanted::SetConfig(config) => Wish::SetConfig(config.clone()),
        Wanted::Rollback { group, to } => {
            let to = to.as_deref().map(digest).transpose()?;
            Wish::Rollback { group: group.clone(), to }
        }
        Wanted::SetGroup(group) => Wish::SetGroup(group.clone()),
        Wanted::DeleteGroup(group) => Wish::DeleteGroup(group.clone()),
        Wanted::RemoveHost(host) => Wish::RemoveHost(*host),
        Wanted::Recover => Wish::Recover,
        Wanted::SetAlarm { group, alarm, active } => {
            Wish::SetAlarm { group: group.clone(), alarm: alarm.clone(), active: *active }
        }
        Wanted::Freeze { group, lasts } => Wish::Freeze { group: group.clone(), lasts: *lasts },
        Wanted::Unfreeze(group) => Wish::Unfreeze { group: group.clone() },
    })
}
