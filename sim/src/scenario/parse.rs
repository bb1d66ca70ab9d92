//! Parses a scenario: each line is one statement.

use std::collections::BTreeSet;

use proto::group::{Group, Tag};
use proto::id::GroupName;

use super::clauses;
use super::says;
use super::words::{Words, Wrong, unknown};
use super::{
    BYTES_MAX, HOSTS_MAX, LINES_MAX, Line, Mistake, Occasion, Performer, Running, Scenario, Step, Wait,
};
use crate::hooks::Bundle;
use crate::host::{HostNo, Profile, WIRE_BEFORE};

/// The state of parsing: the scenario so far.
pub(super) struct Reader {
    pub(super) scenario: Scenario,
    /// True after the first line that does not describe the setting.
    story_has_begun: bool,
}

pub(super) fn parse(file: &str, text: &str) -> Result<Scenario, Vec<Mistake>> {
    let mistake = |line, what: Wrong| Mistake { file: file.into(), line, what };
    if text.len() > BYTES_MAX {
        return Err(vec![mistake(1, format!("{} bytes: a scenario has at most {BYTES_MAX}", text.len()))]);
    }
    if text.lines().count() > LINES_MAX {
        return Err(vec![mistake(LINES_MAX + 1, format!("a scenario has at most {LINES_MAX} lines"))]);
    }
    let mut reader = Reader {
        scenario: Scenario {
            file: file.into(),
            title: title(text),
            hosts: Vec::new(),
            bundles: Vec::new(),
            groups: Vec::new(),
            running: Vec::new(),
            lines: Vec::new(),
        },
        story_has_begun: false,
    };
    let mut mistakes = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty()
            && let Err(what) = reader.line(number, line)
        {
            mistakes.push(mistake(number, what));
        }
    }
    if mistakes.is_empty()
        && let Err(what) = reader.is_complete()
    {
        mistakes.push(mistake(1, what));
    }
    if mistakes.is_empty() { Ok(reader.scenario) } else { Err(mistakes) }
}

/// Returns the comment at the top of the file.
fn title(text: &str) -> Vec<String> {
    let comment = text.lines().map_while(|line| line.strip_prefix('#'));
    comment.map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect()
}

/// The wire version of an agent of an older release: the first version, before
/// canaries. It reads the oldest forms that are still read.
const WIRE_OLDEST: u16 = 1;

/// The words about hosts in the setting.
const ABOUT_HOSTS: [&str; 5] = ["zone", "tag", "later", "older", "previous"];

/// The first words of the lines that describe the setting.
const SETTING: [&str; 4] = ["hosts", "group", "bundle", "running"];

impl Reader {
    fn is_complete(&self) -> Result<(), Wrong> {
        let scenario = &self.scenario;
        if scenario.title.is_empty() {
            return Err("the first line is a comment: what the scenario shows, and which rule that is".into());
        }
        if scenario.hosts.is_empty() {
            return Err("no hosts: `hosts 5`".into());
        }
        if scenario.hosts[0].is_later {
            return Err("h1 begins the ledger: it is there from the start".into());
        }
        Ok(())
    }

    fn line(&mut self, number: usize, text: &str) -> Result<(), Wrong> {
        let mut words = Words::of(text);
        let is_setting = words.peek().is_some_and(|word| SETTING.contains(&word));
        if is_setting && !self.story_has_begun {
            return self.setting(&mut words);
        }
        self.story_has_begun = true;
        let waits = self.wait(&mut words)?;
        let does = if words.is_over() { Step::Nothing } else { says::step(self, &mut words)? };
        words.end()?;
        self.scenario.lines.push(Line { number, text: text.into(), waits, does });
        Ok(())
    }

