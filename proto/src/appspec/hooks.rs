//! Reads `hooks`: the scripts of each event.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reader::{Cursor, Map, Reader};
use super::{CustomEvents, Script, files};
use crate::lifecycle::{EVENT_TIMEOUT_MAX, LIFECYCLE, LifecycleEvent, Scripts, Step};
use crate::suggest;

const KEYS: [&str; 4] = ["location", "timeout", "runas", "sudo"];
/// Events that CodeDeploy has, but not for hosts.
const TRAFFIC_TESTS: [&str; 2] = ["AfterAllowTestTraffic", "BeforeAllowTestTraffic"];
/// Top-level keys that become events by mistake when they are indented.
const TOP_LEVEL: [&str; 5] = ["version", "os", "files", "file_exists_behavior", "permissions"];
const EXAMPLE: &str = "- location: scripts/start.sh";

/// The scripts by lifecycle event, and those by the names of other events.
type Hooks = (BTreeMap<LifecycleEvent, Vec<Script>>, BTreeMap<String, Vec<Script>>);

pub(super) fn read(reader: &mut Reader, top: &Map<'_>, custom: CustomEvents<'_>) -> Hooks {
    let (mut hooks, mut custom_hooks) = Hooks::default();
    let Some(given) = top.given("hooks") else { return (hooks, custom_hooks) };
    let Some(events) = given.map(reader, "an event a key, such as `AfterInstall:`") else {
        return (hooks, custom_hooks);
    };
    for (name, given) in events.iter() {
        let event = event(reader, name, given, custom);
        if event == Event::Misplaced {
            continue;
        }
        let items = given.list(reader, EXAMPLE);
        let scripts: Vec<Script> = items.iter().filter_map(|item| script(reader, item)).collect();
        match event {
            _ if scripts.is_empty() => {}
            Event::Known(event) => drop(hooks.insert(event, scripts)),
            // A file with an unknown event is refused, but its other mistakes are
            // worth finding.
            Event::Custom | Event::Unknown => drop(custom_hooks.insert(name.to_owned(), scripts)),
            Event::Never | Event::Misplaced => {}
        }
    }
    (hooks, custom_hooks)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Known(LifecycleEvent),
    Custom,
    Unknown,
    /// One of CodeDeploy's events whose scripts never run on a host.
    Never,
    /// Another part of the file, which holds no scripts.
    Misplaced,
}

fn event(reader: &mut Reader, name: &str, cursor: &Cursor<'_>, custom: CustomEvents<'_>) -> Event {
    let is_custom = match custom {
        CustomEvents::Only(names) => names.iter().any(|custom| custom == name),
        CustomEvents::Any => true,
    };
    let (event, problem) = match name.parse::<LifecycleEvent>() {
        Ok(event) if event.step().scripts != Scripts::BuiltIn => return Event::Known(event),
        // The official agent never reaches the scripts of such an event either.
        Ok(_) if cursor.is_empty() => return Event::Never,
        Ok(event) => (Event::Never, built_in(event)),
        Err(_) if is_custom => return Event::Custom,
        Err(_) if TRAFFIC_TESTS.contains(&name) => {
            let problem = "this event is of Amazon ECS deployments: a host never comes to it, so its scripts \
                           never run";
            (Event::Never, problem.to_owned())
        }
        Err(_) if TOP_LEVEL.contains(&name) => {
            let problem =
                format!("not a lifecycle event: `{name}` belongs to the top level, so do not indent it");
            (Event::Misplaced, problem)
        }
        Err(_) => (Event::Unknown, unknown(name)),
    };
    // A name without scripts is harmless: nothing could run or fail.
    let is_harmless = event == Event::Never || cursor.is_empty();
    match is_harmless {
        true => reader.warning(cursor.key_at(), cursor.path(), problem),
        false => reader.mistake(cursor.key_at(), cursor.path(), problem),
    }
    event
}

/// Names the events around a built-in one, where its scripts were probably meant to
/// run.
fn built_in(event: LifecycleEvent) -> String {
    let scriptable = |step: &&Step| step.scripts != Scripts::BuiltIn;
    let before = LIFECYCLE.iter().rev().filter(scriptable).find(|step| step.event < event);
    let after = LIFECYCLE.iter().filter(scriptable).find(|step| step.event > event);
    let near: Vec<&str> = before.into_iter().chain(after).map(|step| step.name).collect();
    format!(
        "{event} is built in and runs no scripts, so these will not run: move them to {}",
        near.join(" or ")
    )
}

