//! The sockets at which an agent may answer, and the users who may use them.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group};
use tokio::net::UnixStream;

use super::ClientError;

/// Sockets, in the order in which they are tried.
#[derive(Clone, Debug)]
pub(crate) struct Sockets(pub(super) Vec<PathBuf>);

impl Sockets {
    /// Connects to the first socket at which an agent listens.
    pub(super) async fn connect(&self) -> Result<UnixStream, ClientError> {
        let mut not_there = io::Error::from(io::ErrorKind::NotFound);
        let mut forbidden = None;
        for socket in &self.0 {
            match UnixStream::connect(socket).await {
                Ok(stream) => return Ok(stream),
                Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => forbidden = Some(socket),
                Err(cause) => not_there = cause,
            }
        }
        Err(match forbidden {
            Some(socket) => ClientError::NotAllowed { socket: socket.clone() },
            None => ClientError::NotThere { sockets: self.clone(), cause: not_there },
        })
    }

    /// Returns the first socket that exists, or else the first.
    pub(super) fn likely(&self) -> PathBuf {
        let there = self.0.iter().find(|socket| socket.exists());
        there.or(self.0.first()).cloned().unwrap_or_default()
    }
}

impl fmt::Display for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<String> = self.0.iter().map(|socket| socket.display().to_string()).collect();
        f.write_str(&paths.join(" or "))
    }
}

/// Describes who may use the socket, and what to do.
pub(super) fn allowed(socket: &Path) -> String {
    let group = socket.metadata().ok().map(|metadata| Gid::from_raw(metadata.gid()));
    let name = |group: Gid| Group::from_gid(group).ok().flatten().map(|group| group.name);
    match group.filter(|group| group.as_raw() != 0) {
        Some(group) => format!(
            "it is for its owner and for members of group `{}`: try with sudo, or have yourself added to the group",
            name(group).unwrap_or_else(|| group.to_string())
        ),
        None => {
            "it is for root: try with sudo, or give it a group that you are in (socket_group in agent.toml)"
                .into()
        }
    }
}
