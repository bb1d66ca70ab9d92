//! The bytes that the recovery key signs: fields in a fixed order, numbers of a fixed
//! width, nothing left out. The codec of the wire is not used here, because it reads
//! one number in several forms.
//!
//! The bytes are wrapped as `ssh-keygen -Y sign` does, with a namespace that names
//! the mesh: a signature that was made for another purpose is not valid here.

use sha2::{Digest as _, Sha512};

use super::Recovery;
use crate::id::{HostId, MeshId};

/// Kind and format of the statement.
const KIND: [u8; 2] = [11, 1];

/// Returns the statement itself.
pub(super) fn message(recovery: &Recovery, key: &[u8; 32]) -> Vec<u8> {
    let Recovery { mesh, epoch, committed, base, hash, tail, host, voter, gone, at, by } = recovery;
    let mut bytes = KIND.to_vec();
    bytes.extend_from_slice(&mesh.0);
    bytes.extend_from_slice(key);
    for number in [*epoch, *committed, *base] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(hash);
    push_all(&mut bytes, tail);
    bytes.extend_from_slice(host.public_key());
    bytes.extend_from_slice(&voter.0.to_be_bytes());
    let gone: Vec<[u8; 32]> = gone.iter().map(HostId::public_key).copied().collect();
    push_all(&mut bytes, &gone);
    bytes.extend_from_slice(&at.as_millis().to_be_bytes());
    push_string(&mut bytes, by.as_bytes());
    bytes
}

/// Returns the bytes of which the signature is made.
pub(super) fn signed(mesh: MeshId, message: &[u8]) -> Vec<u8> {
    let mut bytes = b"SSHSIG".to_vec();
    push_string(&mut bytes, format!("skein-recovery-1@{mesh}").as_bytes());
    push_string(&mut bytes, b"");
    push_string(&mut bytes, b"sha512");
    push_string(&mut bytes, &Sha512::digest(message));
    bytes
}

fn push_all(bytes: &mut Vec<u8>, all: &[[u8; 32]]) {
    push_length(bytes, all.len());
    all.iter().for_each(|one| bytes.extend_from_slice(one));
}

fn push_string(bytes: &mut Vec<u8>, string: &[u8]) {
    push_length(bytes, string.len());
    bytes.extend_from_slice(string);
}

/// Appends a length. Values that are longer than their limits are refused before
/// they are verified.
fn push_length(bytes: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
}
