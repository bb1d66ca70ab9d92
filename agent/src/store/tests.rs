use proto::io::WriteId;

use super::*;

fn write(id: u64, changes: &[(&str, Option<&str>)]) -> Write {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let changes = changes.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
    Write { id: WriteId(id), sync: true, changes }
}

/// Writes through the thread and closes the store again.
async fn write_all(store: Store, writes: Vec<Write>) -> Vec<WriteId> {
    let (writer, mut done) = Writer::start(store);
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

/// A closed store of a thousand keys.
async fn thousand(path: &Path) {
    let writes = (0..1_000).map(|id| write(id, &[(&format!("key{id:04}"), Some("value"))])).collect();
    write_all(Store::open(path).unwrap().store, writes).await;
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening_and_each_write_is_reported_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let opened = Store::open(&path).unwrap();
    assert_eq!((opened.contents.len(), opened.recovered), (0, Recovery::Clean));
    let writes = vec![
        write(1, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]),
        write(2, &[("b", None), ("c", Some("4")), ("c", Some("5"))]),
        Write { sync: false, ..write(3, &[("d", Some("6"))]) },
    ];
    assert_eq!(write_all(opened.store, writes).await, [WriteId(1), WriteId(2), WriteId(3)]);
    let reopened = Store::open(&path).unwrap();
    assert_eq!(reopened.contents, contents(&[("a", "1"), ("c", "5"), ("d", "6")]));
    assert_eq!(reopened.recovered, Recovery::Clean);
}

#[tokio::test]
async fn a_large_value_is_synced_in_its_own_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut store = Store::open(&path).unwrap().store;
    let large = "x".repeat(2 * 1024 * 1024);
    store.apply(&write(1, &[("large", Some(&large))])).unwrap();
    store.sync().unwrap();
    assert!(store.blobs_synced.is_some(), "sled has put it into a file of its own");
    drop(store);
    assert_eq!(Store::open(&path).unwrap().contents, contents(&[("large", &large)]));
}

#[tokio::test]
async fn a_store_that_is_open_elsewhere_is_refused_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let _open = Store::open(&path).unwrap();
    let error = Store::open(&path).err().unwrap();
    assert!(matches!(&error, StoreError::Locked { path: told } if *told == path), "{error}");
}

#[tokio::test]
async fn a_truncated_snapshot_is_repaired_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    thousand(&path).await;
    // sled writes its snapshot when it opens.
    drop(Store::open(&path).unwrap());
    let mut truncated = 0;
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::write(entry.path(), b"half").unwrap();
            truncated += 1;
        }
    }
    assert!(truncated > 0, "there is a snapshot to truncate");
    let opened = Store::open(&path).unwrap();
    assert_eq!((opened.contents.len(), opened.recovered), (1_000, Recovery::Repaired));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_amnesia_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    thousand(&path).await;
    let length = fs::metadata(path.join("db")).unwrap().len() as usize;
    fs::write(path.join("db"), vec![0xa5; length]).unwrap();
    let opened = Store::open(&path).unwrap();
    assert_eq!(opened.contents.len(), 0);
    let Recovery::Amnesia { quarantined } = opened.recovered else { panic!("{:?}", opened.recovered) };
    assert!(quarantined.join("db").exists());
    // The new store is a store.
    write_all(opened.store, vec![write(1, &[("a", Some("1"))])]).await;
    let reopened = Store::open(&path).unwrap();
    assert_eq!((reopened.contents, reopened.recovered), (contents(&[("a", "1")]), Recovery::Clean));
}

#[tokio::test]
async fn a_store_that_lost_all_it_held_does_not_open_as_clean() {
    for keep in [0, 1, 100] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        thousand(&path).await;
        remove_snapshots(&path).unwrap();
        let bytes = fs::read(path.join("db")).unwrap();
        fs::write(path.join("db"), &bytes[..keep]).unwrap();
        let opened = Store::open(&path).unwrap();
        assert!(matches!(opened.recovered, Recovery::Amnesia { .. }), "{keep} bytes: {:?}", opened.recovered);
    }
}

#[tokio::test]
async fn a_store_in_a_directory_that_cannot_be_made_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("store")).err().unwrap();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}
