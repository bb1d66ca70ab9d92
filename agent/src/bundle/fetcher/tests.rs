use super::*;
use crate::transport::testing::{Member, TCP, pair};

/// Returns a fetcher whose node has stopped: it asks all connected hosts.
fn fetcher(member: &Member, cache: &Cache) -> Fetcher {
    let (node, _, _) = NodeHandle::new();
    Fetcher::new(member.handle.clone(), node, cache.clone())
}

fn serve(member: &Member, cache: &Cache) {
    let cache = cache.clone();
    exchange::serve(&member.handle, move |digest| cache.path(digest)).unwrap();
}

fn bundle(cache: &Cache, bytes: &[u8]) -> Revision {
    let digest = Digest::of(bytes);
    std::fs::write(cache.part(&digest), bytes).unwrap();
    cache.adopt(&digest).unwrap();
    Revision { digest, size: bytes.len() as u64, origin: "test".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_connected_and_has_the_bundle_gives_it_and_it_is_fetched_once() {
    let dir = tempfile::tempdir().unwrap();
    let (near, far) =
        (Cache::open(dir.path().join("near")).unwrap(), Cache::open(dir.path().join("far")).unwrap());
    let (a, b) = pair(TCP).await;
    serve(&b, &far);
    let revision = bundle(&far, &vec![7; 3_000_000]);
    let fetcher = fetcher(&a, &near);
    let all = (0..10).map(|_| fetcher.fetch(&revision, &[]));
    for fetched in futures::future::join_all(all).await {
        assert_eq!(fetched.unwrap(), near.path(&revision.digest));
    }
    assert!(near.has(&revision.digest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_nobody_has_is_an_error_that_names_whom_it_asked() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let (a, b) = pair(TCP).await;
    serve(&b, &cache);
    let revision = Revision { digest: Digest([1; 32]), size: 10, origin: "test".into() };
    let error = fetcher(&a, &cache).fetch(&revision, &[]).await.unwrap_err().to_string();
    assert!(error.contains(&b.host.to_string()) && error.contains("does not have"), "{error}");
}
