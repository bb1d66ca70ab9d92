//! Assembles the parts of the agent and runs them.

use std::io::ErrorKind::AddrInUse;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use proto::config::{Config, LOG_KEPT_DEFAULT};
use proto::id::{Digest, GroupName, HostId};
use proto::statement::ADDRESSES_MAX;
use proto::time::LedgerTime;
use rand::Rng as _;
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiSocket};
use crate::backend::{Backend, BackendError, BackendErrorKind, LogPage, LogRequest};
use crate::ballast::Ballast;
use crate::bundle::store::Bundles;
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
use crate::questions::{self, COPIES};
use crate::transport::{self, Handle, TransportConfig};
use crate::{identity, join, private, telemetry, view, watching};

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
    let backend = Arc::new(backend(&config, node.clone(), &bundles, &host_side, ballast.clone()));
    let mut served = vec![tokio::spawn(api::serve_socket(listener, backend.clone(), stopping.clone()))];
    let names = config.http_hosts.clone();
    served.extend(tcp.map(|tcp| tokio::spawn(api::serve_tcp(tcp, backend, names, stopping.clone()))));
    tokio::spawn(watching::log_notices(node.clone(), clock.now().to_ledger(), config.data_dir.clone()));
    tokio::spawn(forget_founding(node.clone(), founds_mark_in(&config.data_dir)));

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
        addresses: dialable(transport),
        founds: join::founds(&config.data_dir),
        seed: rand::rng().next_u64(),
        voters_max: config.voters,
        wire: proto::wire::WIRE,
        replaces: config.replace.clone(),
        log_kept: LOG_KEPT_DEFAULT,
        fold_panics_on: fold_panics_on(),
    };
    told.validate().context("this host cannot introduce itself to the mesh")?;
    Ok(told)
}

/// Returns the group of `SKEIN_FOLD_PANICS_ON`, with which a test makes the fold fail.
/// Release builds ignore it.
fn fold_panics_on() -> Option<GroupName> {
    let named = || std::env::var("SKEIN_FOLD_PANICS_ON").ok()?.parse().ok();
    if cfg!(debug_assertions) { named() } else { None }
}

/// Returns the addresses at which other hosts can dial this one. Loopback addresses are included
/// only if there are no others: on another machine they mean that machine itself.
fn dialable(transport: &Handle) -> Vec<String> {
    let all = transport.listening();
    let is_loopback = |address: &&Multiaddr| match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        Some(_) | None => false,
    };
    let far: Vec<&Multiaddr> = all.iter().filter(|address| !is_loopback(address)).collect();
    let told: Vec<&Multiaddr> = if far.is_empty() { all.iter().collect() } else { far };
    // TCP first: bundles and frames cost less CPU there.
    let (tcp, rest): (Vec<&Multiaddr>, Vec<&Multiaddr>) =
        told.into_iter().partition(|address| address.iter().any(|part| matches!(part, Protocol::Tcp(_))));
    tcp.into_iter().chain(rest).take(ADDRESSES_MAX).map(ToString::to_string).collect()
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
            text.parse().context("what --join was given is no token").map(Some)
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

fn backend(
    config: &AgentConfig,
    node: NodeHandle,
    bundles: &Bundles,
    host_side: &Arc<HostSide>,
    ballast: Ballast,
) -> Backend {
    let (bringing, reading, transport) = (bundles.clone(), host_side.clone(), bundles.transport().clone());
    let asked = node.clone();
    Backend {
        node,
        data_dir: config.data_dir.clone(),
        pack: Box::new(move |source, progress| {
            let bundles = bringing.clone();
            Box::pin(async move {
                let brought = bundles.bring(source, progress).await?;
                spread(&bundles, &brought.revision).await;
                Ok(brought)
            })
        }),
        take: {
            let bundles = bundles.clone();
            Box::new(move |upload| {
                let bundles = bundles.clone();
                Box::pin(async move {
                    let brought = bundles.take(upload).await?;
                    spread(&bundles, &brought.revision).await;
                    Ok(brought)
                })
            })
        },
        have: {
            let (transport, host_side) = (bundles.transport().clone(), host_side.clone());
            Box::new(move |digest| Box::pin(have(transport.clone(), host_side.clone(), digest)))
        },
        addresses: {
            let transport = bundles.transport().clone();
            Box::new(move || dialable(&transport))
        },
        disk: Box::new(move || ballast.room().words()),
        frames: {
            let transport = bundles.transport().clone();
            Box::new(move || transport.counts())
        },
        logs: Box::new(move |request| {
            Box::pin(logs(asked.clone(), reading.clone(), transport.clone(), request))
        }),
    }
}

