//! `GET /v1/openapi.json`: the API's operations, generated from one table.

use axum::Json;
use serde_json::{Map, Value, json};

use super::ARCHIVE;

/// An operation of the API.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    /// The keys of the body; empty if it takes none.
    pub(super) body: &'static [&'static str],
}

const fn operation(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    body: &'static [&'static str],
) -> Operation {
    Operation { method, path, summary, query, body }
}

/// All operations. A test calls each of them.
#[rustfmt::skip]
pub(super) const OPERATIONS: &[Operation] = &[
    operation("get",    "/v1/status", "This host's view of the mesh", &[], &[]),
    operation("get",    "/v1/hosts", "The hosts", &["group"], &[]),
    operation("delete", "/v1/hosts/{host}", "Take a host out of the mesh for good", &[], &[]),
    operation("get",    "/v1/mesh/recovery", "What a recovery of the mesh from this host would be", &[], &[]),
    operation("post",   "/v1/mesh/recovery", "Go on from this host alone, by a recovery that the recovery key has signed", &[],
        &["signed"]),
    operation("get",    "/v1/groups", "The groups", &[], &[]),
    operation("get",    "/v1/groups/{application}/{name}", "One group", &[], &[]),
    operation("put",    "/v1/groups/{application}/{name}", "Define a group; the body is a group file as JSON", &[],
        &["application", "name", "tags", "deployment", "canary", "zones", "rollback", "health", "alarm", "trigger"]),
    operation("delete", "/v1/groups/{application}/{name}", "Delete a group", &[], &[]),
    operation("post",   "/v1/groups/{application}/{name}/rollback", "Bring a group back, as a new deployment", &[],
        &["to", "overrides"]),
    operation("get",    "/v1/groups/{application}/{name}/alarms", "Its alarms and how they are", &[], &[]),
    operation("post",   "/v1/groups/{application}/{name}/alarms/{alarm}/set", "Set an alarm by hand", &[], &["reason", "by"]),
    operation("post",   "/v1/groups/{application}/{name}/alarms/{alarm}/clear", "Clear an alarm", &[], &["reason", "by"]),
    operation("post",   "/v1/groups/{application}/{name}/freeze", "Let no new deployment begin for a while", &[],
        &["until", "reason", "by"]),
    operation("post",   "/v1/groups/{application}/{name}/unfreeze", "End a freeze early", &[], &[]),
    operation("get",    "/v1/configs", "The deployment configurations", &[], &[]),
    operation("get",    "/v1/configs/{name}", "One deployment configuration", &[], &[]),
    operation("put",    "/v1/configs/{name}", "Name a deployment configuration; the body is its file as JSON", &[],
        &["name", "config", "minimum_healthy", "turns_max", "canary", "zones"]),
    operation("delete", "/v1/configs/{name}", "Delete a deployment configuration", &[], &[]),
    operation("post",   "/v1/bundles", "Bring a bundle into the mesh: a remote source, or the bytes of an archive", &["origin"], &["source"]),
    operation("post",   "/v1/plan", "What a deployment would do", &[],
        &["group", "source", "digest", "origin", "overrides", "queue"]),
    operation("get",    "/v1/deployments", "The deployments, the newest first", &["group"], &[]),
    operation("post",   "/v1/deployments", "Submit a deployment", &[],
        &["group", "source", "digest", "origin", "description", "overrides", "queue"]),
    operation("post",   "/v1/deployments/check", "Whether a deployment's group and policy are fine, before a bundle is sent", &[],
        &["group", "overrides"]),
    operation("get",    "/v1/deployments/{id}", "One deployment with its hosts", &[], &[]),
    operation("post",   "/v1/deployments/{id}/stop", "Stop a deployment", &[], &["rollback", "now"]),
    operation("get",    "/v1/deployments/{id}/hosts/{host}/logs", "What the scripts wrote", &["event", "from"], &[]),
    operation("get",    "/v1/history", "The ledger's entries", &["group", "limit", "verify"], &[]),
    operation("get",    "/v1/events", "What happens, as server-sent events", &["group", "deployment"], &[]),
    operation("get",    "/v1/openapi.json", "This document", &[], &[]),
    operation("get",    "/metrics", "Metrics for Prometheus", &[], &[]),
];

pub(super) async fn document() -> Json<Value> {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = describe(operation);
    }
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Skein",
            "version": version,
            "description": "Errors are {\"error\": {\"code\", \"message\", \"refused\"}}. \
                            On TCP only GET is answered.",
        },
        "paths": paths,
    }))
}

fn describe(operation: &Operation) -> Value {
    let parameter = |name: &str, place: &str| json!({ "name": name, "in": place, "required": place == "path", "schema": { "type": "string" } });
    let in_path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path.map(|name| parameter(name, "path")).collect();
    parameters.extend(operation.query.iter().map(|name| parameter(name, "query")));
    let mut described = json!({
        "summary": operation.summary,
        "parameters": parameters,
        "responses": { "2XX": { "description": "done" }, "default": { "description": "an error" } },
    });
    if !operation.body.is_empty() {
        let properties: Map<String, Value> =
            operation.body.iter().map(|key| ((*key).to_string(), json!({}))).collect();
        let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        let mut content = json!({ "application/json": { "schema": schema } });
        if operation.path == "/v1/bundles" {
            content[ARCHIVE] = json!({ "schema": { "type": "string", "format": "binary" } });
        }
        described["requestBody"] = json!({ "content": content });
    }
    described
}
