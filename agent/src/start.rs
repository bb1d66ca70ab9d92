//! Assembles the parts of the agent and runs them.

use std::io::ErrorKind::AddrInUse;
use std::sync::Arc;

use anyhow::Context as _;
use libp2p::Multiaddr;
use proto::config::{Config, LOG_KEPT_DEFAULT};
use proto::id::{GroupName, HostId};
use rand::Rng as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiSocket};
use crate::backend::{AgentParts, Backend, Outside};
use crate::ballast::Ballast;
use crate::bundle::bundle_store::Bundles;
use crate::bundle::{Cache, exchange};
use crate::clock::Clock;
use crate::command::NodeHandle;
use crate::config::{AgentConfig, Join, LogFormat, founds_mark_in};
use crate::daemon::{self, Parts};
use crate::held::once_let_go;
use crate::host::{Host, HostWork};
use crate::host_side::{self, FetchFrom, HostSide};
use crate::join::JoinError;
use crate::mesh_key::{JoinToken, MeshKey};
use crate::transport::{self, Handle, TransportConfig};
use crate::{founding, identity, join, private, questions, reachable, telemetry, watching};

/// Runs the agent until SIGTERM or SIGINT tells it to stop.
pub(crate) async fn run(config: AgentConfig) -> anyhow::Result<()> {
    telemetry::start(match config.log {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    })?;
    if let Some(token) = token_of(&config)? {
        match join::enter(&config.data_dir, &token) {
            // The agent of a removed host keeps running and tells whoever asks it.
            Err(error @ JoinError::Removed { .. }) => tracing::warn!("{error}"),
            entered => drop(entered.context("this host did not enter the mesh")?),
        }
    }
    join::make_data_dir(&config.data_dir)?;
    if config.deploy_root.starts_with(&config.data_dir) {
        let made = private::make_directory(&config.deploy_root, private::PASSAGE);
        made.with_context(|| format!("cannot keep revisions in {}", config.deploy_root.display()))?;
    }
    let mesh_key = MeshKey::read(&config.mesh_key())?;
    let keypair = identity::load_or_create(&config.data_dir).context("this host has no identity")?;
    let host = identity::own_host_id(&keypair);
    // Bind before anything else: two agents must not share one socket or one store.
    let (_socket, listener) = ApiSocket::bind(&config.api, config.socket_group).await?;
    let tcp = match config.http {
        Some(address) => Some(
            once_let_go(async || TcpListener::bind(address).await, |error| error.kind() == AddrInUse)
                .await
                .with_context(|| format!("cannot answer the API on {address}"))?,
        ),
        None => None,
    };

    // Do this before other hosts hear of this one: it may take some seconds.
    host_side::end_left_scripts(&config.deploy_root);

    let listen = config.listen.clone();
    let transport_config = TransportConfig { keypair, mesh_key: mesh_key.clone(), listen };
    let (transport, events) =
        transport::start(transport_config).await.context("this agent cannot listen for other hosts")?;
    let clock = Clock::start();
    let ballast = Ballast::hold(&config.data_dir);
    ballast.look_also_at(&config.deploy_root);
    tokio::spawn(ballast.clone().watch());
    let restored = daemon::restore(
        node_config(&config, host, &mesh_key, &transport)?,
        &config.data_dir.join("store"),
        clock,
    )?;
    dial_joined(&config, &transport);

    let cache = Cache::open(config.data_dir.join("bundles")).context("cannot keep bundles")?;
    let (node, commands, notices) = NodeHandle::new();
    let bundles = Bundles::new(cache.clone(), transport.clone(), node.clone(), config.sources.clone());
    let host_side = Arc::new(HostSide::new(
        config.deploy_root.clone(),
        cache.clone(),
        FetchFrom::Mesh(bundles.fetcher()),
    ));
    host_side.finish_interrupted();
    exchange::serve(&transport, move |digest| cache.path(digest)).context("cannot give bundles to others")?;
    questions::serve(&transport, host_side.clone(), bundles.clone()).context("cannot answer other hosts")?;

    let stopping = CancellationToken::new();
    let parts =
        AgentParts { bundles: bundles.clone(), host_side: host_side.clone(), ballast: ballast.clone() };
    let (data_dir, outside) = (config.data_dir.clone(), Outside::Agent(Box::new(parts)));
    let backend = Arc::new(Backend { node: node.clone(), data_dir, outside });
    let mut served = vec![tokio::spawn(api::serve_socket(listener, backend.clone(), stopping.clone()))];
    let names = config.http_hosts.clone();
    served.extend(tcp.map(|tcp| tokio::spawn(api::serve_tcp(tcp, backend, names, stopping.clone()))));
    tokio::spawn(watching::log_notices(node.clone(), clock.now().to_ledger(), config.data_dir.clone()));
    tokio::spawn(founding::forget(node.clone(), founds_mark_in(&config.data_dir)));

    tracing::info!(%host, name = config.name, mesh = %mesh_key.id, api = %config.api.display(), "started");
    let stops = daemon::stop_signals().context("cannot hear signals")?;
    let work = HostWork::new(host_side, bundles.fetcher()).context("cannot ask HTTP servers")?;
    let host = Host::Real(Arc::new(work));
    let parts = Parts { clock, restored, ballast, transport, events, commands, notices, host, stops };
    let ended = daemon::run(parts).await;
    stopping.cancel();
    for task in served {
        // A task that failed has already told its client.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), task).await;
    }
    Ok(ended?)
}

