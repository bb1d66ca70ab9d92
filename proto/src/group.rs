//! A group: the hosts, chosen by tags, that receive the same deployments of one
//! application, and the policy that those deployments follow.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, InvalidWatch, check_alarms};
use crate::health::HealthCheck;
use crate::id::{ConfigName, GroupName};
use crate::policy::Policy;
use crate::trigger::{Trigger, check_triggers};

/// The most sets of tags that a group may have (CodeDeploy's quota).
pub const TAG_SETS_MAX: usize = 3;
/// The most tags that one set may have (CodeDeploy's quota).
pub const TAGS_PER_SET_MAX: usize = 10;

/// A tag of a host: a key and a value, written `key=value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "TagParts")]
pub struct Tag {
    /// The key, up to 128 characters.
    pub key: String,
    /// The value, up to 256 characters; may be empty.
    pub value: String,
}

/// A tag as read from the network or a file, not yet checked.
#[derive(Deserialize)]
struct TagParts {
    key: String,
    value: String,
}

impl TryFrom<TagParts> for Tag {
    type Error = InvalidGroup;
    fn try_from(TagParts { key, value }: TagParts) -> Result<Tag, InvalidGroup> {
        match Tag::parse(&format!("{key}={value}")) {
            Ok(tag) if tag.key == key => Ok(tag),
            Ok(Tag { .. }) | Err(_) => Err(InvalidGroup::Tag(key.chars().take(100).collect())),
        }
    }
}

/// A condition on a host's tags: `key=value`, `key` (any value), or `=value` (any
/// key).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TagFilter {
    /// The host has this tag (CodeDeploy's `KEY_AND_VALUE`).
    Both(Tag),
    /// The host has a tag with this key (CodeDeploy's `KEY_ONLY`).
    Key(String),
    /// The host has a tag with this value (CodeDeploy's `VALUE_ONLY`).
    Value(String),
}

/// The tags that choose a group's hosts. A host must match one filter of every set:
/// OR inside a set, AND between sets.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TagSets(pub Vec<Vec<TagFilter>>);

/// The reason why the definition of a group is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGroup {
    /// The group has no sets of tags. A group must ask for every host in so many
    /// words, and not by an empty list.
    #[error("the group has no tags: name at least one set, for example tags = [[\"role=web\"]]")]
    NoTags,
    /// The set with this number, counted from 1, is empty. It would match no host,
    /// and so neither would the group.
    #[error("tag set {0} is empty, so no host can match: remove it or fill it")]
    EmptySet(usize),
    /// The group has this many sets of tags, more than [`TAG_SETS_MAX`].
    #[error("{0} sets of tags: at most {TAG_SETS_MAX} are allowed")]
    TooManySets(usize),
    /// A set has more than [`TAGS_PER_SET_MAX`] tags.
    #[error("tag set {set} has {tags} tags: at most {TAGS_PER_SET_MAX} are allowed")]
    TooManyTags {
        /// The number of the set, counted from 1.
        set: usize,
        /// The number of its tags.
        tags: usize,
    },
    /// The text, cut to 100 characters, is not a tag or tag filter.
    #[error("invalid tag `{0}`: write key=value (key up to 128 characters, value up to 256)")]
    Tag(String),
    /// An alarm or a trigger of the group is invalid.
    #[error(transparent)]
    Watch(#[from] InvalidWatch),
}

/// A group as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The names of the application and the group.
    pub name: GroupName,
    /// The tags that choose its hosts.
    pub tags: TagSets,
    /// The policy that its deployments follow, unless one overrides it.
    pub policy: Policy,
    /// The check of its hosts; `None` if only turns tell how its hosts are.
    pub health: Option<HealthCheck>,
    /// The name of the configuration that says how many hosts at a time and in
    /// which order. It replaces that part of the policy, and is looked up when a
    /// deployment is submitted.
    pub config: Option<ConfigName>,
    /// The alarms that stop its deployments, at most [`crate::alarm::ALARMS_MAX`].
    pub alarms: Vec<Alarm>,
    /// The triggers that tell others of its deployments, at most
    /// [`crate::trigger::TRIGGERS_MAX`].
    pub triggers: Vec<Trigger>,
}

impl Group {
    /// Makes a group without health check, alarms and triggers.
    pub fn new(name: GroupName, tags: TagSets, policy: Policy) -> Self {
        Group { name, tags, policy, health: None, config: None, alarms: Vec::new(), triggers: Vec::new() }
    }

    /// Checks the limits on all parts of the group.
    /// # Errors
    /// The first limit that is exceeded.
    pub fn validate(&self) -> Result<(), InvalidGroup> {
        self.tags.validate()?;
        check_alarms(&self.alarms)?;
        check_triggers(&self.triggers)?;
        Ok(())
    }
}

