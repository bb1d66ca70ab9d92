use std::time::{Duration, Instant};

use super::testing::{DEADLINE, Member, QUIC, TCP, pair};
use super::*;
use crate::mesh_key::MeshKey;

async fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_travel_both_ways_and_in_order() {
    for listen in [TCP, QUIC] {
        let (mut a, mut b) = pair(listen).await;
        for number in 0..1_000_u32 {
            a.handle.send(b.host, number.to_be_bytes().to_vec());
            b.handle.send(a.host, number.to_le_bytes().to_vec());
        }
        for number in 0..1_000_u32 {
            assert_eq!(b.next_frame().await, (a.host, number.to_be_bytes().to_vec()), "{listen}");
            assert_eq!(a.next_frame().await, (b.host, number.to_le_bytes().to_vec()), "{listen}");
        }
        assert_eq!(a.handle.connected(), BTreeSet::from([b.host]));
        assert_eq!(b.handle.counts().received, 1_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_frame_arrives_whole_between_small_ones() {
    for listen in [TCP, QUIC] {
        let (a, mut b) = pair(listen).await;
        let large: Vec<u8> = (0..10 * 1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
        for frame in [vec![1], large.clone(), vec![], vec![2]] {
            a.handle.send(b.host, frame);
        }
        for frame in [vec![1], large, vec![], vec![2]] {
            assert!(b.next_frame().await.1 == frame, "{listen}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_is_received_within_milliseconds() {
    let (a, mut b) = pair(TCP).await;
    let mut fastest = Duration::MAX;
    for _ in 0..100 {
        let sent = Instant::now();
        a.handle.send(b.host, vec![0; 100]);
        b.next_frame().await;
        fastest = fastest.min(sent.elapsed());
    }
    // Take the fastest of many: a busy machine must not fail this, but a delayed
    // packet (Nagle: 40 ms) still does.
    assert!(fastest < Duration::from_millis(5), "{fastest:?}");
    println!("fastest of 100: {fastest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_refused_whoever_dials_and_nobody_is_told_of_him() {
    for listen in [TCP, QUIC] {
        let mut member = Member::start(&MeshKey::generate(), listen).await;
        let mut stranger = Member::start(&MeshKey::generate(), listen).await;
        stranger.handle.connect(member.host, vec![member.address.to_string()]);
        stranger.handle.dial(member.address.clone());
        member.handle.connect(stranger.host, vec![stranger.address.to_string()]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(member.events.try_recv().is_err() && stranger.events.try_recv().is_err(), "{listen}");
        assert!(member.handle.connected().is_empty() && stranger.handle.connected().is_empty());
        // A member is still let in.
        let mut friend = Member::start(&member.mesh_key, listen).await;
        friend.meet(&mut member).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_secret_in_another_mesh_is_another_key() {
    let key = MeshKey::generate();
    let other = MeshKey { id: MeshKey::generate().id, ..key.clone() };
    let (member, mut stranger) = (Member::start(&key, TCP).await, Member::start(&other, TCP).await);
    stranger.handle.connect(member.host, vec![member.address.to_string()]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(stranger.events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_dies_is_told_gone_and_is_found_again_when_it_comes_back() {
    for listen in [TCP, QUIC] {
        let (mut a, b) = pair(listen).await;
        let host = b.host;
        let dead = b.kill();
        assert_eq!(a.next().await, TransportEvent::Disconnected(host), "{listen}");
        // The host is gone, so some dials fail.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut b = dead.come_back().await;
        assert_eq!(a.next().await, TransportEvent::Connected(host), "{listen}");
        assert_eq!(b.next().await, TransportEvent::Connected(a.host), "{listen}");
        a.handle.send(host, b"hello again".to_vec());
        assert_eq!(b.next_frame().await, (a.host, b"hello again".to_vec()), "{listen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_to_an_unknown_host_is_dropped_and_counted() {
    let a = Member::start(&MeshKey::generate(), TCP).await;
    a.handle.send(HostId::from_public_key([7; 32]), b"hello".to_vec());
    assert_eq!(a.handle.counts(), Counts { dropped_unknown: 1, ..Counts::default() });
    let opened = a.handle.open(HostId::from_public_key([7; 32]), StreamProtocol::new("/none/1")).await;
    assert!(matches!(opened, Err(OpenError::NoAddress(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_reaches_a_host_that_is_connected_to_a_neighbour_only() {
    let (mut a, mut b) = pair(TCP).await;
    let mut c = Member::start(&a.mesh_key, TCP).await;
    c.meet(&mut b).await;
    // Gossip agrees on its neighbours in the background. Until then a published
    // frame may be lost, so publish repeatedly.
    let mut number = 0_u32;
    let (by, frame) = loop {
        number += 1;
        assert!(number < 200, "nothing arrives");
        a.handle.publish(number.to_be_bytes().to_vec());
        if let Ok(Some(TransportEvent::Gossip { by, frame })) =
            tokio::time::timeout(Duration::from_millis(100), c.events.recv()).await
        {
            break (by, frame);
        }
    };
    assert_eq!(by, b.host, "by way of the neighbour");
    assert!(u32::from_be_bytes(frame.try_into().unwrap()) <= number);
    assert_eq!(a.handle.connected(), BTreeSet::from([b.host]));
    assert!(a.events.try_recv().is_err(), "one does not hear oneself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_dial_each_other_at_once_end_connected() {
    for listen in [TCP, QUIC] {
        let key = MeshKey::generate();
        let (mut a, mut b) = (Member::start(&key, listen).await, Member::start(&key, listen).await);
        a.handle.connect(b.host, vec![b.address.to_string()]);
        b.handle.connect(a.host, vec![a.address.to_string()]);
        assert_eq!(a.next().await, TransportEvent::Connected(b.host));
        assert_eq!(b.next().await, TransportEvent::Connected(a.host));
        for number in 0..200_u8 {
            a.handle.send(b.host, vec![number]);
            b.handle.send(a.host, vec![number]);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for number in 0..200_u8 {
            assert_eq!(b.next_frame().await, (a.host, vec![number]), "{listen}");
            assert_eq!(a.next_frame().await, (b.host, vec![number]), "{listen}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_no_longer_wanted_is_closed_and_not_dialled_again() {
    let (mut a, mut b) = pair(TCP).await;
    a.handle.disconnect(b.host);
    assert_eq!(a.next().await, TransportEvent::Disconnected(b.host));
    assert_eq!(b.next().await, TransportEvent::Disconnected(a.host));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(a.events.try_recv().is_err() && b.events.try_recv().is_err());
    a.meet(&mut b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_dialled_until_somebody_is_there_and_oneself_does_not_count() {
    let key = MeshKey::generate();
    let (mut a, b) = (Member::start(&key, TCP).await, Member::start(&key, TCP).await);
    let dead = {
        let address = b.address.clone();
        a.handle.dial(a.address.clone());
        let host = b.host;
        let dead = b.kill();
        a.handle.dial(address);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(a.events.try_recv().is_err(), "neither oneself nor {host:?}");
        dead
    };
    let b = dead.come_back().await;
    assert_eq!(a.next().await, TransportEvent::Connected(b.host));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_held_a_moment_longer_is_waited_for() {
    // An address that nothing else uses, so that its port stays free once released.
    let held = std::net::TcpListener::bind("127.77.7.7:0").unwrap();
    let listen = format!("/ip4/127.77.7.7/tcp/{}", held.local_addr().unwrap().port());
    let let_go = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(held);
    });
    let member = Member::start(&MeshKey::generate(), &listen).await;
    assert_eq!(member.address.to_string(), listen);
    let_go.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_a_stop_arrives() {
    let (a, mut b) = pair(TCP).await;
    for number in 0..100_u8 {
        a.handle.send(b.host, vec![number; 10_000]);
    }
    a.handle.stop().await;
    for number in 0..100_u8 {
        assert_eq!(b.next_frame().await, (a.host, vec![number; 10_000]));
    }
    assert_eq!(b.next().await, TransportEvent::Disconnected(a.host));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_hosts_that_start_at_once_are_all_connected() {
    let key = MeshKey::generate();
    let mut members = Vec::new();
    for _ in 0..20 {
        members.push(Member::start(&key, TCP).await);
    }
    let started = Instant::now();
    for a in &members {
        for b in members.iter().filter(|b| b.host != a.host) {
            a.handle.connect(b.host, vec![b.address.to_string()]);
        }
    }
    wait_until("all are connected", || members.iter().all(|member| member.handle.connected().len() == 19))
        .await;
    println!("20 hosts fully connected in {:?}", started.elapsed());
    for a in &members {
        for b in members.iter().filter(|b| b.host != a.host) {
            a.handle.send(b.host, b"hello".to_vec());
        }
    }
    for member in &mut members {
        let mut heard = BTreeSet::new();
        while heard.len() < 19 {
            if let TransportEvent::Frame { from, .. } = member.next().await {
                heard.insert(from);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_no_neighbour_is_connected_for_as_long_as_a_stream_is_open() {
    const ECHO: StreamProtocol = StreamProtocol::new("/echo/1");
    let key = MeshKey::generate();
    let (mut a, mut b) = (Member::start(&key, TCP).await, Member::start(&key, TCP).await);
    let mut incoming = b.handle.accept(ECHO).unwrap();
    a.handle.know(b.host, vec![b.address.to_string()]);
    let stream = a.handle.open(b.host, ECHO).await.unwrap();
    let (from, _taken) = incoming.next().await.unwrap();
    assert_eq!((from, a.next().await), (a.host, TransportEvent::Connected(b.host)));
    assert_eq!(b.next().await, TransportEvent::Connected(a.host));
    // Neither node wants the other, but the stream is open.
    a.handle.disconnect(b.host);
    b.handle.disconnect(a.host);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(a.events.try_recv().is_err() && b.events.try_recv().is_err());
    drop(stream);
    drop(_taken);
    assert_eq!(a.next().await, TransportEvent::Disconnected(b.host));
    assert_eq!(b.next().await, TransportEvent::Disconnected(a.host));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(a.events.try_recv().is_err(), "it is not dialled again");
}

/// The text about a failed dial comes from several layers, so this test makes a dial fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_an_address_leads_nowhere_is_said_in_plain_words() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody: Multiaddr = format!("/ip4/127.0.0.1/tcp/{free}").parse().unwrap();
    // It takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_at: Multiaddr =
        format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let other_mesh = Member::start(&MeshKey::generate(), TCP).await;
    let a = Member::start(&MeshKey::generate(), TCP).await;
    let expected = [
        (nobody, "connection refused"),
        (silent_at, "timed out"),
        (other_mesh.address.clone(), "does not have this mesh's key"),
    ];
    for (address, says) in expected {
        a.handle.dial(address.clone());
        wait_until(&format!("{address} is told"), || a.handle.why_not(&address).is_some()).await;
        let said = a.handle.why_not(&address).unwrap();
        assert!(said.contains(says) && !said.contains("os error") && !said.contains('['), "{said}");
    }
}