    fn setting(&mut self, words: &mut Words<'_>) -> Result<(), Wrong> {
        match words.next("a line")? {
            "hosts" => self.hosts(words)?,
            "group" => {
                let group = clauses::group(words)?;
                self.scenario.groups.push(group);
            }
            "bundle" => {
                let bundle = clauses::bundle(words)?;
                if self.has_bundle(&bundle.name) {
                    return Err(format!("{} is a bundle already", bundle.name));
                }
                self.scenario.bundles.push(bundle);
            }
            "running" => self.running(words)?,
            other => return Err(unknown("line of the setting", Some(other), SETTING)),
        }
        words.end()
    }

    /// Parses `hosts 3 zone a tag role=db later`.
    fn hosts(&mut self, words: &mut Words<'_>) -> Result<(), Wrong> {
        let count: u32 = words.number("how many hosts")?;
        if count == 0 || self.scenario.hosts.len() + count as usize > HOSTS_MAX as usize {
            return Err(format!("a scenario has 1 to {HOSTS_MAX} hosts"));
        }
        let mut profile = Profile::default();
        let mut is_later = false;
        while let Some(word) = words.peek() {
            words.next("a word")?;
            match word {
                "zone" => profile.zone = words.next("the zone")?.into(),
                "tag" => {
                    let tag = Tag::parse(words.next("a tag like role=db")?).map_err(|e| e.to_string())?;
                    profile.tags.insert(tag);
                }
                "later" => is_later = true,
                "older" => profile.wire = WIRE_OLDEST,
                "previous" => profile.wire = WIRE_BEFORE,
                other => return Err(unknown("word about hosts", Some(other), ABOUT_HOSTS)),
            }
        }
        if profile.tags.is_empty() {
            profile.tags.insert(Tag::parse("role=web").expect("a tag"));
        }
        let performer = Performer { profile, is_later };
        self.scenario.hosts.extend((0..count).map(|_| performer.clone()));
        Ok(())
    }

    /// Parses `running v1 in web/prod but not on h3`.
    fn running(&mut self, words: &mut Words<'_>) -> Result<(), Wrong> {
        let bundle = self.bundle(words)?;
        let group = self.group_after("in", words)?.name.clone();
        let not_on = if words.take("but not on") { self.hosts_of(words)? } else { BTreeSet::new() };
        self.scenario.running.push(Running { bundle, group, not_on });
        Ok(())
    }

    fn wait(&self, words: &mut Words<'_>) -> Result<Wait, Wrong> {
        if words.take("at") {
            return Ok(Wait::At(words.duration()?));
        }
        if words.take("after") {
            return Ok(Wait::After(words.duration()?));
        }
        if words.take("when") {
            let occasion = self.occasion(words)?;
            if !words.is_over() {
                words.expect("then")?;
            }
            return Ok(Wait::Until(occasion));
        }
        Ok(Wait::No)
    }

    fn occasion(&self, words: &mut Words<'_>) -> Result<Occasion, Wrong> {
        let who = words.peek().unwrap_or_default();
        if is_deployment(who) {
            let deployment = deployment(words)?;
            if words.take("is over") {
                return Ok(Occasion::Over(deployment));
            }
            words.expect("begins")?;
            return Ok(Occasion::Starts(deployment));
        }
        let host = self.host(words)?;
        let of = |words: &mut Words<'_>| words.take("of").then(|| deployment(words)).transpose();
        if words.take("is Down") {
            Ok(Occasion::Down(host))
        } else if words.take("is up") {
            Ok(Occasion::Up(host))
        } else if words.take("has ended its turn") {
            Ok(Occasion::EndsTurn { host, of: of(words)? })
        } else if words.take("begins its turn") {
            Ok(Occasion::BeginsTurn { host, of: of(words)? })
        } else {
            words.expect("begins")?;
            let event = clauses::event(words)?;
            Ok(Occasion::Begins { host, event, of: of(words)? })
        }
    }

    pub(super) fn host(&self, words: &mut Words<'_>) -> Result<HostNo, Wrong> {
        let host = words.host()?;
        self.is_known(host)?;
        Ok(host)
    }