impl Tag {
    /// Parses `key=value`.
    /// # Errors
    /// [`InvalidGroup::Tag`] if there is no `=`, the key is empty, a part is too
    /// long, or a character is a control character.
    pub fn parse(text: &str) -> Result<Tag, InvalidGroup> {
        match text.split_once('=') {
            Some((key, value))
                if !key.is_empty()
                    && key.chars().count() <= 128
                    && value.chars().count() <= 256
                    && !text.chars().any(char::is_control) =>
            {
                Ok(Tag { key: key.into(), value: value.into() })
            }
            Some(_) | None => Err(InvalidGroup::Tag(text.chars().take(100).collect())),
        }
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl TagFilter {
    /// Parses `key=value`, `key` or `=value`.
    /// # Errors
    /// [`InvalidGroup::Tag`] if the text is empty or only `=`, is too long, or
    /// holds control characters.
    pub fn parse(text: &str) -> Result<TagFilter, InvalidGroup> {
        let refused = || InvalidGroup::Tag(text.chars().take(100).collect());
        if text.is_empty() || text == "=" || text.chars().count() > 385 || text.chars().any(char::is_control)
        {
            return Err(refused());
        }
        match text.split_once('=') {
            None => Ok(TagFilter::Key(text.into())),
            Some(("", value)) => Ok(TagFilter::Value(value.into())),
            Some(_) => Tag::parse(text).map(TagFilter::Both),
        }
    }

    fn matches(&self, tags: &BTreeSet<Tag>) -> bool {
        match self {
            TagFilter::Both(tag) => tags.contains(tag),
            TagFilter::Key(key) => tags.iter().any(|tag| tag.key == *key),
            TagFilter::Value(value) => tags.iter().any(|tag| tag.value == *value),
        }
    }
}

impl std::fmt::Display for TagFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TagFilter::Both(tag) => write!(f, "{tag}"),
            TagFilter::Key(key) => f.write_str(key),
            TagFilter::Value(value) => write!(f, "={value}"),
        }
    }
}

impl TagSets {
    /// Returns true if a host with these tags belongs to the group.
    pub fn matches(&self, tags: &BTreeSet<Tag>) -> bool {
        self.0.iter().all(|set| set.iter().any(|filter| filter.matches(tags)))
    }

    /// Checks the limits on the number of sets and tags.
    /// # Errors
    /// The first limit that is exceeded.
    pub fn validate(&self) -> Result<(), InvalidGroup> {
        if self.0.is_empty() {
            return Err(InvalidGroup::NoTags);
        }
        if self.0.len() > TAG_SETS_MAX {
            return Err(InvalidGroup::TooManySets(self.0.len()));
        }
        for (at, set) in self.0.iter().enumerate() {
            if set.is_empty() {
                return Err(InvalidGroup::EmptySet(at + 1));
            }
            if set.len() > TAGS_PER_SET_MAX {
                return Err(InvalidGroup::TooManyTags { set: at + 1, tags: set.len() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sets: &[&[&str]], tags: &[&str], belongs: bool) {
        let parse =
            |set: &&[&str]| set.iter().map(|text| TagFilter::parse(text).expect("a filter")).collect();
        let sets = TagSets(sets.iter().map(parse).collect());
        let tags = tags.iter().map(|text| Tag::parse(text).expect("a tag")).collect();
        assert_eq!(sets.matches(&tags), belongs, "{sets:?} of {tags:?}");
    }

    #[test]
    fn tags_are_or_inside_a_set_and_and_between_sets() {
        check(&[&["env=prod", "env=canary"], &["role=web"]], &["env=canary", "role=web"], true);
        check(&[&["env=prod", "env=canary"], &["role=web"]], &["env=canary", "role=db"], false);
        check(&[&["env"]], &["env=anything"], true);
        check(&[&["=prod"]], &["stage=prod"], true);
        check(&[&["=prod"]], &["stage=test"], false);
        check(&[&["role=web"]], &[], false);
    }

    #[test]
    fn a_group_that_matches_by_accident_is_refused() {
        assert_eq!(TagSets(vec![]).validate(), Err(InvalidGroup::NoTags));
        assert_eq!(TagSets(vec![vec![]]).validate(), Err(InvalidGroup::EmptySet(1)));
        let many = vec![TagFilter::Key("k".into()); 11];
        assert_eq!(TagSets(vec![many]).validate(), Err(InvalidGroup::TooManyTags { set: 1, tags: 11 }));
        assert!(TagFilter::parse("").is_err() && TagFilter::parse("=").is_err() && Tag::parse("x").is_err());
    }
}