/// Gives copies of the bundle to other hosts, so that it survives the loss of this one. Up to
/// [`COPIES`] hosts get a copy; a host without connections has nobody to give one to.
async fn spread(bundles: &Bundles, revision: &proto::revision::Revision) {
    let ask = |host| async move { (host, questions::hold(bundles.transport(), host, revision).await) };
    // Ask as many hosts at once as copies are wanted, so that one that hangs does not delay the
    // others.
    let mut asked = stream::iter(bundles.transport().connected()).map(ask).buffer_unordered(COPIES);
    let mut copies = 0;
    while copies < COPIES
        && let Some((host, held)) = asked.next().await
    {
        match held {
            Ok(()) => copies += 1,
            Err(error) => tracing::warn!(%host, error = error.message, "a host keeps no copy of the bundle"),
        }
    }
}

/// The number of hosts that are asked at the same time whether they have a bundle.
const ASKED_AT_ONCE: usize = 16;

async fn have(transport: Handle, host_side: Arc<HostSide>, digest: Digest) -> Result<bool, BackendError> {
    if questions::own_have(&host_side, digest).await {
        return Ok(true);
    }
    let ask = |host| questions::have(&transport, host, digest);
    let mut answers = stream::iter(transport.connected()).map(ask).buffer_unordered(ASKED_AT_ONCE);
    while let Some(has_it) = answers.next().await {
        if has_it {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn logs(
    node: NodeHandle,
    host_side: Arc<HostSide>,
    transport: Handle,
    request: LogRequest,
) -> Result<LogPage, BackendError> {
    let deployment = request.deployment;
    let look = move |node: &proto::node::Node| {
        let group = node.state().rollout(deployment).map(|rollout| rollout.submission.group.clone());
        let name = view::name_of(node.state(), request.host);
        let down = node.state().host(request.host).and_then(|known| known.down);
        (node.host(), group, name, down)
    };
    let unavailable = |message: String| BackendError { kind: BackendErrorKind::Unavailable, message };
    let (me, group, name, down) = node.read(look).await.map_err(|error| unavailable(error.to_string()))?;
    let Some(group) = group else {
        let message = format!("no deployment {deployment}");
        return Err(BackendError { kind: BackendErrorKind::NotFound, message });
    };
    if request.host == me {
        questions::own_log(&host_side, &group, request).await
    } else {
        let answer = questions::log_of(&transport, group, request).await;
        answer.map_err(|error| away(error, request.host, &name, down))
    }
}

/// Rewrites an error about another host for people, who know hosts by their names.
fn away(error: BackendError, host: HostId, name: &str, down: Option<LedgerTime>) -> BackendError {
    let is_away = error.kind == BackendErrorKind::Unavailable;
    let message = match down.filter(|_| is_away) {
        Some(since) => format!("{name} cannot be reached (Down since {})", view::written(since)),
        None => error.message.replace(&host.to_string(), name),
    };
    BackendError { message, ..error }
}

/// Removes the founding mark once something is committed. A host begins its mesh's ledger only
/// once: if its store is lost later, the mark must not make it begin another ledger.
async fn forget_founding(node: NodeHandle, mark: PathBuf) {
    let mut notices = node.watch();
    while node.read(|node| node.state().index() <= 1).await == Ok(true) {
        // A missed notice serves as well as one that arrived: something has happened.
        if let Err(RecvError::Closed) = notices.recv().await {
            return;
        }
    }
    match std::fs::remove_file(&mark) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(mark = %mark.display(), %cause, "the founding mark stays: remove it by hand");
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_cannot_be_asked_is_named_as_people_know_it() {
        let host = HostId::from_public_key([1; 32]);
        let error = |kind| BackendError { kind, message: format!("no way to {host}") };
        let told = |kind, down| away(error(kind), host, "web-5", down).message;
        let down = Some(LedgerTime::from_millis(0));
        let unavailable = BackendErrorKind::Unavailable;
        assert_eq!(told(unavailable, down), "web-5 cannot be reached (Down since 1970-01-01T00:00:00.000Z)");
        assert_eq!(told(unavailable, None), "no way to web-5");
        assert_eq!(told(BackendErrorKind::NotFound, down), "no way to web-5");
    }
}
