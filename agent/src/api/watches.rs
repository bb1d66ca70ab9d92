//! Alarms that people set, and freezes.

use std::time::UNIX_EPOCH;

use axum::Json;
use axum::extract::State;
use proto::id::GroupName;
use proto::io::{Refusal, Request, Until};
use proto::node::Node;
use proto::statement::Intent;
use proto::time::LedgerTime;
use serde::{Deserialize, Serialize};

use super::path::Path;
use super::peer::Who;
use super::seen::seen_list;
use super::write::{Body, parse, request, signed};
use super::{ApiError, Shared};
use crate::view::{self, AlarmView, Dated, GroupView};

/// The body of `POST /v1/groups/{application}/{name}/alarms/{alarm}/set` and `clear`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlarmBody {
    #[serde(default)]
    pub(crate) reason: String,
    /// The person who asks. Used only if root sends it; for other users the socket shows who they are.
    #[serde(default)]
    pub(crate) by: String,
}

/// The body of `POST /v1/groups/{application}/{name}/freeze`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreezeBody {
    /// A time in RFC 3339 (`2026-12-24T12:00:00Z`), or a duration (`5m`, `2h`, `3d`).
    pub(crate) until: String,
    #[serde(default)]
    pub(crate) reason: String,
    /// The person who asks. Used only if root sends it; for other users the socket shows who they are.
    #[serde(default)]
    pub(crate) by: String,
}

/// Parses a time or a duration, as people write them.
pub(crate) fn parse_until(text: &str) -> Result<Until, String> {
    if let Ok(duration) = humantime::parse_duration(text) {
        return Ok(Until::For(duration));
    }
    // This also accepts times beyond the range of jiff's calendar.
    if let Ok(moment) = humantime::parse_rfc3339(text)
        && let Ok(since_epoch) = moment.duration_since(UNIX_EPOCH)
    {
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        return Ok(Until::At(LedgerTime::from_millis(millis)));
    }
    let moment: jiff::Timestamp = text.parse().map_err(|_| {
        let text: String = text.chars().take(100).collect();
        format!("`{text}` is neither a duration (5m, 2h, 3d) nor a moment (2026-12-24T12:00:00Z)")
    })?;
    let millis = u64::try_from(moment.as_millisecond());
    millis.map(|millis| Until::At(LedgerTime::from_millis(millis))).map_err(|_| format!("`{text}` is past"))
}

pub(super) async fn alarms(
    State(shared): State<Shared>,
    Path((application, name)): Path<(String, String)>,
) -> Result<Json<Vec<Dated<AlarmView>>>, ApiError> {
    let name = GroupName::new(&application, &name)?;
    let look = move |node: &Node| {
        let known = node.state().group(&name);
        known.map(|known| view::alarms(node.state(), known)).ok_or(Refusal::UnknownGroup(name))
    };
    seen_list(&shared, look).await
}

pub(super) async fn set_alarm(
    State(shared): State<Shared>,
    Path((application, name, alarm)): Path<(String, String, String)>,
    who: Who,
    body: Body,
) -> Result<Json<Vec<AlarmView>>, ApiError> {
    change_alarm(&shared, GroupName::new(&application, &name)?, alarm, true, who, parse(body)?).await
}

pub(super) async fn clear_alarm(
    State(shared): State<Shared>,
    Path((application, name, alarm)): Path<(String, String, String)>,
    who: Who,
    body: Body,
) -> Result<Json<Vec<AlarmView>>, ApiError> {
    change_alarm(&shared, GroupName::new(&application, &name)?, alarm, false, who, parse(body)?).await
}

async fn change_alarm(
    shared: &Shared,
    group: GroupName,
    alarm: String,
    active: bool,
    who: Who,
    body: AlarmBody,
) -> Result<Json<Vec<AlarmView>>, ApiError> {
    let by = signed(shared, who.or(&body.by)).await?;
    let reason =
        if body.reason.is_empty() { format!("by {by}") } else { format!("{}, by {by}", body.reason) };
    request(shared, Request::Intent(Intent::SetAlarm { group: group.clone(), alarm, active, reason }))
        .await?;
    alarms_of(shared, group).await
}

async fn alarms_of(shared: &Shared, name: GroupName) -> Result<Json<Vec<AlarmView>>, ApiError> {
    let look = move |node: &Node| {
        let known = node.state().group(&name);
        known.map(|known| view::alarms(node.state(), known)).ok_or(Refusal::UnknownGroup(name))
    };
    Ok(Json(shared.backend.node.read(look).await??))
}

pub(super) async fn freeze(
    State(shared): State<Shared>,
    Path((application, name)): Path<(String, String)>,
    who: Who,
    body: Body,
) -> Result<Json<GroupView>, ApiError> {
    let FreezeBody { until, reason, by } = parse(body)?;
    let until = parse_until(&until).map_err(|problem| ApiError::invalid("INVALID_TIME", problem))?;
    let group = GroupName::new(&application, &name)?;
    let by = signed(&shared, who.or(&by)).await?;
    request(&shared, Request::Freeze { group: group.clone(), until, reason, by }).await?;
    group_of(&shared, group).await
}

pub(super) async fn unfreeze(
    State(shared): State<Shared>,
    Path((application, name)): Path<(String, String)>,
) -> Result<Json<GroupView>, ApiError> {
    let group = GroupName::new(&application, &name)?;
    request(&shared, Request::Intent(Intent::Unfreeze(group.clone()))).await?;
    group_of(&shared, group).await
}

async fn group_of(shared: &Shared, name: GroupName) -> Result<Json<GroupView>, ApiError> {
    let look = move |node: &Node| view::group(node, &name).ok_or(Refusal::UnknownGroup(name));
    Ok(Json(shared.backend.node.read(look).await??))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(text: &str, expected: Result<Until, &str>) {
        let parsed = parse_until(text);
        match (&parsed, &expected) {
            (Err(problem), Err(says)) => assert!(problem.contains(says), "{text}: {problem}"),
            (Ok(until), Ok(expected)) => assert_eq!(until, expected, "{text}"),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => panic!("{text}: {parsed:?}"),
        }
    }

    #[test]
    fn a_freeze_ends_at_a_moment_or_after_a_while() {
        check("5m", Ok(Until::For(Duration::from_secs(300))));
        check("2h", Ok(Until::For(Duration::from_secs(7_200))));
        check("3d", Ok(Until::For(Duration::from_secs(3 * 86_400))));
        check("2023-11-14T22:13:20Z", Ok(Until::At(LedgerTime::from_millis(1_700_000_000_000))));
        check("2023-11-15T00:13:20+02:00", Ok(Until::At(LedgerTime::from_millis(1_700_000_000_000))));
        check("1969-01-01T00:00:00Z", Err("is past"));
        check("9999-12-31T23:59:59Z", Ok(Until::At(LedgerTime::from_millis(253_402_300_799_000))));
        check("tomorrow", Err("neither a duration"));
        check("", Err("neither a duration"));
    }
}
