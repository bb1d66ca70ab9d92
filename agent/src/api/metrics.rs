//! `GET /metrics`: the state in Prometheus' format, computed at each scrape.

use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{ApiError, Shared};
use crate::transport::Counts;
use crate::view::{self, AgentCounts, GroupCounts};

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<u64, AtomicU64>>;

pub(super) async fn metrics(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let counts = shared.backend.node.read(view::counts).await?;
    let mut text = String::new();
    let is_full = shared.backend.disk().is_some();
    encode(&mut text, &registry(&counts, shared.backend.frames(), is_full))
        .map_err(|error| ApiError::ours(error.to_string()))?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}

fn registry(counts: &AgentCounts, frames: Counts, is_full: bool) -> Registry {
    let mut registry = Registry::with_prefix("skein");
    let mut add = |name: &str, help: &str, values: Vec<(Labels, u64)>| {
        let gauges = Gauges::default();
        for (labels, value) in values {
            gauges.get_or_create(&labels).set(value);
        }
        registry.register(name, help, gauges);
    };
    let plain = |value: u64| vec![(Labels::new(), value)];
    let freshness = &counts.freshness;
    add(
        "stalled",
        "Whether all else here is old: this host cannot know what was committed since",
        plain(u64::from(freshness.stalled.is_some())),
    );
    if let Some(seconds) = freshness.as_of_seconds() {
        add("as_of_timestamp_seconds", "As of when all else here is, if it is old", plain(seconds));
    }
    let hosts = counts.hosts;
    let by_status = [("up", hosts.up), ("down", hosts.down), ("unknown", hosts.unknown)]
        .map(|(word, count)| (vec![("status", word.to_string())], count as u64));
    add("hosts", "Hosts of the mesh", by_status.to_vec());
    add("connected_hosts", "Hosts that this one is connected to", plain(hosts.connected as u64));
    add("ledger_entries", "Entries of the ledger that this host has folded", plain(counts.index));
    add("voters", "Hosts that take part in consensus", plain(counts.voters as u64));
    add("has_leader", "Whether somebody puts entries in order", plain(u64::from(counts.has_leader)));
    add(
        "claims_beyond_log",
        "How often a leader claimed that this host's log holds more than it does, since the agent started",
        plain(counts.beyond_log),
    );
    add("disk_full", "Whether the disk of the data directory has no room for bundles", plain(is_full.into()));
    add("running_deployments", "Deployments that are not over", plain(counts.running as u64));
    let of_groups = |value: &dyn Fn(&GroupCounts) -> usize| {
        let row = |group: &GroupCounts| (vec![("group", group.group.clone())], value(group) as u64);
        counts.groups.iter().map(row).collect::<Vec<_>>()
    };
    add("group_hosts", "Hosts that have the group's tags", of_groups(&|group| group.hosts));
    add(
        "group_healthy_hosts",
        "Of those, hosts in service: healthy, up and not in their turn",
        of_groups(&|group| group.healthy),
    );
    let unwell = of_groups(&|group| group.unhealthy);
    add("group_unhealthy_hosts", "Hosts that the group's health check finds unhealthy", unwell);
    let kinds = [
        ("sent", frames.sent),
        ("received", frames.received),
        ("published", frames.published),
        ("dropped_unknown_host", frames.dropped_unknown),
        ("dropped_queue_full", frames.dropped_full),
        ("dropped_stream_broken", frames.dropped_broken),
        ("dropped_unpublished", frames.dropped_unpublished),
    ];
    let rows = kinds.map(|(kind, count)| (vec![("kind", kind.to_string())], count)).to_vec();
    add("frames", "Frames to and from other hosts since the agent started, by what became of them", rows);
    registry
}