fn node_config(
    config: &AgentConfig,
    host: HostId,
    key: &MeshKey,
    transport: &Handle,
) -> anyhow::Result<Config> {
    let told = Config {
        host,
        mesh: key.id,
        name: config.name.clone(),
        tags: config.tags.clone(),
        zone: config.zone.clone(),
        addresses: reachable::addresses(transport),
        founds: join::founds(&config.data_dir),
        seed: rand::rng().next_u64(),
        voters_max: config.voters,
        wire: version_spoken()?,
        replaces: config.replace.clone(),
        log_kept: LOG_KEPT_DEFAULT,
        fold_panics_on: fold_panics_on(),
        overlay: Default::default(),
    };
    told.validate().context("this host cannot introduce itself to the mesh")?;
    Ok(told)
}

/// Returns the version that this agent speaks: the newest, or that of `SKEIN_WIRE`, with which
/// a test lets it play an earlier release. Release builds ignore the variable.
fn version_spoken() -> anyhow::Result<u16> {
    let Some(text) = std::env::var_os("SKEIN_WIRE").filter(|_| cfg!(debug_assertions)) else {
        return Ok(proto::wire::WIRE);
    };
    let text = text.to_string_lossy();
    let number = text.parse().with_context(|| format!("invalid version SKEIN_WIRE=`{text}`"))?;
    proto::form::Version::of(number).with_context(|| format!("unknown version SKEIN_WIRE={number}"))?;
    Ok(number)
}

/// Returns the group of `SKEIN_FOLD_PANICS_ON`, with which a test makes the fold fail.
/// Release builds ignore it.
fn fold_panics_on() -> Option<GroupName> {
    let named = || std::env::var("SKEIN_FOLD_PANICS_ON").ok()?.parse().ok();
    if cfg!(debug_assertions) { named() } else { None }
}

/// Returns the join token from the configuration; `None` if there is none, or none is needed.
fn token_of(config: &AgentConfig) -> anyhow::Result<Option<JoinToken>> {
    match &config.join {
        Some(Join::Token { text, is_exposed }) => {
            if *is_exposed {
                tracing::warn!(
                    "the join token is on this agent's command line, where every user of this host can read \
                     it: use --join-file FILE"
                );
            }
            text.parse().context("invalid token for --join").map(Some)
        }
        // A host that is a member already does not need its token, whose file may be gone.
        Some(Join::File(path)) if config.mesh_key().exists() && !path.exists() => Ok(None),
        Some(Join::File(path)) => {
            join::read_token(path).context("this host did not enter the mesh").map(Some)
        }
        Some(Join::Addresses(_)) | None => Ok(None),
    }
}

/// Dials the addresses from the configuration or the join token: a host that joins knows no others
/// yet.
fn dial_joined(config: &AgentConfig, transport: &Handle) {
    let told = match &config.join {
        Some(Join::Addresses(addresses)) => addresses.clone(),
        Some(Join::Token { .. } | Join::File(_)) | None => join::addresses(&config.data_dir),
    };
    for address in &told {
        transport.dial(address.clone());
    }
    let (reached, asked) = (transport.clone(), transport.clone());
    let is_reached = move || !reached.connected().is_empty();
    let why_not = move |address: &Multiaddr| asked.why_not(address);
    tokio::spawn(join::tell_if_alone(is_reached, why_not, told, join::ALONE_MAX));
}