fn unknown(name: &str) -> String {
    let scriptable = || LIFECYCLE.iter().filter(|step| step.scripts != Scripts::BuiltIn);
    match suggest::nearest(name, scriptable().map(|step| step.name)) {
        Some(near) => format!("not a lifecycle event{}", suggest::did_you_mean(Some(near))),
        None => {
            let names: Vec<&str> = scriptable().map(|step| step.name).collect();
            format!("not a lifecycle event: scripts can be hooked to {}", names.join(", "))
        }
    }
}

fn script(reader: &mut Reader, item: &Cursor<'_>) -> Option<Script> {
    let map = item.map(reader, "`location` and, if you like, `timeout` and `runas`")?;
    map.warn_unknown(reader, &KEYS, |key| {
        ["run", "script", "command", "path"].contains(&key).then(|| {
            "unknown key, ignored; a script is named by `location`, its path in the bundle".to_owned()
        })
    });
    let advice = match map.iter().next() {
        // One dash too many turns one script into two.
        Some((key, _)) if KEYS.contains(&key) && !item.path().ends_with("[0]") => format!(
            "the script's path in the bundle; if `{key}` belongs to the script above, write it below that \
             one's `location`, without a dash"
        ),
        Some(_) | None => "the script's path in the bundle".to_owned(),
    };
    let location = map.require(reader, "location", &KEYS, &advice);
    let location = location.and_then(|location| self::location(reader, location));
    let timeout_given = map.given("timeout").is_some();
    let timeout = match map.given("timeout") {
        Some(timeout) => self::timeout(reader, timeout),
        None => Some(EVENT_TIMEOUT_MAX),
    };
    let runas = map.given("runas").and_then(|runas| {
        let user = runas.text(reader)?.trim();
        if user.is_empty() {
            // Then the official agent runs `su -c`, which means root.
            let problem = "names nobody, so the script runs as the agent does: leave the key out";
            runas.warning(reader, problem.to_owned());
            return None;
        }
        Some(user.to_owned())
    });
    let sudo = map.given("sudo").is_some_and(Cursor::is_truthy);
    Some(Script { location: location?, timeout: timeout?, timeout_given, runas, sudo, line: item.line() })
}

fn location(reader: &mut Reader, location: &Cursor<'_>) -> Option<String> {
    let text = location.text(reader)?.trim();
    let text = location.path_text(reader, text)?;
    if text.is_empty() {
        location.mistake(reader, "blank: name the script's path in the bundle".to_owned());
        return None;
    }
    if files::relative(text).is_none() {
        let problem = format!("`{text}` leaves the bundle: only the bundle's own scripts are run");
        location.mistake(reader, problem);
        return None;
    }
    Some(text.to_owned())
}

/// Parses digits. A number that is too large counts as the largest.
fn whole(digits: &str) -> Option<u64> {
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Returns true if the text is exactly this number of seconds.
fn is_whole(text: &str, seconds: u64) -> bool {
    let text = text.trim();
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    self::whole(whole) == Some(seconds) && rest.bytes().all(|digit| digit == b'0')
}

/// Reads whole seconds. Text counts up to its first non-digit, as with Ruby's
/// `to_i`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be above zero")]
fn timeout(reader: &mut Reader, timeout: &Cursor<'_>) -> Option<Duration> {
    let text = timeout.text(reader)?;
    let digits = text.trim_start().split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    let seconds = timeout.number().map(|number| number.max(0.0) as u64).or_else(|| whole(digits));
    match seconds {
        None | Some(0) => {
            timeout.mistake(reader, format!("invalid timeout `{text}`: write whole seconds, 1 or more"));
            return None;
        }
        // The values `1.5`, `30s` and `1:30` do not mean what they seem to.
        Some(seconds) if !is_whole(text, seconds) => {
            let plural = if seconds == 1 { "" } else { "s" };
            let problem = format!(
                "`{text}` is read as {seconds} second{plural}: a timeout is a number of whole seconds"
            );
            timeout.warning(reader, problem);
        }
        Some(seconds) if seconds > EVENT_TIMEOUT_MAX.as_secs() => {
            let most = EVENT_TIMEOUT_MAX.as_secs();
            timeout
                .warning(reader, format!("CodeDeploy allows {most} seconds for an event's scripts together"));
        }
        Some(_) => {}
    }
    seconds.map(Duration::from_secs)
}
