//! The agent, put together and run: the one place where all its parts meet.

mod bundles;
mod logs;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use proto::config::Config;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiSocket};
use crate::ask;
use crate::backend::Backend;
use crate::bundle::{Cache, exchange};
use crate::clock::Clock;
use crate::command::NodeHandle;
use crate::config::{AgentConfig, Join, LogFormat, founds_mark_in};
use crate::daemon::{self, Parts};
use crate::effects::HostWork;
use crate::host_side::HostSide;
use crate::mesh_key::{JoinToken, MeshKey};
use crate::transport::{self, Handle, TransportConfig};
use crate::{identity, join, telemetry};

use bundles::Bundles;
use logs::Logs;

/// Runs the agent until it is told to end (SIGTERM, SIGINT).
pub(crate) async fn run(config: AgentConfig) -> anyhow::Result<()> {
    telemetry::start(match config.log {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    })?;
    let stops = daemon::stop_signals().context("no signals on this machine")?;
    let (mesh_key, way_in) = enter(&config)?;
    // The socket comes first: an agent that runs already is told at once.
    let (_socket, listener) = ApiSocket::bind(&config.api).await?;
    let keypair = identity::load_or_create(&config.data_dir)?;
    let clock = Clock::start();
    let transport_config = TransportConfig {
        keypair: keypair.clone(),
        mesh_key: mesh_key.clone(),
        listen: config.listen.clone(),
    };
    let (transport, events) = transport::start(transport_config).await?;
    let node_config = Config {
        host: identity::own_host_id(&keypair),
        mesh: mesh_key.id,
        name: config.name.clone(),
        tags: config.tags.clone(),
        zone: config.zone.clone(),
        addresses: advertised(&transport),
        founds: join::founds(&config.data_dir),
        seed: rand::random(),
        voters_max: config.voters,
    };
    tracing::info!(host = %node_config.host, name = config.name, mesh = %mesh_key.id, "starting");
    let restored = daemon::restore(node_config, &config.data_dir.join("ledger"), clock)?;
    let (node, commands, notices) = NodeHandle::new();
    let bundles = Bundles::new(
        Cache::open(config.data_dir.join("bundles")).context("no cache for bundles")?,
        transport.clone(),
        node.clone(),
    );
    exchange::serve(&transport, bundles.path_of()).context("cannot give bundles to other hosts")?;
    let host_side = HostSide::new(config.deploy_root.clone(), bundles.cache(), bundles.fetch());
    let logs = Logs::new(host_side.clone(), transport.clone(), node.clone(), restored.node.host());
    ask::serve_asks(&transport, logs.answers()).context("cannot answer other hosts")?;
    way_in.into_iter().for_each(|address| transport.dial(address));

    let stopping = CancellationToken::new();
    let backend = backend(&config, node.clone(), &bundles, &logs);
    tokio::spawn(api::serve_socket(listener, backend.clone(), stopping.clone()));
    if let Some(address) = config.http {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("the API cannot listen on {address}"))?;
        tokio::spawn(api::serve_tcp(listener, backend, stopping.clone()));
    }
    tokio::spawn(forget_founding(node, founds_mark_in(&config.data_dir)));
    let work = work(host_side, bundles);
    let ended =
        daemon::run(Parts { clock, restored, transport, events, commands, notices, work, stops }).await;
    stopping.cancel();
    Ok(ended?)
}

/// The mesh's key, and where its members may be found.
fn enter(config: &AgentConfig) -> anyhow::Result<(MeshKey, Vec<Multiaddr>)> {
    let mut way_in = match &config.join {
        Some(Join::Token(text)) => {
            let token: JoinToken = text.parse().context("the agent cannot join")?;
            join::enter(&config.data_dir, &token).context("the agent cannot join")?;
            Vec::new()
        }
        Some(Join::Addresses(addresses)) => addresses.clone(),
        None => Vec::new(),
    };
    way_in.extend(join::addresses(&config.data_dir));
    Ok((MeshKey::read(&config.mesh_key())?, way_in))
}

/// What others are told to dial: loopback only if there is nothing else.
fn advertised(transport: &Handle) -> Vec<String> {
    let is_loopback = |address: &Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        Some(_) | None => false,
    };
    let (loopback, other): (Vec<Multiaddr>, Vec<Multiaddr>) =
        transport.listening().into_iter().partition(is_loopback);
    let best = if other.is_empty() { loopback } else { other };
    best.iter().map(Multiaddr::to_string).collect()
}

fn backend(config: &AgentConfig, node: NodeHandle, bundles: &Bundles, logs: &Logs) -> Arc<Backend> {
    let (bundles, logs) = (bundles.clone(), logs.clone());
    Arc::new(Backend {
        node,
        data_dir: config.data_dir.clone(),
        pack: Box::new(move |source| Box::pin(bundles.clone().pack(source))),
        logs: Box::new(move |request| Box::pin(logs.clone().read(request))),
    })
}

fn work(host_side: HostSide, bundles: Bundles) -> HostWork {
    HostWork {
        run: Arc::new(move |run, cancel| {
            let host_side = host_side.clone();
            Box::pin(async move { host_side.run(run, cancel).await })
        }),
        fetch: Arc::new(move |revision, sources| Box::pin(bundles.clone().prefetch(revision, sources))),
    }
}

/// A host begins its mesh's ledger once. Should its store be lost later, the
/// mark must not make it begin another: it goes once something is committed.
async fn forget_founding(node: NodeHandle, mark: impl AsRef<Path>) {
    let mut notices = node.watch();
    while node.read(|node| node.state().index() == 0).await == Ok(true) {
        // Missed notices are as good as heard ones: something has happened.
        if let Err(tokio::sync::broadcast::error::RecvError::Closed) = notices.recv().await {
            return;
        }
    }
    match std::fs::remove_file(&mark) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(mark = %mark.as_ref().display(), %cause, "cannot remove the founding mark: remove it by hand");
        }
        Ok(()) | Err(_) => {}
    }
}
