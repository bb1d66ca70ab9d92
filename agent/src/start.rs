//! The agent, put together and run.

use anyhow::bail;

use crate::config::AgentConfig;

/// Runs the agent until it is told to end (SIGTERM, SIGINT).
///
/// SEAM: here the store, the node's loop, transport, hooks and the API are
/// joined; `api::serve_socket` and `backend::Backend` are this side of it.
pub(crate) async fn run(config: AgentConfig) -> anyhow::Result<()> {
    bail!("the agent {} is not put together yet", config.name)
}
