//! The trace of what the hooks really did, in order, and the claims that must always hold of
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// One line of a hook: it began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub is_begin: bool,
    pub(crate) event: String,
    pub(crate) host: String,
    pub(crate) deployment: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Trace(pub(crate) Vec<Line>);

impl Trace {
    pub(crate) fn read(world: &Path) -> Trace {
        let text = fs::read_to_string(world.join("trace")).unwrap_or_default();
        Trace(text.lines().map(Line::parse).collect())
    }

    /// Returns the trace of one deployment.
    pub(crate) fn of(&self, deployment: &str) -> Trace {
        Trace(self.0.iter().filter(|line| line.deployment == deployment).cloned().collect())
    }

    pub(crate) fn has_begun(&self, event: &str, host: &str) -> bool {
        self.0.iter().any(|line| line.is_begin && line.event == event && line.host == host)
    }

    pub(crate) fn has_ended(&self, event: &str, host: &str) -> bool {
        self.0.iter().any(|line| !line.is_begin && line.event == event && line.host == host)
    }

    pub(crate) fn is_held(&self, event: &str, host: &str) -> bool {
        let count = |is_begin| {
            let is_it = |line: &&Line| line.is_begin == is_begin && line.event == event && line.host == host;
            self.0.iter().filter(is_it).count()
        };
        count(true) > count(false)
    }

    /// Returns the hosts in the order of their first hooks.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        self.0.iter().filter(|line| seen.insert(&line.host)).map(|line| line.host.clone()).collect()
    }

    /// Returns the events that began on one host.
    pub(crate) fn events(&self, host: &str) -> Vec<String> {
        let begun = self.0.iter().filter(|line| line.is_begin && line.host == host);
        begun.map(|line| line.event.clone()).collect()
    }

    /// Checks that no hook of a deployment began twice on a host.
    #[track_caller]
    pub(crate) fn no_turn_ran_twice(&self) {
        let mut begun = BTreeSet::new();
        for line in self.0.iter().filter(|line| line.is_begin) {
            let is_new = begun.insert((&line.deployment, &line.host, &line.event));
            assert!(is_new, "a second time: {line:?}\n{self:#?}");
        }
    }

    /// Checks that at no moment more than `hosts_max` hosts were between their
    /// first and their last hook.
    #[track_caller]
    pub(crate) fn at_most_at_once(&self, hosts_max: usize) {
        let mut spans: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
        for (at, line) in self.0.iter().enumerate() {
            let span = spans.entry((&line.deployment, &line.host)).or_insert((at, at));
            span.1 = at;
        }
        for at in 0..self.0.len() {
            let inside = spans.iter().filter(|(_, (first, last))| (first..=last).contains(&&at));
            let hosts: BTreeSet<&str> = inside.map(|((_, host), _)| *host).collect();
            assert!(hosts.len() <= hosts_max, "{hosts:?} at line {}\n{self:#?}", at + 1);
        }
    }
}

impl Line {
    fn parse(text: &str) -> Line {
        let words: Vec<&str> = text.split(' ').collect();
        let [mark @ ("begin" | "end"), event, host, deployment, _at] = words[..] else {
            panic!("no line of a trace: {text}");
        };
        Line {
            is_begin: mark == "begin",
            event: event.into(),
            host: host.into(),
            deployment: deployment.into(),
        }
    }
}