    /// Parses hosts by number. All of them must exist.
    pub(super) fn hosts_of(&self, words: &mut Words<'_>) -> Result<BTreeSet<HostNo>, Wrong> {
        let hosts = words.hosts()?;
        hosts.iter().try_for_each(|host| self.is_known(*host))?;
        Ok(hosts)
    }

    pub(super) fn all_but(&self, but: &BTreeSet<HostNo>) -> BTreeSet<HostNo> {
        let all = (0..self.scenario.hosts.len()).map(HostNo::from_index);
        all.filter(|host| !but.contains(host)).collect()
    }

    fn is_known(&self, host: HostNo) -> Result<(), Wrong> {
        let hosts = self.scenario.hosts.len();
        if host.index() < hosts {
            Ok(())
        } else {
            Err(format!("there is no {host}: there are {hosts} hosts"))
        }
    }

    /// Parses the name of a bundle. A bundle that no line has described is one
    /// in which nothing fails.
    pub(super) fn bundle(&mut self, words: &mut Words<'_>) -> Result<String, Wrong> {
        let name = words.next("a bundle's name")?;
        if !self.has_bundle(name) {
            self.scenario.bundles.push(clauses::plain_bundle(name));
        }
        Ok(name.into())
    }

    fn has_bundle(&self, name: &str) -> bool {
        self.scenario.bundles.iter().any(|bundle: &Bundle| bundle.name == name)
    }

    /// Parses the group after `word`; returns the first group if the word is
    /// missing.
    pub(super) fn group_after(&self, word: &str, words: &mut Words<'_>) -> Result<&Group, Wrong> {
        if !words.take(word) {
            return self
                .scenario
                .groups
                .first()
                .ok_or("no group is known yet: `group web/prod OneAtATime`".into());
        }
        let name = clauses::group_name(words.next("a group")?)?;
        self.group(&name)
    }

    /// Returns the group that has an alarm of this name.
    pub(super) fn group_of_alarm(&self, name: &str) -> Result<&Group, Wrong> {
        let names = |group: &Group| group.alarms.iter().map(|alarm| alarm.name.clone()).collect();
        self.group_with("alarm", name, names)
    }

    /// Returns the group that has a trigger of this name.
    pub(super) fn group_of_trigger(&self, name: &str) -> Result<&Group, Wrong> {
        let names = |group: &Group| group.triggers.iter().map(|trigger| trigger.name.clone()).collect();
        self.group_with("trigger", name, names)
    }

    fn group_with(
        &self,
        what: &str,
        name: &str,
        names: impl Fn(&Group) -> Vec<String>,
    ) -> Result<&Group, Wrong> {
        let groups = &self.scenario.groups;
        let known = groups.iter().find(|group| names(group).iter().any(|known| known == name));
        known.ok_or_else(|| {
            let names: Vec<String> = groups.iter().flat_map(names).collect();
            unknown(what, Some(name), names.iter().map(String::as_str))
        })
    }

    pub(super) fn group(&self, name: &GroupName) -> Result<&Group, Wrong> {
        let known = self.scenario.groups.iter().find(|group| group.name == *name);
        known.ok_or_else(|| {
            let names: Vec<String> = self.scenario.groups.iter().map(|g| g.name.to_string()).collect();
            unknown("group", Some(&name.to_string()), names.iter().map(String::as_str))
        })
    }
}

pub(super) fn is_deployment(word: &str) -> bool {
    word.strip_prefix('d').is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Parses a deployment's name in the story, such as d1.
pub(super) fn deployment(words: &mut Words<'_>) -> Result<String, Wrong> {
    let word = words.next("a deployment like d1")?;
    if is_deployment(word) {
        Ok(word.into())
    } else {
        Err(format!("unknown deployment `{word}`: the story's first is d1, the next d2, and so on"))
    }
}
