//! Members that misuse their rights. Each has the mesh's key.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::io::{AsyncReadExt, AsyncWriteExt};

use crate::before_admission::{GROWTH_MIB_MAX, resident_mib, runtime};
use crate::bundle::Bundle;
use crate::intruder::{Key, Member, connect_as_member};
use crate::world::{Mesh, wait_until};

/// Opens a member's connection to an agent of the mesh.
async fn intruder(to: &str, data_dir: &Path) -> Member {
    connect_as_member(to, &Key::of(data_dir)).await.expect("a member is admitted")
}

#[test]
fn frames_that_are_never_finished_cost_little_memory() {
    let mesh = Mesh::of(1);
    let agent = mesh.agent("web-1");
    let (to, data, before) = (agent.listen().to_string(), agent.data.clone(), resident_mib(agent));
    let runtime = runtime();
    let _member = runtime.block_on(async {
        let member = intruder(&to, &data).await;
        for _ in 0..24 {
            let mut stream = member.open("/skein/frames/1").await.expect("a stream");
            // Sends all but the end of the longest frame that is allowed.
            stream.write_all(&(64 * 1024 * 1024_u32).to_be_bytes()).await.expect("taken");
            tokio::spawn(async move {
                let chunk = [0; 64 * 1024];
                for _ in 0..(64 * 16 - 1) {
                    stream.write_all(&chunk).await?;
                }
                stream.flush().await?;
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok::<(), std::io::Error>(())
            });
        }
        member
    });

    let (mut most, until) = (before, Instant::now() + Duration::from_secs(6));
    while Instant::now() < until {
        most = most.max(resident_mib(agent));
        std::thread::sleep(Duration::from_millis(20));
    }

    println!("24 unfinished frames took an agent from {before} to {most} MiB");
    assert!(most >= before + 32, "one frame of 64 MiB may come, and does: {before} MiB became {most}");
    // The agent reads it into a buffer that grows by doubling.
    assert!(most <= before + 128 + GROWTH_MIB_MAX, "{before} MiB became {most}");
    runtime.shutdown_background();
    mesh.check();
}

/// Asks a question in JSON, as agents do; returns the answer.
async fn ask(member: &Member, question: &str) -> std::io::Result<String> {
    let mut stream = member.open("/skein/ask/1").await?;
    stream.write_all(&(question.len() as u32).to_be_bytes()).await?;
    stream.write_all(question.as_bytes()).await?;
    stream.flush().await?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).await?;
    String::from_utf8(answer).map_err(std::io::Error::other)
}

fn hold(size: u64) -> String {
    let digest = serde_json::to_value([7_u8; 32]).expect("a digest");
    serde_json::json!({ "Hold": { "digest": digest, "size": size, "origin": "evil" } }).to_string()
}

#[test]
fn a_bundle_that_is_announced_too_large_is_not_begun_and_leaves_nothing() {
    let mesh = Mesh::of(1);
    let agent = mesh.agent("web-1");
    let (to, data) = (agent.listen().to_string(), agent.data.clone());
    let runtime = runtime();
    let answer = |size| {
        runtime.block_on(async {
            let member = intruder(&to, &data).await;
            ask(&member, &hold(size)).await.expect("an answer")
        })
    };

    let refused = answer(1 << 40);
    assert!(refused.contains("is not kept here: the limit is"), "{refused}");
    // The agent would store this one, but the intruder does not send it.
    let refused = answer(300 * 1024 * 1024);
    assert!(refused.contains("No"), "{refused}");

    let left: Vec<_> = std::fs::read_dir(agent.data.join("bundles"))
        .expect("a cache")
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    mesh.check();
}

#[test]
fn idle_streams_hold_up_neither_bundles_nor_questions() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"AllAtOnce\"");
    let runtime = runtime();
    let mut held = Vec::new();
    for agent in &mesh.agents {
        let (to, data) = (agent.listen().to_string(), agent.data.clone());
        let (member, streams) = runtime.block_on(async {
            let member = intruder(&to, &data).await;
            let mut streams = Vec::new();
            for protocol in ["/skein/bundle/1", "/skein/ask/1"] {
                for _ in 0..24 {
                    streams.push(member.open(protocol).await.expect("a stream"));
                }
            }
            (member, streams)
        });
        held.push((member, streams));
    }

    let source = Bundle::new("v1").write(mesh.path()).display().to_string();
    let began = Instant::now();
    mesh.agent("web-1").skein(&["push", &source]).expect(0, &[]);
    let took = began.elapsed();

    println!("a push past idle streams took {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let copies = |agent: &crate::agent::Agent| {
        let bundles = std::fs::read_dir(agent.data.join("bundles")).expect("a cache");
        bundles
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_name().to_string_lossy().contains('.'))
            .count()
    };
    assert_eq!(mesh.agents.iter().map(copies).sum::<usize>(), 3, "two others keep a copy");
    drop(held);
    runtime.shutdown_background();
    mesh.check();
}

#[test]
fn half_requests_over_tcp_do_not_silence_the_metrics() {
    let mut mesh = Mesh::of(1);
    let http = format!("{}:7718", mesh.free_address());
    mesh.agent_mut("web-1").flags.extend(["--http".to_string(), http.clone()]);
    mesh.kill("web-1");
    mesh.start("web-1");
    wait_until("it answers on TCP", || TcpStream::connect(&http).is_ok());
    let half: Vec<TcpStream> = (0..600)
        .filter_map(|_| {
            let mut stream = TcpStream::connect(&http).ok()?;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").ok()?;
            Some(stream)
        })
        .collect();
    assert!(half.len() > 500, "{} connections", half.len());

    let began = Instant::now();
    let ask = |host: &str| {
        let mut stream = TcpStream::connect(&http).expect("connected");
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    assert!(ask(&http).starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(ask("evil.example").starts_with("HTTP/1.1 421"), "a page of another name reads nothing");
    drop(half);
    mesh.check();
}
