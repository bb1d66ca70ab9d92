//! A long run: release after release, until anything that grows in a node or in
//! its store must have shown.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::group::{Group, Tag, TagFilter, TagSets};
use proto::id::GroupName;
use proto::policy::{Minimum, Policy};

use crate::check::Counterexample;
use crate::clock::Moment;
use crate::hooks::Bundle;
use crate::host::{HostNo, Profile, Tuning};
use crate::network::Quality;
use crate::world::{Asked, Wish, World};

/// The number of hosts: enough for five voters and one follower.
const HOSTS: usize = 6;

/// The number of entries that each host keeps. It is low, so that the log is
/// truncated many times.
const LOG_KEPT: usize = 64;

/// The number of different bundles, deployed in turn. A host keeps only the
/// last few revisions.
const BUNDLES: usize = 8;

/// A release that takes longer than this hangs.
const RELEASE_WITHIN: Duration = Duration::from_secs(120);

/// The most that any host held of each part, in each third of the run.
type Thirds = [BTreeMap<&'static str, usize>; 3];

#[derive(Debug)]
pub struct Soak {
    pub releases: u32,
    pub lasted: Moment,
    pub counterexample: Option<Counterexample>,
    /// The most that any host held of each part, in the first third of the run
    /// (when everything fills up), the second and the last.
    pub parts: Vec<(&'static str, [usize; 3])>,
}

impl Soak {
    /// Returns the parts that grew after they should have been full.
    pub fn grown(&self) -> impl Iterator<Item = &(&'static str, [usize; 3])> {
        self.parts.iter().filter(|(_, [_, before, after])| *after > most_after(*before))
    }
}

/// Returns the most that a part may hold in the last third, given the second. A
/// part that is not full grows by more than a tenth in a third of the run. The 16
/// are for short queues, which may be longer by chance.
fn most_after(before: usize) -> usize {
    before + before / 10 + 16
}

/// Plays `releases` releases, one after another.
pub fn soak(seed: u64, releases: u32) -> Soak {
    let mut world = mesh(seed);
    let mut thirds = Thirds::default();
    let mut done = 0;
    for number in 0..releases {
        if !release(&mut world, number as usize) {
            break;
        }
        done += 1;
        let third = (number * 3 / releases.max(1)) as usize;
        measure(&world, &mut thirds[third]);
    }
    let names = thirds[2].keys().copied();
    let held = |name| [0, 1, 2].map(|third: usize| thirds[third].get(name).copied().unwrap_or(0));
    let parts = names.map(|name| (name, held(name))).collect();
    let (counterexample, lasted) = (world.checks().counterexample().cloned(), world.now());
    Soak { releases: done, lasted, counterexample, parts }
}

fn mesh(seed: u64) -> World {
    let mut world = World::new(seed, Quality::default());
    let tags = || [Tag::parse("role=web").expect("a tag")].into();
    for _ in 0..HOSTS {
        let host = world.add_host(Profile { tags: tags(), ..Profile::default() });
        world.start_at(host, Moment::START);
    }
    world.tune(Tuning { log_kept: LOG_KEPT, ..Tuning::default() });
    for number in 0..BUNDLES {
        let takes = (Duration::from_millis(1), Duration::from_millis(5));
        world.add_bundle(Bundle::new(&format!("v{number}"), takes));
    }
    let filter = TagFilter::parse("role=web").expect("a filter");
    let policy = Policy { minimum: Minimum::AllAtOnce, ..Policy::default() };
    let group = Group::new(group(), TagSets(vec![vec![filter]]), policy);
    ask(&mut world, Wish::SetGroup(group), Moment::from_micros(10_000_000));
    world.run_until(Moment::from_micros(15_000_000));
    world
}

fn group() -> GroupName {
    "web/prod".parse().expect("a name")
}

fn ask(world: &mut World, wish: Wish, at: Moment) {
    world.ask_at(Asked { at: HostNo(0), wish, insists: true }, at);
}

/// Deploys one release. Returns true if it ended in time.
fn release(world: &mut World, number: usize) -> bool {
    let digest = Bundle::new(&format!("v{}", number % BUNDLES), Default::default()).revision.digest;
    ask(world, Wish::Deploy { group: group(), digest, policy: None, queue: true }, world.now());
    let goes_on = |world: &World| world.open_requests() > 0 || !world.checks().unfinished().is_empty();
    world.run_while(RELEASE_WITHIN, goes_on)
}

fn measure(world: &World, most: &mut BTreeMap<&'static str, usize>) {
    let mut note = |name, held: usize| {
        let known = most.entry(name).or_default();
        *known = held.max(*known);
    };
    for host in world.hosts() {
        for (name, held) in host.node().map(|node| node.footprint()).unwrap_or_default() {
            note(name, held);
        }
        let store = host.disk.synced();
        note("records of the store", store.len());
        note("bytes of the store", store.iter().map(|(key, value)| key.len() + value.len()).sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_grows_with_the_releases_that_a_mesh_has_seen() {
        // The group keeps the last fifty deployments: its history is full in
        // the first third.
        let soak = soak(1, 240);
        assert!(soak.counterexample.is_none(), "{:?}", soak.counterexample);
        assert_eq!(soak.releases, 240);
        let grown: Vec<_> = soak.grown().collect();
        assert!(grown.is_empty(), "{grown:?}");
        assert!(soak.parts.iter().any(|(name, _)| *name == "log entries"));
    }

    #[test]
    fn what_grows_is_found() {
        let parts = vec![("steady", [5, 80, 90]), ("grows", [100, 1_000, 2_000])];
        let soak = Soak { releases: 1, lasted: Moment::START, counterexample: None, parts };
        assert_eq!(soak.grown().map(|(name, _)| *name).collect::<Vec<_>>(), ["grows"]);
    }
}
