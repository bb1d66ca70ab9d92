//! Into a mesh: what `skein mesh init` and `skein mesh join` leave in the data
//! directory for the agent to find.

use std::io;
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use proto::id::MeshId;

use crate::config::{founds_mark_in, join_addresses_in, mesh_key_in};
use crate::mesh_key::{JoinToken, MeshKey, MeshKeyError};
use crate::whole_file;

/// Why the host is not in the mesh now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error("cannot make the data directory {}", path.display())]
    DataDirectory {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("this host is in mesh {0} already (key in {path}): to leave it, stop the agent and use another data directory", path = .1.display())]
    AlreadyIn(MeshId, PathBuf),
    #[error(transparent)]
    Key(#[from] MeshKeyError),
}

/// Makes a new mesh, whose ledger this host begins.
pub(crate) fn found(data_dir: &Path) -> Result<MeshId, JoinError> {
    make_data_dir(data_dir)?;
    let path = mesh_key_in(data_dir);
    if path.exists() {
        return Err(JoinError::AlreadyIn(MeshKey::read(&path)?.id, path));
    }
    let key = MeshKey::generate();
    // The mark comes first: a key without it would be a mesh that nobody
    // begins, a mark without a key is nothing.
    write(&founds_mark_in(data_dir), &format!("{}\n", key.id))?;
    key.create(&path)?;
    Ok(key.id)
}

/// Takes the key and the addresses out of a token. To do it again with a token
/// of the same mesh only renews the addresses.
pub(crate) fn enter(data_dir: &Path, token: &JoinToken) -> Result<MeshId, JoinError> {
    make_data_dir(data_dir)?;
    let path = mesh_key_in(data_dir);
    if path.exists() {
        let known = MeshKey::read(&path)?;
        if known != token.key {
            return Err(JoinError::AlreadyIn(known.id, path));
        }
    } else {
        token.key.create(&path)?;
    }
    let addresses: String = token.addresses.iter().map(|address| format!("{address}\n")).collect();
    write(&join_addresses_in(data_dir), &addresses)?;
    Ok(token.key.id)
}

/// The addresses that a token named; none if there was no token.
pub(crate) fn addresses(data_dir: &Path) -> Vec<Multiaddr> {
    let content = whole_file::read(&join_addresses_in(data_dir)).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Whether this host begins its mesh's ledger.
pub(crate) fn founds(data_dir: &Path) -> bool {
    founds_mark_in(data_dir).exists()
}

fn make_data_dir(path: &Path) -> Result<(), JoinError> {
    std::fs::create_dir_all(path).map_err(|cause| JoinError::DataDirectory { path: path.into(), cause })
}

fn write(path: &Path, text: &str) -> Result<(), JoinError> {
    whole_file::write(path, text.as_bytes()).map_err(|cause| JoinError::Write { path: path.into(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_enters_one_mesh_and_only_one() {
        let (first, second) =
            (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let mesh = found(first.path()).expect("founded");
        assert!(founds(first.path()));
        assert!(matches!(found(first.path()), Err(JoinError::AlreadyIn(known, _)) if known == mesh));

        let key = MeshKey::read(&mesh_key_in(first.path())).expect("the key");
        let token = JoinToken { key, addresses: vec!["/ip4/127.0.0.1/tcp/1".parse().expect("an address")] };
        assert_eq!(enter(second.path(), &token).expect("entered"), mesh);
        assert_eq!(enter(second.path(), &token).expect("entered again"), mesh);
        assert_eq!(addresses(second.path()), token.addresses);
        assert!(!founds(second.path()));

        let other = JoinToken { key: MeshKey::generate(), addresses: vec![] };
        assert!(matches!(enter(second.path(), &other), Err(JoinError::AlreadyIn(..))));
    }
}
