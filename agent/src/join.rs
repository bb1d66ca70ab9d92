//! Founding and joining a mesh: the files that `skein mesh init` and
//! `skein mesh join` leave in the data directory for the agent.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use libp2p::Multiaddr;
use proto::id::MeshId;

use crate::config::{founds_mark_in, join_addresses_in, mesh_key_in, recovery_key_in, removed_mark_in};
use crate::mesh_key::{JoinToken, MeshKey, MeshKeyError, NotAToken, TOKEN_BYTES_MAX};
use crate::recovery_key::{self, RecoveryKeyError};
use crate::{private, whole_file};

/// The reason why the host did not enter a mesh.
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
    #[error("cannot read the join token from {}", from.display())]
    ReadToken {
        from: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} holds no join token", from.display())]
    NotAToken {
        from: PathBuf,
        #[source]
        cause: NotAToken,
    },
    #[error(
        "the host whose data lies in {} was taken out of mesh {mesh}, and its key is never let in again: stop its \
         agent, move the directory away, and join as a new host",
        data_dir.display()
    )]
    Removed { mesh: String, data_dir: PathBuf },
    #[error(transparent)]
    Key(#[from] MeshKeyError),
    #[error(transparent)]
    RecoveryKey(#[from] RecoveryKeyError),
}

/// Standard input, as people write it.
const STANDARD_INPUT: &str = "-";

/// Reads a token from a file, a descriptor (`/dev/fd/N`) or standard input, where
/// other users of this host cannot see it.
pub(crate) fn read_token(from: &Path) -> Result<JoinToken, JoinError> {
    let cannot = |cause| JoinError::ReadToken { from: from.into(), cause };
    let mut text = String::new();
    // A longer text is not a token, and is refused as truncated.
    let most = TOKEN_BYTES_MAX as u64 + 1;
    match from == Path::new(STANDARD_INPUT) {
        true => io::stdin().lock().take(most).read_to_string(&mut text).map_err(cannot)?,
        false => {
            let file = std::fs::File::open(from).map_err(cannot)?;
            file.take(most).read_to_string(&mut text).map_err(cannot)?
        }
    };
    text.parse().map_err(|cause| JoinError::NotAToken { from: from.into(), cause })
}

/// Creates a new mesh, whose ledger this host begins.
pub(crate) fn found(data_dir: &Path) -> Result<MeshId, JoinError> {
    make_data_dir(data_dir)?;
    let path = mesh_key_in(data_dir);
    if path.exists() {
        return Err(JoinError::AlreadyIn(MeshKey::read(&path)?.id, path));
    }
    // The mesh's id is the hash of its recovery key's public half.
    let key = MeshKey::of(recovery_key::load_or_create(&recovery_key_in(data_dir))?.mesh());
    // The mark and the recovery key come first: with only a mesh key, no host would begin the
    // mesh, and no person could recover it. Without a mesh key they do no harm.
    write(&founds_mark_in(data_dir), &format!("{}\n", key.id))?;
    key.create(&path)?;
    Ok(key.id)
}

/// Stores the key and the addresses of a token. Doing it again with a token of
/// the same mesh only renews the addresses.
pub(crate) fn enter(data_dir: &Path, token: &JoinToken) -> Result<MeshId, JoinError> {
    make_data_dir(data_dir)?;
    if let Ok(mesh) = std::fs::read_to_string(removed_mark_in(data_dir)) {
        return Err(JoinError::Removed { mesh: mesh.trim().into(), data_dir: data_dir.into() });
    }
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

/// Records that this host was removed from its mesh, for users who try to join it again.
pub(crate) fn note_removed(data_dir: &Path, mesh: MeshId) -> Result<(), JoinError> {
    write(&removed_mark_in(data_dir), &format!("{mesh}\n"))
}

/// Returns the addresses from the token; empty if there was no token.
pub(crate) fn addresses(data_dir: &Path) -> Vec<Multiaddr> {
    let content = whole_file::read(&join_addresses_in(data_dir)).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The time without a way into the mesh after which the agent tells the person
/// who waits, and `TOLD_AGAIN_EVERY`, the interval of further messages.
pub(crate) const ALONE_MAX: Duration = Duration::from_secs(60);
const TOLD_AGAIN_EVERY: Duration = Duration::from_secs(600);

/// Logs which addresses were tried and what to do, as long as no member is reached.
pub(crate) async fn tell_if_alone(
    connected: impl Fn() -> bool,
    why_not: impl Fn(&Multiaddr) -> Option<String>,
    tried: Vec<Multiaddr>,
    mut wait: Duration,
) {
    while !tried.is_empty() {
        tokio::time::sleep(wait).await;
        if connected() {
            return;
        }
        tracing::error!("{}", alone(&tried, &why_not));
        wait = TOLD_AGAIN_EVERY;
    }
}

fn alone(tried: &[Multiaddr], why_not: impl Fn(&Multiaddr) -> Option<String>) -> String {
    let told = |address: &Multiaddr| match why_not(address) {
        Some(why) => format!("{address} ({why})"),
        None => address.to_string(),
    };
    let tried: Vec<String> = tried.iter().map(told).collect();
    format!(
        "no member of the mesh was reached for {} s. Tried: {}. These addresses come from the join token or from `join`: if \
         its hosts are gone or have other addresses now, run `skein mesh token` on a running member and \
         `skein mesh join -` here, and start this agent again; if not, look whether a firewall is in between. \
         This agent goes on trying",
        ALONE_MAX.as_secs(),
        tried.join(", ")
    )
}

/// Returns true if this host begins its mesh's ledger.
pub(crate) fn founds(data_dir: &Path) -> bool {
    founds_mark_in(data_dir).exists()
}

/// Creates the data directory. Only the private parts in it are closed to others: by
/// default the revisions are in it, too, and their scripts may run as other users.
pub(crate) fn make_data_dir(path: &Path) -> Result<(), JoinError> {
    let made = private::make_directory(path, private::PASSAGE);
    made.map_err(|cause| JoinError::DataDirectory { path: path.into(), cause })
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
        let recovery = recovery_key::read(&recovery_key_in(first.path())).expect("the recovery key");
        assert_eq!(recovery.mesh(), mesh);
        assert!(matches!(found(first.path()), Err(JoinError::AlreadyIn(known, _)) if known == mesh));

        let key = MeshKey::read(&mesh_key_in(first.path())).expect("the key");
        let token = JoinToken { key, addresses: vec!["/ip4/127.0.0.1/tcp/1".parse().expect("an address")] };
        assert_eq!(enter(second.path(), &token).expect("entered"), mesh);
        assert_eq!(enter(second.path(), &token).expect("entered again"), mesh);
        assert_eq!(addresses(second.path()), token.addresses);
        assert!(!founds(second.path()));

        let other = JoinToken { key: MeshKey::generate(), addresses: vec![] };
        assert!(matches!(enter(second.path(), &other), Err(JoinError::AlreadyIn(..))));

        note_removed(second.path(), mesh).expect("noted");
        let error = enter(second.path(), &token).expect_err("its key is not let in again").to_string();
        let words = [mesh.to_string(), second.path().display().to_string(), "as a new host".into()];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }

    #[test]
    fn a_token_is_read_from_a_file_and_what_is_none_is_not_repeated() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("token");
        let token = JoinToken { key: MeshKey::generate(), addresses: vec![] };
        std::fs::write(&file, format!("{}\n", token.encode().expect("a token"))).expect("written");
        assert_eq!(read_token(&file).expect("a token"), token);

        std::fs::write(&file, "skein1.secret-but-mistyped").expect("written");
        let refused = read_token(&file).expect_err("no token");
        let said = crate::telemetry::chain(&refused);
        assert!(
            said.contains("token") && said.contains("copied whole") && !said.contains("secret"),
            "{said}"
        );
        let refused = read_token(&directory.path().join("none")).expect_err("not there");
        assert!(matches!(refused, JoinError::ReadToken { .. }), "{refused:?}");
    }

    #[tokio::test]
    async fn whoever_is_alone_is_told_and_nobody_else() {
        let tried = || vec!["/ip4/10.0.0.1/tcp/1".parse().expect("an address")];
        let why_not = |_: &Multiaddr| Some("no answer: timed out".to_string());
        tell_if_alone(|| true, why_not, tried(), Duration::ZERO).await;
        tell_if_alone(|| panic!("a founder looks for nobody"), why_not, vec![], Duration::ZERO).await;
        let still_alone = tell_if_alone(|| false, why_not, tried(), Duration::ZERO);
        let ended = tokio::time::timeout(Duration::from_millis(50), still_alone).await;
        assert!(ended.is_err(), "it looks again later");
        let said = alone(&tried(), why_not);
        let told = "Tried: /ip4/10.0.0.1/tcp/1 (no answer: timed out)";
        assert!(said.contains(told) && said.contains("`skein mesh token`"), "{said}");
    }
}
