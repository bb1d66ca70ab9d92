//! The identity of this host: an ed25519 key pair, created at the first start and
//! kept in the data directory. Its public half is the [`HostId`].

use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use libp2p::PeerId;
use libp2p::identity::Keypair;
use proto::id::HostId;

use crate::secret_file::{self, SecretFileError};

/// The name of the key's file in the data directory.
const FILE: &str = "host.key";
/// The first line of the file; a later format increases the number.
const FILE_HEADER: &str = "skein-host-key 1";

/// The reason why the host has no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("no access to this host's key")]
    File(#[source] SecretFileError),
    #[error(
        "{} is not a host key: restore it, or remove it, and the host joins as another one",
        path.display()
    )]
    Format { path: PathBuf },
}

/// Reads the host's key pair, or creates it if there is none.
pub(crate) fn load_or_create(data_dir: &Path) -> Result<Keypair, IdentityError> {
    let path = data_dir.join(FILE);
    match secret_file::read(&path) {
        Ok(text) => parse(&text).ok_or(IdentityError::Format { path }),
        Err(SecretFileError::Missing { .. }) => create(&path),
        // Do not create a new key: a person may have a copy, and the mesh would
        // wait for the host that it knows.
        Err(SecretFileError::Damaged { .. }) => Err(IdentityError::Format { path }),
        Err(
            cause @ (SecretFileError::Exists { .. }
            | SecretFileError::Exposed { .. }
            | SecretFileError::Read { .. }
            | SecretFileError::Write { .. }),
        ) => Err(IdentityError::File(cause)),
    }
}

fn create(path: &Path) -> Result<Keypair, IdentityError> {
    let secret: [u8; 32] = rand::random();
    let text = format!("{FILE_HEADER}\n{}\n", BASE64URL_NOPAD.encode(&secret));
    secret_file::create(path, &text).map_err(IdentityError::File)?;
    parse(&text).ok_or_else(|| IdentityError::Format { path: path.to_owned() })
}

fn parse(text: &str) -> Option<Keypair> {
    let (header, secret) = text.trim_end().split_once('\n')?;
    let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).ok()?;
    if header != FILE_HEADER || secret.len() != 32 {
        return None;
    }
    Keypair::ed25519_from_bytes(secret).ok()
}

/// Returns the host with this libp2p id; `None` if its key is not ed25519.
pub(crate) fn host_id(peer: &PeerId) -> Option<HostId> {
    HostId::from_peer_id_bytes(&peer.to_bytes())
}

/// Returns the host's libp2p id.
pub(crate) fn peer_id(host: HostId) -> PeerId {
    PeerId::from_bytes(&host.to_peer_id_bytes()).expect("an identity multihash of 36 bytes is a peer id")
}

/// Returns the host of this key pair.
pub(crate) fn own_host_id(keypair: &Keypair) -> HostId {
    host_id(&keypair.public().to_peer_id()).expect("host keys are ed25519")
}

#[cfg(test)]
mod tests;
