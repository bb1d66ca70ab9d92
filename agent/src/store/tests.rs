use proto::io::WriteId;

use super::*;

/// Opens a store that can be read.
fn opened(path: &Path) -> Opened {
    match Store::open(path).unwrap() {
        Found::Readable(opened) => *opened,
        Found::Unreadable { damage } => panic!("{damage}"),
    }
}

fn write(id: u64, changes: &[(&str, Option<&str>)]) -> Write {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let changes = changes.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
    Write { id: WriteId(id), sync: true, changes, fence: fence(id) }
}

/// Returns a fence that differs for each number.
fn fence(number: u64) -> Fence {
    let mut bytes = [0; Fence::BYTES];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Fence::from_bytes(bytes)
}

/// Writes through the thread and closes the store again.
async fn write_all(store: Store, writes: Vec<Write>) -> Vec<WriteId> {
    let dir = store.path.parent().expect("a directory").to_owned();
    let (writer, mut done) = Writer::start(store, crate::ballast::Ballast::hold(&dir));
    for write in writes {
        writer.write(write).expect("there is room");
    }
    drop(writer);
    let mut ids = Vec::new();
    while let Some(report) = done.recv().await {
        ids.push(report.expect("the disk has room"));
    }
    ids
}

fn contents(pairs: &[(&str, &str)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// Creates and closes a store of a thousand keys.
async fn thousand(path: &Path) {
    let writes = (0..1_000).map(|id| write(id, &[(&format!("key{id:04}"), Some("value"))])).collect();
    write_all(opened(path).store, writes).await;
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening_and_each_write_is_reported_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let new = opened(&path);
    assert_eq!((new.contents.len(), new.is_rebuilt, new.fence), (0, false, Ok(Fence::default())));
    let writes = vec![
        write(1, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]),
        write(2, &[("b", None), ("c", Some("4")), ("c", Some("5"))]),
        Write { sync: false, ..write(3, &[("d", Some("6"))]) },
    ];
    assert_eq!(write_all(new.store, writes).await, [WriteId(1), WriteId(2), WriteId(3)]);
    let reopened = opened(&path);
    assert_eq!(reopened.contents, contents(&[("a", "1"), ("c", "5"), ("d", "6")]));
    assert!(!reopened.is_rebuilt);
    assert!([fence(2), fence(3)].contains(&reopened.fence.unwrap()), "of a synced write, and closing syncs");
}

#[tokio::test]
async fn a_large_value_is_synced_in_its_own_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut store = opened(&path).store;
    let large = "x".repeat(2 * 1024 * 1024);
    store.apply(&write(1, &[("large", Some(&large))])).unwrap();
    store.sync().unwrap();
    assert!(store.blobs_synced.is_some(), "sled has put it into a file of its own");
    drop(store);
    assert_eq!(opened(&path).contents, contents(&[("large", &large)]));
}

#[tokio::test]
async fn a_store_that_is_open_elsewhere_is_refused_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let _open = opened(&path);
    let error = Store::open(&path).err().unwrap();
    assert!(matches!(&error, StoreError::Locked { path: told } if *told == path), "{error}");
}

#[tokio::test]
async fn a_truncated_snapshot_is_repaired_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    thousand(&path).await;
    // sled writes its snapshot when it opens.
    drop(opened(&path));
    let mut truncated = 0;
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::write(entry.path(), b"half").unwrap();
            truncated += 1;
        }
    }
    assert!(truncated > 0, "there is a snapshot to truncate");
    let opened = opened(&path);
    assert_eq!((opened.contents.len(), opened.is_rebuilt), (1_000, true));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_set_aside_with_its_fence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    thousand(&path).await;
    let length = fs::metadata(path.join("db")).unwrap().len() as usize;
    fs::write(path.join("db"), vec![0xa5; length]).unwrap();
    assert!(matches!(Store::open(&path).unwrap(), Found::Unreadable { .. }));
    let aside = set_aside(&path).unwrap();
    assert!(aside.join("db").exists() && aside.join("fence").exists());
    // The new store can be used.
    let new = opened(&path);
    assert_eq!((new.contents.len(), new.fence), (0, Ok(Fence::default())));
    write_all(new.store, vec![write(1, &[("a", Some("1"))])]).await;
    assert_eq!(opened(&path).contents, contents(&[("a", "1")]));
}

#[tokio::test]
async fn a_store_that_lost_all_it_held_is_not_taken_for_a_new_one() {
    for keep in [0, 1, 100] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        thousand(&path).await;
        remove_snapshots(&path).unwrap();
        let bytes = fs::read(path.join("db")).unwrap();
        fs::write(path.join("db"), &bytes[..keep]).unwrap();
        assert!(matches!(Store::open(&path).unwrap(), Found::Unreadable { .. }), "{keep} bytes");
    }
}

#[tokio::test]
async fn a_store_whose_directory_was_deleted_still_has_its_fence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    thousand(&path).await;
    fs::remove_dir_all(&path).unwrap();
    assert!(matches!(Store::open(&path).unwrap(), Found::Unreadable { .. }));
    // Deleted again, by a process that died before it had created the new fence.
    fs::remove_dir_all(&path).unwrap();
    fs::remove_file(fence_file::beside(&path)).unwrap();
    assert_eq!(opened(&path).fence, Ok(Fence::default()));
}

#[tokio::test]
async fn a_store_that_was_being_made_when_its_process_died_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    // The fence is created first, then sled's files, and then the format is written.
    FenceFile::create(&fence_file::beside(&path)).unwrap();
    assert_eq!(opened(&path).contents.len(), 0);
    let other = dir.path().join("other");
    FenceFile::create(&fence_file::beside(&other)).unwrap();
    drop(sled::open(&other).unwrap());
    write_all(opened(&other).store, vec![write(1, &[("a", Some("1"))])]).await;
    assert_eq!(opened(&other).contents, contents(&[("a", "1")]));
}

#[tokio::test]
async fn a_fence_that_is_gone_damaged_or_a_copy_is_no_fence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    thousand(&path).await;
    let beside = fence_file::beside(&path);
    let bytes = fs::read(&beside).unwrap();
    fs::remove_file(&beside).unwrap();
    assert_eq!(opened(&path).fence, Err(NoFence::Missing));
    // The state that `cp -a` or a restored backup would leave.
    fs::write(&beside, &bytes).unwrap();
    assert_eq!(opened(&path).fence, Err(NoFence::Copied));
    fs::write(&beside, "").unwrap();
    assert_eq!(opened(&path).fence, Err(NoFence::Damaged));
    // Opening it has not repaired it.
    let found = opened(&path);
    assert_eq!((found.fence, found.contents.len()), (Err(NoFence::Damaged), 1_000));
}

#[tokio::test]
async fn a_store_in_a_directory_that_cannot_be_made_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("store")).err().unwrap();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}
