use super::*;
use crate::transport::testing::{Member, QUIC, TCP, pair};

/// Bytes that compress badly and never repeat at a buffer's length.
fn bundle(size: usize) -> (Vec<u8>, Digest) {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&size.to_be_bytes()).finalize_xof().fill(&mut bytes);
    let digest = Digest::of(&bytes);
    (bytes, digest)
}

/// Lets the member serve the bundles in `dir`.
fn serve_from(member: &Member, dir: &Path) {
    let dir = dir.to_owned();
    serve(&member.handle, move |digest| dir.join(digest.hex())).unwrap();
}

fn put(dir: &Path, digest: Digest, bytes: &[u8]) {
    std::fs::write(dir.join(digest.hex()), bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_of_50_mib_arrives() {
    let (bytes, digest) = bundle(50 * 1024 * 1024);
    for listen in [TCP, QUIC] {
        let (dir, (a, b)) = (tempfile::tempdir().unwrap(), pair(listen).await);
        put(dir.path(), digest, &bytes);
        serve_from(&b, dir.path());
        let part = dir.path().join("part");
        let started = std::time::Instant::now();
        fetch(&a.handle, b.host, Wanted { digest, size: bytes.len() as u64 }, &part, LEAST_SPEED)
            .await
            .unwrap();
        println!("50 MiB over {listen} in {:?}", started.elapsed());
        assert!(std::fs::read(&part).unwrap() == bytes);
        // Fetching it again succeeds, because it is there.
        fetch(&a.handle, b.host, Wanted { digest, size: bytes.len() as u64 }, &part, LEAST_SPEED)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_bundle_arrives() {
    let (dir, (a, b)) = (tempfile::tempdir().unwrap(), pair(TCP).await);
    let part = dir.path().join("part");
    fetch(&a.handle, b.host, Wanted { digest: Digest::of(b""), size: 0 }, &part, LEAST_SPEED).await.unwrap();
    assert_eq!(std::fs::read(&part).unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_cut_the_rest_comes_from_another_host() {
    let (bytes, digest) = bundle(3_000_000);
    let (dir, (a, mut b)) = (tempfile::tempdir().unwrap(), pair(TCP).await);
    let mut c = Member::start(&b.mesh_key, TCP).await;
    let mut a = a;
    c.meet(&mut a).await;
    // This host sends a third of the bundle at a time, and no more.
    let mut incoming = b.handle.accept(PROTOCOL).unwrap();
    let (all, size) = (bytes.clone(), bytes.len() as u64);
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            let (_, offset) = read_request(&mut stream).await.unwrap();
            answer(&mut stream, HAVE, size).await.unwrap();
            stream.write_all(&all[offset as usize..][..1_000_000]).await.unwrap();
            stream.close().await.unwrap();
        }
    });
    let part = dir.path().join("part");
    let cut = fetch(&a.handle, b.host, Wanted { digest, size }, &part, LEAST_SPEED).await;
    assert!(matches!(cut, Err(FetchError::Cut { received: 1_000_000, .. })), "{cut:?}");
    assert_eq!(std::fs::metadata(&part).unwrap().len(), 1_000_000);
    // It sends the second third; the other host has the whole bundle.
    put(dir.path(), digest, &bytes);
    serve_from(&c, dir.path());
    let from = fetch_from_any(&a.handle, &[b.host, c.host], digest, size, &part).await;
    assert_eq!(from.unwrap(), c.host);
    assert!(std::fs::read(&part).unwrap() == bytes);
    b.events.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_rest_is_sent_again() {
    let (bytes, digest) = bundle(3_000_000);
    let (dir, (a, b)) = (tempfile::tempdir().unwrap(), pair(TCP).await);
    let part = dir.path().join("part");
    std::fs::write(&part, &bytes[..2_999_990]).unwrap();
    // The other host's first bytes differ from those that are here already. If it sent
    // them again, the digest would be wrong.
    let mut other = bytes.clone();
    other[..2_999_990].fill(0);
    put(dir.path(), digest, &other);
    serve_from(&b, dir.path());
    fetch(&a.handle, b.host, Wanted { digest, size: bytes.len() as u64 }, &part, LEAST_SPEED).await.unwrap();
    assert!(std::fs::read(&part).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_bundle_is_discarded_and_its_sender_named() {
    let (bytes, digest) = bundle(200_000);
    let (dir, (a, b)) = (tempfile::tempdir().unwrap(), pair(TCP).await);
    let mut wrong = bytes.clone();
    wrong[150_000] ^= 1;
    put(dir.path(), digest, &wrong);
    serve_from(&b, dir.path());
    let part = dir.path().join("part");
    let refused =
        fetch(&a.handle, b.host, Wanted { digest, size: bytes.len() as u64 }, &part, LEAST_SPEED).await;
    assert!(matches!(&refused, Err(FetchError::WrongDigest { host, .. }) if *host == b.host), "{refused:?}");
    assert!(!part.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_beginning_does_not_spoil_what_an_honest_host_sends() {
    let (bytes, digest) = bundle(200_000);
    let (dir, (a, b)) = (tempfile::tempdir().unwrap(), pair(TCP).await);
    put(dir.path(), digest, &bytes);
    serve_from(&b, dir.path());
    let part = dir.path().join("part");
    for damaged in [vec![0; 1_000], vec![0; 200_000], vec![0; 300_000]] {
        std::fs::write(&part, damaged).unwrap();
        fetch_from_any(&a.handle, &[b.host], digest, bytes.len() as u64, &part).await.unwrap();
        assert!(std::fs::read(&part).unwrap() == bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_another_size_and_no_connection_are_told_apart() {
    let (bytes, digest) = bundle(1_000);
    let (dir, (a, b)) = (tempfile::tempdir().unwrap(), pair(TCP).await);
    serve_from(&b, dir.path());
    let part = dir.path().join("part");
    let stranger = HostId::from_public_key([9; 32]);
    let refused = fetch(&a.handle, b.host, Wanted { digest, size: 1_000 }, &part, LEAST_SPEED).await;
    assert!(matches!(refused, Err(FetchError::Missing { .. })), "{refused:?}");
    put(dir.path(), digest, &bytes);
    let refused = fetch(&a.handle, b.host, Wanted { digest, size: 999 }, &part, LEAST_SPEED).await;
    assert!(matches!(refused, Err(FetchError::Size { told: 1_000, size: 999, .. })), "{refused:?}");
    let refused = fetch(&a.handle, stranger, Wanted { digest, size: 1_000 }, &part, LEAST_SPEED).await;
    assert!(matches!(refused, Err(FetchError::Open { cause: OpenError::NoAddress(_), .. })), "{refused:?}");
    let refused = fetch_from_any(&a.handle, &[stranger, b.host], digest, 999, &part).await.unwrap_err();
    assert_eq!(refused.failures.len(), 2, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_told_that_a_host_is_busy_asks_again() {
    let (bytes, digest) = bundle(500_000);
    let (dir, (mut a, b)) = (tempfile::tempdir().unwrap(), pair(TCP).await);
    put(dir.path(), digest, &bytes);
    serve_from(&b, dir.path());
    // This host fills all its places with streams that it never reads.
    let mut held = Vec::new();
    let large = bundle(40 * 1024 * 1024);
    put(dir.path(), large.1, &large.0);
    for _ in 0..SENT_TO_HOST_MAX {
        let mut stream = a.handle.open(b.host, PROTOCOL).await.unwrap();
        assert_eq!(ask(&mut stream, large.1, 0).await.unwrap().0, HAVE);
        held.push(stream);
    }
    let part = dir.path().join("part");
    let refused = fetch(&a.handle, b.host, Wanted { digest, size: 500_000 }, &part, LEAST_SPEED).await;
    assert!(matches!(refused, Err(FetchError::Busy { .. })), "{refused:?}");
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        held.clear();
    });
    let from = fetch_from_any(&a.handle, &[b.host], digest, 500_000, &part).await;
    assert_eq!(from.unwrap(), b.host);
    a.events.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_part_is_not_fetched_twice_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let part = dir.path().join("part");
    let _first = Part::open(&part, 10).await.unwrap();
    assert!(matches!(Part::open(&part, 10).await, Err(FetchError::InProgress { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_no_disk_has_room_for_is_not_asked_for() {
    let (dir, (a, b)) = (tempfile::tempdir().unwrap(), pair(TCP).await);
    let part = dir.path().join("part");
    let fetched = fetch_from_any(&a.handle, &[b.host], Digest::of(b""), u64::MAX / 4, &part).await;
    let NoSource { failures, .. } = fetched.expect_err("it does not fit");
    assert!(matches!(failures[..], [FetchError::NoRoom { .. }]), "{failures:?}");
    assert_eq!(std::fs::metadata(&part).map_or(0, |metadata| metadata.len()), 0);
}

#[test]
fn a_pace_is_measured_window_by_window() {
    let (begun, second) = (Instant::now(), Duration::from_secs(1));
    let mut pace = Pace::of(Speed { bytes: 1_000, within: 10 * second }, begun);
    assert!(pace.note(1, begun + 9 * second), "the first window is not over");
    assert!(pace.note(999, begun + 10 * second));
    assert!(pace.note(100_000, begun + 19 * second));
    assert!(pace.note(1, begun + 20 * second));
    assert!(!pace.note(999, begun + 30 * second), "what came before counts no longer");
}

/// A byte now and then keeps the connection alive; without a least speed this took hours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_sender_is_left_for_another_source() {
    let (bytes, digest) = bundle(3_000_000);
    let (dir, (mut a, b)) = (tempfile::tempdir().unwrap(), pair(TCP).await);
    let mut c = Member::start(&b.mesh_key, TCP).await;
    c.meet(&mut a).await;
    let mut incoming = b.handle.accept(PROTOCOL).unwrap();
    let (all, size) = (bytes.clone(), bytes.len() as u64);
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            let (_, offset) = read_request(&mut stream).await.unwrap();
            answer(&mut stream, HAVE, size).await.unwrap();
            for some in all[offset as usize..].chunks(10) {
                if stream.write_all(some).await.is_err() || stream.flush().await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let part = dir.path().join("part");
    let least = Speed { bytes: 100_000, within: Duration::from_millis(300) };
    let wanted = Wanted { digest, size };
    let refused = fetch(&a.handle, b.host, wanted, &part, least).await;
    assert!(matches!(refused, Err(FetchError::TooSlow { .. })), "{refused:?}");
    // Alone it is left, too, and not asked again and again.
    let refused = fetch_at(&a.handle, &[b.host], wanted, &part, [least, least]).await;
    assert!(matches!(refused.unwrap_err().failures[..], [FetchError::TooSlow { .. }]));

    put(dir.path(), digest, &bytes);
    serve_from(&c, dir.path());
    let from = fetch_at(&a.handle, &[b.host, c.host], wanted, &part, [least, least]).await;
    assert_eq!(from.unwrap(), c.host);
    assert!(std::fs::read(&part).unwrap() == bytes);
    // Slow as it is, it is better than none: the round after the first asks for less.
    std::fs::write(&part, &bytes[..bytes.len() - 100]).unwrap();
    let nothing = Speed { bytes: 1, within: Duration::from_millis(300) };
    let all_at_once = Speed { bytes: 1_000_000, within: Duration::from_millis(1) };
    let from = fetch_at(&a.handle, &[b.host, b.host], wanted, &part, [all_at_once, nothing]).await;
    assert_eq!(from.unwrap(), b.host);
}
