//! Strangers: connections without the mesh's key.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::intruder::{Stranger, connect};
use crate::world::{Mesh, wait_at_most, wait_until};

/// The most that strangers may make an agent's memory grow.
pub(crate) const GROWTH_MIB_MAX: u64 = 32;
/// The longest time that a new member may take to join in spite of them.
const JOIN_MAX: Duration = Duration::from_secs(2);
/// The most lines that an agent may log about them.
const LINES_MAX: usize = 40;

/// Returns the resident memory of an agent, in MiB.
pub(crate) fn resident_mib(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Returns the time that a new agent takes to become a host of the mesh.
fn time_to_join(mesh: &mut Mesh, number: u8) -> Duration {
    let began = Instant::now();
    let name = mesh.add(number);
    wait_until("a member joins", || {
        let status = mesh.agent("web-1").get("/v1/status");
        let here = mesh.agent(&name).get("/v1/status");
        status.is_some_and(|status| status["hosts"]["up"].as_u64() >= Some(2))
            && here.is_some_and(|here| here["hosts"]["connected"].as_u64() >= Some(1))
    });
    began.elapsed()
}

#[test]
fn slow_strangers_do_not_keep_a_member_out() {
    let mut mesh = Mesh::of(1);
    let to = mesh.agent("web-1").listen().to_string();
    let runtime = runtime();
    // The strangers send nothing, and reconnect whenever they are disconnected.
    for stranger in 0..64_u8 {
        let to = to.clone();
        runtime.spawn(async move {
            loop {
                if let Ok(stream) = connect(Ipv4Addr::new(127, 0, 0, 2 + stranger % 8), &to).await {
                    let _ = stream.readable().await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    std::thread::sleep(Duration::from_millis(500));

    let took = time_to_join(&mut mesh, 2);

    println!("a member joined past 64 slow strangers in {took:?}");
    assert!(took < JOIN_MAX, "{took:?}");
    runtime.shutdown_background();
    mesh.check();
}

#[test]
fn strangers_cost_little_memory_before_they_are_refused() {
    let mesh = Mesh::of(1);
    let agent = mesh.agent("web-1");
    let (to, before) = (agent.listen().to_string(), resident_mib(agent));
    let runtime = runtime();
    for stranger in 0..12_u8 {
        let to = to.clone();
        runtime.spawn(async move {
            let stream = connect(Ipv4Addr::new(127, 0, 0, 2 + stranger), &to).await?;
            let mut stranger = Stranger::new(stream).await?;
            let mut streams = Vec::new();
            for _ in 0..256 {
                let mut stream = stranger.open().await?;
                stranger.pour(&mut stream, 256 * 1024).await;
                streams.push(stream);
            }
            stranger.closed().await;
            Ok::<(), std::io::Error>(())
        });
    }

    let mut most = before;
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        most = most.max(resident_mib(agent));
        std::thread::sleep(Duration::from_millis(20));
    }

    println!("12 strangers took an agent from {before} to {most} MiB");
    assert!(most <= before + GROWTH_MIB_MAX, "{before} MiB became {most}");
    runtime.shutdown_background();
    mesh.check();
}

/// Returns a number from the environment, or the default. The test is short.
/// Its long form prints the numbers of the documentation:
/// `SKEIN_FLOOD_SECONDS=30 SKEIN_FLOOD_RATE=1000 cargo test -p skein-agent
/// --test mesh -- --nocapture a_flood_of`.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn a_flood_of_strangers_costs_neither_memory_nor_log_nor_a_members_time() {
    let (seconds, rate) = (setting("SKEIN_FLOOD_SECONDS", 3), setting("SKEIN_FLOOD_RATE", 200));
    let mut mesh = Mesh::of(1);
    let agent = mesh.agent("web-1");
    let (to, before, lines) =
        (agent.listen().to_string(), resident_mib(agent), agent.log_text().lines().count());
    let runtime = runtime();
    for stranger in 0..64_u8 {
        let to = to.clone();
        runtime.spawn(async move {
            loop {
                if let Ok(stream) = connect(Ipv4Addr::new(127, 0, 0, 2 + stranger % 8), &to).await {
                    let _ = stream.readable().await;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    let flood = runtime.spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        let (began, mut sent) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(seconds) {
            tick.tick().await;
            let due = began.elapsed().as_millis() as u64 * rate / 1_000;
            for number in sent..due {
                let (to, from) = (to.clone(), Ipv4Addr::new(127, 0, 1, (number % 200) as u8 + 1));
                tokio::spawn(async move {
                    // One connection in four goes as far as a stranger can.
                    let stream = connect(from, &to).await?;
                    if number % 4 == 0 {
                        let mut stranger = Stranger::new(stream).await?;
                        let mut stream = stranger.open().await?;
                        stranger.pour(&mut stream, 8 * 1024).await;
                        tokio::time::timeout(Duration::from_secs(5), stranger.closed()).await?;
                    }
                    Ok::<(), std::io::Error>(())
                });
            }
            sent = due;
        }
        sent
    });
    std::thread::sleep(Duration::from_secs(1));

    let took = time_to_join(&mut mesh, 2);
    let agent = mesh.agent("web-1");
    let mut most = resident_mib(agent);
    while !flood.is_finished() {
        most = most.max(resident_mib(agent));
        std::thread::sleep(Duration::from_millis(50));
    }

    let sent = runtime.block_on(flood).expect("the flood ends");
    let logged = agent.log_text().lines().count() - lines;
    println!(
        "{sent} strangers' connections in {seconds} s and 64 slow ones: a member joined in {took:?}, \
         the agent went from {before} to {most} MiB and logged {logged} lines"
    );
    assert!(took < JOIN_MAX, "{took:?}");
    assert!(most <= before + GROWTH_MIB_MAX, "{before} MiB became {most}");
    assert!(logged <= LINES_MAX, "{logged} lines");
    runtime.shutdown_background();
    mesh.check();
}

#[test]
fn a_member_behind_the_address_of_strangers_gets_in_all_the_same() {
    let mut mesh = Mesh::of(1);
    let to = mesh.agent("web-1").listen().to_string();
    let runtime = runtime();
    for _ in 0..32 {
        let to = to.clone();
        runtime.spawn(async move {
            loop {
                if let Ok(stream) = connect(Ipv4Addr::LOCALHOST, &to).await {
                    let _ = stream.readable().await;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }
    std::thread::sleep(Duration::from_millis(500));
    let name = mesh.add(2);
    wait_at_most(Duration::from_secs(30), "the member is let in", || {
        mesh.agent(&name).get("/v1/status").is_some_and(|status| status["hosts"]["connected"] == 1)
    });
    runtime.shutdown_background();
    mesh.check();
}
