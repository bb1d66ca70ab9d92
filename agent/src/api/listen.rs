//! The Unix socket: created with its permissions, and removed at the end.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Gid;
use tokio::net::{UnixListener, UnixStream};

use crate::held::once_let_go;

/// The socket's owner and group may connect. A user who may connect may deploy.
const SOCKET_MODE: u32 = 0o660;

/// The socket's file; removed on drop.
#[derive(Debug)]
pub(crate) struct ApiSocket {
    path: PathBuf,
}

/// The reason why the socket could not be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error(
        "another agent answers at {} already: stop it first, or give this one its own --api and --data-dir",
        path.display()
    )]
    InUse { path: PathBuf },
    #[error("{} exists and is not a socket: remove it, or give another --api", path.display())]
    NotASocket { path: PathBuf },
    #[error("cannot make the API's socket {}", path.display())]
    Bind {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

impl ApiSocket {
    /// Listens at `path`. Replaces the socket of an agent that was killed, but not that
    /// of a live one. The socket's group is the agent's own, unless `group` is given.
    pub(crate) async fn bind(
        path: &Path,
        group: Option<Gid>,
    ) -> Result<(ApiSocket, UnixListener), BindError> {
        let is_held = |error: &BindError| matches!(error, BindError::InUse { .. });
        once_let_go(async || refuse_if_taken(path).await, is_held).await?;
        let listener = make(path, group).map_err(|cause| BindError::Bind { path: path.into(), cause })?;
        Ok((ApiSocket { path: path.into() }, listener))
    }
}

impl Drop for ApiSocket {
    fn drop(&mut self) {
        // Best effort: a socket that stays is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn refuse_if_taken(path: &Path) -> Result<(), BindError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(BindError::NotASocket { path: path.into() }),
        Ok(_) if UnixStream::connect(path).await.is_ok() => Err(BindError::InUse { path: path.into() }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Creates the socket under another name and renames it, so that it never has the
/// wrong permissions at `path`.
fn make(path: &Path, group: Option<Gid>) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let fresh = path.with_extension(format!("{}", std::process::id()));
    let listener = UnixListener::bind(&fresh)?;
    let moved = nix::unistd::chown(&fresh, None, group)
        .map_err(io::Error::from)
        .and_then(|()| std::fs::set_permissions(&fresh, Permissions::from_mode(SOCKET_MODE)))
        .and_then(|()| std::fs::rename(&fresh, path));
    if moved.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    moved.map(|()| listener)
}
