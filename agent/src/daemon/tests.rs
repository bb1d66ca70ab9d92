use std::sync::Arc;
use std::sync::atomic::Ordering;

use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use proto::group::{Group, Tag, TagFilter, TagSets};
use proto::id::{DeploymentId, Digest, GroupName, HostId};
use proto::io::{Accepted, DeployRequest, Request, Write, WriteId};
use proto::node::Fence;
use proto::policy::Policy;
use proto::revision::Revision;
use proto::rollout::DeploymentStatus;
use proto::statement::Intent;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::command::NodeHandle;
use crate::host::double::Hands;
use crate::identity;
use crate::mesh_key::MeshKey;
use crate::transport::testing::{DEADLINE, TCP};
use crate::transport::{self, TransportConfig};

/// An agent without an API and hooks: its events are only counted.
struct Agent {
    host: HostId,
    node: NodeHandle,
    address: Multiaddr,
    stop: mpsc::Sender<()>,
    running: JoinHandle<Result<(), DaemonError>>,
    hands: Arc<Hands>,
}

/// The parts of a host that remain while its agent does not run.
struct Host {
    dir: TempDir,
    keypair: Keypair,
    mesh_key: MeshKey,
    founds: bool,
}

impl Host {
    fn new(mesh_key: &MeshKey, founds: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Host { dir, keypair: Keypair::generate_ed25519(), mesh_key: mesh_key.clone(), founds }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    async fn start(&self, join: Option<&Agent>) -> Agent {
        let (keypair, mesh_key) = (self.keypair.clone(), self.mesh_key.clone());
        let host = identity::own_host_id(&keypair);
        let config = TransportConfig { keypair, mesh_key, listen: vec![TCP.parse().unwrap()] };
        let (handle, events) = transport::start(config).await.unwrap();
        let address = handle.listening().into_iter().next().unwrap();
        if let Some(member) = join {
            handle.dial(member.address.clone());
        }
        let config = Config {
            host,
            mesh: self.mesh_key.id,
            name: host.short(),
            tags: [Tag::parse("role=web").unwrap()].into(),
            zone: String::new(),
            addresses: vec![address.to_string()],
            founds: self.founds,
            seed: rand::random(),
            voters_max: 5,
            wire: proto::wire::WIRE,
            replaces: String::new(),
            log_kept: proto::config::LOG_KEPT_DEFAULT,
            fold_panics_on: None,
            overlay: Default::default(),
        };
        let clock = Clock::start();
        let (node, commands, notices) = NodeHandle::new();
        let (stop, stops) = mpsc::channel(3);
        let hands = Arc::new(Hands::default());
        let restored = restore(config, &self.store(), clock).unwrap();
        let parts = Parts {
            ballast: Ballast::hold(self.dir.path()),
            clock,
            restored,
            transport: handle,
            events,
            commands,
            notices,
            host: crate::host::Host::Double(hands.clone()),
            stops,
        };
        Agent { host, node, address, stop, running: tokio::spawn(run(parts)), hands }
    }
}

impl Agent {
    async fn request(&self, request: Request) -> Accepted {
        let reply = tokio::time::timeout(DEADLINE, self.node.request(request)).await.unwrap();
        reply.unwrap().unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    async fn group(&self) -> GroupName {
        let name: GroupName = "hello/prod".parse().unwrap();
        let tags = TagSets(vec![vec![TagFilter::parse("role=web").unwrap()]]);
        let group = Group::new(name.clone(), tags, Policy::default());
        assert_eq!(self.request(Request::Intent(Intent::SetGroup(group))).await, Accepted::Done);
        name
    }

    async fn deploy(&self, group: &GroupName, number: u8) -> DeploymentId {
        let request = DeployRequest {
            group: group.clone(),
            revision: Revision { digest: Digest([number; 32]), size: 1, origin: "v1".into() },
            policy: None,
            description: String::new(),
            holders: vec![self.host],
            queue: false,
            by: String::new(),
        };
        match self.request(Request::Deploy(Box::new(request))).await {
            Accepted::Deployment(id) => id,
            Accepted::Done => panic!("a deployment has an id"),
        }
    }

    /// Waits until the node is as described.
    async fn until(&self, what: &str, is_so: impl Fn(&Node) -> bool + Clone + Send + 'static) {
        let waited = async {
            while !self.node.read(is_so.clone()).await.unwrap() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, waited).await.is_err() {
            let state = self.node.read(|node| format!("{:?}", node.mesh())).await.unwrap();
            panic!("never: {what}; {state}");
        }
    }

    async fn until_succeeded(&self, deployment: DeploymentId) {
        self.until("the deployment succeeds", move |node| {
            node.state().rollout(deployment).is_some_and(|r| r.status() == DeploymentStatus::Succeeded)
        })
        .await;
    }

    async fn stop(self) {
        self.stop.send(()).await.unwrap();
        tokio::time::timeout(DEADLINE, self.running).await.expect("it ends").unwrap().unwrap();
    }
}

/// Starts a mesh of agents that all know each other.
async fn mesh(number: usize) -> Vec<(Host, Agent)> {
    let key = MeshKey::generate();
    let founder = Host::new(&key, true);
    let first = founder.start(None).await;
    let mut agents = vec![(founder, first)];
    for _ in 1..number {
        let host = Host::new(&key, false);
        let agent = host.start(Some(&agents[0].1)).await;
        agents.push((host, agent));
    }
    for (_, agent) in &agents {
        agent.until("all hosts are known", move |node| node.state().hosts().len() == number).await;
    }
    agents
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_alone_deploys_and_remembers_it_after_a_restart() {
    let host = Host::new(&MeshKey::generate(), true);
    let agent = host.start(None).await;
    agent.until("it has joined itself", |node| node.state().hosts().len() == 1).await;
    let group = agent.group().await;
    let deployment = agent.deploy(&group, 1).await;
    agent.until_succeeded(deployment).await;
    assert_eq!(agent.hands.ran.load(Ordering::Relaxed), 7);
    let before = agent.node.read(|node| node.state().clone()).await.unwrap();
    agent.stop().await;

    let agent = host.start(None).await;
    agent.until_succeeded(deployment).await;
    let after = agent.node.read(|node| node.state().clone()).await.unwrap();
    assert!(after.index() >= before.index());
    assert_eq!(agent.hands.ran.load(Ordering::Relaxed), 0, "nothing is run twice");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hosts_join_and_are_deployed_to_one_at_a_time() {
    let agents = mesh(5).await;
    let group = agents[3].1.group().await;
    let (known, last) = (group.clone(), &agents[4].1);
    last.until("the other host's group is known", move |node| node.state().group(&known).is_some()).await;
    let started = Instant::now();
    let deployment = agents[4].1.deploy(&group, 1).await;
    for (_, agent) in &agents {
        agent.until_succeeded(deployment).await;
        assert_eq!(agent.hands.ran.load(Ordering::Relaxed), 7);
    }
    println!("5 hosts, one at a time, in {:?}", started.elapsed());
    let mut turns: Vec<(Instant, Instant)> = Vec::new();
    for (_, agent) in &agents {
        let times = agent.hands.times.lock().unwrap();
        turns.push((times[0].1, times[6].1));
    }
    turns.sort();
    for pair in turns.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two turns at once");
        println!("from turn to turn: {:?}", pair[1].0 - pair[0].1);
    }
    for (_, agent) in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_killed_comes_back_and_catches_up() {
    let mut agents = mesh(3).await;
    let (host, agent) = agents.pop().unwrap();
    agent.running.abort();
    let _ = agent.running.await;
    let group = agents[0].1.group().await;
    // The dead agent's store may still be open; opening it waits for that.
    let agent = host.start(Some(&agents[0].1)).await;
    agent.until("it knows the group", move |node| node.state().group(&group).is_some()).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_told_to_stop_lets_its_event_end() {
    let host = Host::new(&MeshKey::generate(), true);
    let agent = in_an_event(&host).await;
    agent.stop.send(()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!agent.running.is_finished(), "it waits for the event");
    agent.hands.held.store(false, Ordering::Relaxed);
    tokio::time::timeout(DEADLINE, agent.running).await.expect("it ends").unwrap().unwrap();
    assert_eq!(
        (agent.hands.ran.load(Ordering::Relaxed), agent.hands.cancelled.load(Ordering::Relaxed)),
        (1, 0)
    );
}

/// Starts an agent whose event continues until `held` is cleared.
async fn in_an_event(host: &Host) -> Agent {
    let agent = host.start(None).await;
    agent.until("it has joined itself", |node| node.state().hosts().len() == 1).await;
    let group = agent.group().await;
    agent.hands.held.store(true, Ordering::Relaxed);
    agent.deploy(&group, 1).await;
    agent.until("an event runs", runs_an_event).await;
    agent
}

/// Returns true if an event runs; one that is only announced in the journal does not run yet.
fn runs_an_event(node: &Node) -> bool {
    let mut running = node.state().running();
    running.any(|rollout| node.progress(rollout.submission.deployment, node.host()).is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_twice_it_cancels_what_runs() {
    let host = Host::new(&MeshKey::generate(), true);
    let agent = in_an_event(&host).await;
    let hands = agent.hands.clone();
    agent.stop.send(()).await.unwrap();
    agent.stop().await;
    assert_eq!(hands.cancelled.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_fails_costs_its_answer_only() {
    let host = Host::new(&MeshKey::generate(), true);
    let agent = host.start(None).await;
    assert!(agent.node.read(|_| -> () { panic!("a mistake in a view") }).await.is_err());
    assert_eq!(agent.node.read(|node| node.host()).await, Ok(agent.host));
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_are_told_what_was_folded() {
    let host = Host::new(&MeshKey::generate(), true);
    let agent = host.start(None).await;
    agent.until("it has joined itself", |node| node.state().hosts().len() == 1).await;
    let mut watcher = agent.node.watch();
    agent.group().await;
    let notice = tokio::time::timeout(DEADLINE, watcher.recv()).await.unwrap().unwrap();
    assert!(matches!(notice, Notice::Folded { .. }), "{notice:?}");
    agent.stop().await;
}

/// Opens a store that can be read.
fn opened(path: &Path) -> Opened {
    match Store::open(path).unwrap() {
        Found::Readable(opened) => *opened,
        Found::Unreadable { damage } => panic!("{damage}"),
    }
}

mod damage;

impl Host {
    /// Starts its node from its store, and writes what the start asks for.
    fn restore(&self) -> Restored {
        self.try_restore().unwrap()
    }

    fn try_restore(&self) -> Result<Restored, DaemonError> {
        let config = Config {
            host: identity::own_host_id(&self.keypair),
            mesh: self.mesh_key.id,
            name: String::new(),
            tags: Default::default(),
            zone: String::new(),
            addresses: vec![],
            founds: founds_mark_in(self.dir.path()).exists(),
            seed: rand::random(),
            voters_max: 5,
            wire: proto::wire::WIRE,
            replaces: String::new(),
            log_kept: proto::config::LOG_KEPT_DEFAULT,
            fold_panics_on: None,
            overlay: Default::default(),
        };
        restore(config, &self.store(), Clock::start())
    }

    /// Starts its node and ends it once everything is written. Returns its voter
    /// number and the last index of its ledger.
    fn start_and_end(&self) -> (proto::id::VoterId, u64) {
        let Restored { mut node, store } = self.restore();
        let (writer, mut done) = Writer::start(store, Ballast::hold(self.dir.path()));
        let mut waits = 0;
        loop {
            while let Some(output) = node.poll_output() {
                if let Output::Persist(write) = output {
                    writer.write(write).unwrap();
                    waits += 1;
                }
            }
            if waits == 0 {
                break;
            }
            node.handle(Input::Persisted(done.blocking_recv().unwrap().unwrap()), Clock::start().now());
            waits -= 1;
        }
        drop(writer);
        while done.blocking_recv().is_some() {}
        (node.voter(), node.state().index())
    }

    fn founding() -> Self {
        let host = Host::new(&MeshKey::generate(), true);
        std::fs::write(founds_mark_in(host.dir.path()), "").unwrap();
        host
    }

    /// Returns the stores that were set aside.
    fn aside(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.to_string_lossy().contains("store.damaged-")).collect()
    }

    fn set_aside(&self) -> usize {
        self.aside().len()
    }
}

#[test]
fn a_store_that_holds_nonsense_is_set_aside_and_no_mesh_is_begun_anew() {
    let host = Host::founding();
    let (writer, mut done) = Writer::start(opened(&host.store()).store, Ballast::hold(host.dir.path()));
    let changes = vec![(b"M".to_vec(), Some(b"nonsense".to_vec()))];
    let write =
        proto::io::Write { id: proto::io::WriteId(1), sync: true, changes, fence: Default::default() };
    writer.write(write).unwrap();
    drop(writer);
    while done.blocking_recv().is_some() {}
    let restored = host.restore();
    assert!(!restored.node.config().founds);
    assert_eq!((restored.node.state().hosts().len(), host.set_aside()), (0, 1));
    assert!(!founds_mark_in(host.dir.path()).exists(), "nor at a later start");
}

#[test]
fn a_store_put_back_from_an_earlier_day_is_set_aside_and_its_host_votes_under_a_new_number() {
    let host = Host::founding();
    let (voter, _) = host.start_and_end();
    let (store, earlier) = (host.store(), host.dir.path().join("earlier"));
    copy_directory(&store, &earlier);
    let (again, index) = host.start_and_end();
    assert_eq!((voter, host.set_aside()), (again, 0), "a whole store is gone on from");
    assert!(index > 0);
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(&earlier, &store).unwrap();
    let (after, index) = host.start_and_end();
    assert_ne!(after, voter);
    assert_eq!((index, host.set_aside()), (0, 1));
    // The new store works like any other.
    assert_eq!((host.start_and_end().0 == after, host.set_aside()), (false, 1), "nothing joined it yet");
}

/// An agent that was downgraded by mistake.
#[test]
fn a_store_that_a_newer_agent_wrote_is_left_as_it_is() {
    let host = Host::founding();
    host.start_and_end();
    let Restored { store, .. } = host.restore();
    let (writer, mut done) = Writer::start(store, Ballast::hold(host.dir.path()));
    let changes = vec![(b"M".to_vec(), Some(vec![255, 0, 9, 1, 2, 3]))];
    writer.write(Write { id: WriteId(1_000), sync: true, changes, fence: Fence::default() }).unwrap();
    done.blocking_recv().unwrap().unwrap();
    drop(writer);
    while done.blocking_recv().is_some() {}

    for _ in 0..2 {
        let Err(DaemonError::Start { cause, .. }) = host.try_restore() else { panic!("it starts") };
        let refused = cause.to_string();
        assert!(refused.contains("needs version 9, this agent reads up to"), "{refused}");
        assert!(refused.contains("Start the version of the agent that wrote it"), "{refused}");
        assert_eq!(host.set_aside(), 0);
    }
}

#[test]
fn a_data_directory_that_was_copied_whole_is_found_out() {
    let host = Host::founding();
    let (voter, _) = host.start_and_end();
    let copy = Host { keypair: host.keypair.clone(), ..Host::new(&host.mesh_key, true) };
    copy_directory(host.dir.path(), copy.dir.path());
    assert_ne!(copy.start_and_end().0, voter);
    assert_eq!((host.start_and_end().0, host.set_aside(), copy.set_aside()), (voter, 0, 1));
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}
