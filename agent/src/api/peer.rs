//! The user who sends a request, from the kernel's credentials of the socket's
//! peer. Until operators sign their requests, no better evidence exists.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::request::Parts;
use axum::serve::IncomingStream;
use nix::unistd::{Uid, User};
use tokio::net::UnixListener;

use super::limit::Limited;

/// The header that names the user that a client acts for. The agent believes it only from root,
/// because root may act for any user by `sudo`.
pub(crate) const BY: &str = "skein-by";
/// The most characters of a name to keep, so that it fits into tables.
const NAME_MAX: usize = 64;

/// The user of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, Limited<UnixListener>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Limited<UnixListener>>) -> Self {
        Peer { uid: stream.io().inner().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

/// The name of the user who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) name: String,
    is_root: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().and_then(|peer| peer.0.uid);
        let said = parts.headers.get(BY).and_then(|by| by.to_str().ok());
        Ok(Who::of(peer, said))
    }
}

impl Who {
    fn of(uid: Option<u32>, said: Option<&str>) -> Who {
        let Some(uid) = uid else { return Who { name: "somebody".into(), is_root: false } };
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        let user = user.unwrap_or_else(|| format!("uid {uid}"));
        let said = said.filter(|said| uid == 0 && !said.is_empty() && *said != user);
        let name = said.map_or(user.clone(), |said| format!("{said} as {user}"));
        Who { name: kept(&name), is_root: uid == 0 }
    }

    /// Replaces the name with `said`, from the request's body, if the user is root.
    pub(super) fn or(self, said: &str) -> Who {
        if self.is_root && !said.is_empty() { Who { name: kept(said), ..self } } else { self }
    }
}

fn kept(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uid: Option<u32>, said: Option<&str>, expected: &str) {
        assert_eq!(Who::of(uid, said).name, expected);
    }

    #[test]
    fn the_kernel_is_believed_and_root_says_for_whom_it_asks() {
        check(Some(0), None, "root");
        check(Some(0), Some("root"), "root");
        check(Some(0), Some("ann"), "ann as root");
        check(Some(4_000_000_000), Some("root"), "uid 4000000000");
        check(Some(0), Some("a\u{7}nn"), "ann as root");
        check(None, Some("root"), "somebody");
        assert_eq!(Who::of(Some(0), None).or("the pager").name, "the pager");
        assert_eq!(Who::of(Some(4_000_000_000), None).or("root").name, "uid 4000000000");
    }
}
