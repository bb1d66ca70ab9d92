use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

fn token(addresses: &[&str]) -> JoinToken {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    JoinToken { key: MeshKey::generate(), addresses }
}

#[test]
fn a_key_survives_its_file_which_only_its_owner_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etc/mesh.key");
    let key = MeshKey::generate();
    key.create(&path).unwrap();
    assert_eq!(MeshKey::read(&path).unwrap(), key);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_key_is_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mesh.key");
    let first = MeshKey::generate();
    first.create(&path).unwrap();
    let refused = MeshKey::generate().create(&path);
    assert!(matches!(refused, Err(MeshKeyError::File(SecretFileError::Exists { .. }))), "{refused:?}");
    assert_eq!(MeshKey::read(&path).unwrap(), first);
}

#[test]
fn a_missing_key_a_wrong_file_and_open_permissions_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mesh.key");
    assert!(matches!(MeshKey::read(&path), Err(MeshKeyError::Missing(_))));
    crate::secret_file::create(&path, "hello").unwrap();
    assert!(matches!(MeshKey::read(&path), Err(MeshKeyError::Format { .. })));
    fs::remove_file(&path).unwrap();
    let key = MeshKey::generate();
    key.create(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = MeshKey::read(&path).err().unwrap();
    let told = std::error::Error::source(&exposed).unwrap().to_string();
    assert!(told.contains(&format!("run `chmod 600 {}`", path.display())), "{told}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(MeshKey::read(&path).unwrap(), key);
}

#[test]
fn debug_does_not_show_the_secret() {
    let token = token(&["/ip4/10.0.0.1/tcp/4001"]);
    let shown = format!("{token:?}");
    for secret in [
        HEXLOWER.encode(&token.key.secret),
        BASE64URL_NOPAD.encode(&token.key.secret),
        format!("{:?}", token.key.secret),
    ] {
        assert!(!shown.contains(&secret), "{shown}");
    }
}

#[test]
fn a_token_says_what_was_put_in() {
    for addresses in [&[][..], &["/ip4/10.0.0.1/tcp/4001", "/dns4/seed.example/udp/4001/quic-v1"]] {
        let token = token(addresses);
        assert_eq!(format!("  {}\n", token.encode().unwrap()).parse(), Ok(token));
    }
}

#[test]
fn a_token_that_is_damaged_in_any_place_is_refused() {
    let whole = token(&["/ip4/10.0.0.1/tcp/4001"]).encode().unwrap();
    for at in TOKEN_PREFIX.len()..whole.len() {
        assert!(whole[..at].parse::<JoinToken>().is_err(), "cut at {at}");
        let mut changed = whole.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(changed.parse::<JoinToken>(), Err(NotAToken::Damaged), "changed at {at}");
    }
    assert_eq!("skein9.AAAA".parse::<JoinToken>(), Err(NotAToken::Prefix));
    assert_eq!(format!("skein1.{}", "A".repeat(5_000)).parse::<JoinToken>(), Err(NotAToken::TooLong));
}

#[test]
fn a_token_holds_a_limited_number_of_addresses() {
    let too_many = token(&["/ip4/10.0.0.1/tcp/4001"; TOKEN_ADDRESSES_MAX + 1]);
    assert_eq!(too_many.encode(), Err(NotAToken::TooLong));
}
