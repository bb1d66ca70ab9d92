use std::fs;
use std::os::unix::fs::MetadataExt;

use super::*;

#[test]
fn a_host_is_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = own_host_id(&load_or_create(dir.path()).unwrap());
    let second = own_host_id(&load_or_create(dir.path()).unwrap());
    assert_eq!(first, second);
    assert_eq!(fs::metadata(dir.path().join(FILE)).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_key_is_an_error_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    secret_file::create(&dir.path().join(FILE), "skein-host-key 1\nAAAA\n").unwrap();
    assert!(matches!(load_or_create(dir.path()), Err(IdentityError::Format { .. })));
    assert!(dir.path().join(FILE).exists());
}

#[test]
fn a_changed_byte_makes_no_other_host() {
    let dir = tempfile::tempdir().unwrap();
    if !crate::whole_file::keeps_checksums(dir.path()) {
        eprintln!("skipped: needs a file system with extended attributes");
        return;
    }
    load_or_create(dir.path()).unwrap();
    let path = dir.path().join(FILE);
    let text = fs::read(&path).unwrap();
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(matches!(load_or_create(dir.path()), Err(IdentityError::Format { .. })), "byte {at}");
        fs::write(&path, &text[..at]).unwrap();
        assert!(matches!(load_or_create(dir.path()), Err(IdentityError::Format { .. })), "cut at {at}");
    }
    fs::write(&path, &text).unwrap();
    load_or_create(dir.path()).unwrap();
}

#[test]
fn a_host_id_and_a_peer_id_are_two_names_of_one_key() {
    let keypair = Keypair::generate_ed25519();
    let peer = keypair.public().to_peer_id();
    let host = own_host_id(&keypair);
    assert_eq!(peer_id(host), peer);
    assert_eq!(host.to_string(), peer.to_string());
    // Even a key that is not a point on the curve has a peer id: the node may name it.
    peer_id(HostId::from_public_key([0xff; 32]));
    peer_id(HostId::from_public_key([0; 32]));
}
