//! Parses the list of events that a local deployment runs.

use proto::lifecycle::{Course, LifecycleEvent, Scripts};

use crate::host_side::deployment::Event;

/// The reason why a list of events cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EventsError {
    #[error("unknown event `{0}`: names start with capitals, as in AfterInstall")]
    NotPascalCase(String),
    #[error("{0} cannot be run here: there is no load balancer to ask; hook the event before or after it")]
    NoLoadBalancer(LifecycleEvent),
    #[error("only {allowed} can stand before {built_in}: `{event}` does; change the order of --events")]
    TooEarly { event: String, built_in: LifecycleEvent, allowed: String },
}

/// Returns all events of codedeploy-local, in its order.
pub(crate) fn all() -> Vec<Event> {
    Course::Local.events().map(Event::Known).collect()
}

/// Parses a comma-separated list and adds nothing to it.
pub(crate) fn exactly(list: &str) -> Result<Vec<Event>, EventsError> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(event).collect()
}

/// Parses a comma-separated list. Puts DownloadBundle and Install, without which there is nothing
/// to run, in front unless the list has them.
/// # Errors
/// See [`EventsError`].
pub(crate) fn parse(list: &str) -> Result<Vec<Event>, EventsError> {
    let mut events = exactly(list)?;
    let before_download = [E::BeforeBlockTraffic, E::AfterBlockTraffic, E::ApplicationStop];
    let mut before_install = before_download.to_vec();
    before_install.extend([E::DownloadBundle, E::BeforeInstall]);
    only_before(&events, E::DownloadBundle, &before_download)?;
    only_before(&events, E::Install, &before_install)?;
    let download = Event::Known(E::DownloadBundle);
    if !events.contains(&download) {
        events.insert(0, download.clone());
    }
    if !events.contains(&Event::Known(E::Install)) {
        let after_download = events.iter().position(|event| *event == download).map_or(0, |at| at + 1);
        events.insert(after_download, Event::Known(E::Install));
    }
    Ok(events)
}

use LifecycleEvent as E;

fn only_before(
    events: &[Event],
    built_in: LifecycleEvent,
    allowed: &[LifecycleEvent],
) -> Result<(), EventsError> {
    let Some(at) = events.iter().position(|event| *event == Event::Known(built_in)) else { return Ok(()) };
    let is_allowed = |event: &&Event| match event {
        Event::Known(event) => allowed.contains(event),
        Event::Custom(_) => false,
    };
    let Some(early) = events[..at].iter().find(|event| !is_allowed(event)) else { return Ok(()) };
    let allowed = allowed.iter().map(|event| event.name()).collect::<Vec<_>>().join(", ");
    Err(EventsError::TooEarly { event: early.name().to_owned(), built_in, allowed })
}

fn event(name: &str) -> Result<Event, EventsError> {
    match name.parse::<LifecycleEvent>() {
        Ok(event @ (E::BlockTraffic | E::AllowTraffic)) => {
            debug_assert!(event.step().scripts == Scripts::BuiltIn);
            Err(EventsError::NoLoadBalancer(event))
        }
        Ok(event) => Ok(Event::Known(event)),
        Err(_) if is_pascal_case(name) => Ok(Event::Custom(name.to_owned())),
        Err(_) => Err(EventsError::NotPascalCase(name.to_owned())),
    }
}

fn is_pascal_case(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Returns the names of the custom events in the list.
pub(crate) fn custom(events: &[Event]) -> Vec<String> {
    let custom = events.iter().filter(|event| matches!(event, Event::Custom(_)));
    custom.map(|event| event.name().to_owned()).collect()
}
