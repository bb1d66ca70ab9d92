//! Who may speak to us: the two ends of a fresh connection prove to each other
//! that they know the mesh's secret, before any protocol sees the connection.
//!
//! It happens inside the transport, on the connection's first substream, and
//! so in one way over TCP and QUIC. (libp2p's own pre-shared key wraps raw TCP
//! only, and blocking peers by id needs their ids beforehand.)
//!
//! ```text
//! dialler  -> version, nonce
//! listener -> nonce, proof            proof = BLAKE3 keyed with the secret, of
//! dialler  -> verdict, proof                  mesh id, role, nonces, both host ids
//! listener -> verdict
//! ```
//! The host ids are those that encryption has proven to each end, so a proof
//! cannot be passed on by somebody in the middle; the role keeps it from being
//! sent back to its maker.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use libp2p::core::ConnectedPoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt};
use proto::id::HostId;

use crate::identity;
use crate::mesh_key::MeshKey;

/// Two round trips; a peer that needs longer would be of no use to a mesh
/// whose edges time out after three seconds.
const TIMEOUT: Duration = Duration::from_secs(5);
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;
const MEMBER: u8 = 1;
const STRANGER: u8 = 0;
const CONTEXT: &[u8] = b"skein admission 1";

/// Why a connection was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it does not have this mesh's key")]
    Stranger,
    #[error("it says that we do not have its mesh's key")]
    RefusedThere,
    #[error("it speaks version {0} of the admission, we speak {VERSION}")]
    Version(u8),
    #[error("its key is not an ed25519 key")]
    KeyType,
    #[error("it did not prove itself within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("it hung up")]
    HungUp(#[source] io::Error),
}

/// Our own half of what a proof is made of.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) own: HostId,
    pub(super) mesh_key: MeshKey,
}

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Dialler,
    Listener,
}

/// What both ends know of one connection.
struct Challenge {
    dialler: (HostId, [u8; NONCE_BYTES]),
    listener: (HostId, [u8; NONCE_BYTES]),
}

impl Gate {
    /// Gives the connection back if its other end is a member.
    pub(super) async fn admit(
        self,
        (peer, mut muxer): (PeerId, StreamMuxerBox),
        endpoint: ConnectedPoint,
    ) -> Result<(PeerId, StreamMuxerBox), Refusal> {
        let other = identity::host_id(&peer).ok_or(Refusal::KeyType)?;
        let admitted = match endpoint {
            ConnectedPoint::Dialer { .. } => {
                tokio::time::timeout(TIMEOUT, self.dial(other, &mut muxer)).await
            }
            ConnectedPoint::Listener { .. } => {
                tokio::time::timeout(TIMEOUT, self.listen(other, &mut muxer)).await
            }
        };
        match admitted.unwrap_or(Err(Refusal::Timeout)) {
            Ok(()) => Ok((peer, muxer)),
            Err(refusal) => {
                let address = endpoint.get_remote_address();
                report(other, address, &refusal);
                Err(refusal)
            }
        }
    }

    async fn dial(&self, other: HostId, muxer: &mut StreamMuxerBox) -> Result<(), Refusal> {
        let mut stream = poll_fn(|cx| poll_with(muxer, cx, StreamMuxerExt::poll_outbound_unpin))
            .await
            .map_err(Refusal::HungUp)?;
        drive(muxer, self.prove_as_dialler(other, &mut stream)).await
    }

    async fn listen(&self, other: HostId, muxer: &mut StreamMuxerBox) -> Result<(), Refusal> {
        let mut stream = poll_fn(|cx| poll_with(muxer, cx, StreamMuxerExt::poll_inbound_unpin))
            .await
            .map_err(Refusal::HungUp)?;
        drive(muxer, self.prove_as_listener(other, &mut stream)).await
    }

    async fn prove_as_dialler(
        &self,
        other: HostId,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Result<(), Refusal> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        send(stream, &[&[VERSION], &nonce]).await?;
        let answer: [u8; NONCE_BYTES + PROOF_BYTES] = receive(stream).await?;
        let (their_nonce, their_proof) = split(answer);
        let challenge = Challenge { dialler: (self.own, nonce), listener: (other, their_nonce) };
        if self.proof(&challenge, Role::Listener) != their_proof {
            send(stream, &[&[STRANGER], &[0; PROOF_BYTES]]).await?;
            stream.close().await.map_err(Refusal::HungUp)?;
            return Err(Refusal::Stranger);
        }
        send(stream, &[&[MEMBER], self.proof(&challenge, Role::Dialler).as_bytes()]).await?;
        let [verdict] = receive(stream).await?;
        stream.close().await.map_err(Refusal::HungUp)?;
        if verdict == MEMBER { Ok(()) } else { Err(Refusal::RefusedThere) }
    }

    async fn prove_as_listener(
        &self,
        other: HostId,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Result<(), Refusal> {
        let [version] = receive(stream).await?;
        if version != VERSION {
            return Err(Refusal::Version(version));
        }
        let challenge =
            Challenge { dialler: (other, receive(stream).await?), listener: (self.own, rand::random()) };
        let proof = self.proof(&challenge, Role::Listener);
        send(stream, &[&challenge.listener.1, proof.as_bytes()]).await?;
        let [verdict] = receive(stream).await?;
        let their_proof: [u8; PROOF_BYTES] = receive(stream).await?;
        if verdict != MEMBER {
            return Err(Refusal::RefusedThere);
        }
        let is_member = self.proof(&challenge, Role::Dialler) == blake3::Hash::from_bytes(their_proof);
        send(stream, &[&[if is_member { MEMBER } else { STRANGER }]]).await?;
        stream.close().await.map_err(Refusal::HungUp)?;
        if is_member { Ok(()) } else { Err(Refusal::Stranger) }
    }

    /// Two of these are compared in constant time.
    fn proof(&self, challenge: &Challenge, role: Role) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.mesh_key.secret);
        hasher.update(CONTEXT);
        hasher.update(&self.mesh_key.id.0);
        hasher.update(match role {
            Role::Dialler => b"d",
            Role::Listener => b"l",
        });
        for (host, nonce) in [&challenge.dialler, &challenge.listener] {
            hasher.update(nonce);
            hasher.update(host.public_key());
        }
        hasher.finalize()
    }
}

/// A stranger is worth a line; one that merely went away is not: it happens
/// whenever two ways to one host are tried at once.
fn report(host: HostId, address: &libp2p::Multiaddr, refusal: &Refusal) {
    match refusal {
        Refusal::Stranger | Refusal::Version(_) | Refusal::KeyType | Refusal::RefusedThere => {
            tracing::warn!(%host, %address, reason = %refusal, "connection refused");
        }
        Refusal::Timeout | Refusal::HungUp(_) => {
            tracing::debug!(%host, %address, reason = %refusal, "connection refused");
        }
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), parts: &[&[u8]]) -> Result<(), Refusal> {
    stream.write_all(&parts.concat()).await.map_err(Refusal::HungUp)?;
    stream.flush().await.map_err(Refusal::HungUp)
}

async fn receive<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(Refusal::HungUp)?;
    Ok(bytes)
}

fn split(answer: [u8; NONCE_BYTES + PROOF_BYTES]) -> ([u8; NONCE_BYTES], blake3::Hash) {
    let (mut nonce, mut proof) = ([0; NONCE_BYTES], [0; PROOF_BYTES]);
    nonce.copy_from_slice(&answer[..NONCE_BYTES]);
    proof.copy_from_slice(&answer[NONCE_BYTES..]);
    (nonce, blake3::Hash::from_bytes(proof))
}

type Context<'a, 'b> = &'a mut std::task::Context<'b>;

/// Polls for a stream, and the connection itself, which else makes no progress.
fn poll_with<T>(
    muxer: &mut StreamMuxerBox,
    cx: Context<'_, '_>,
    poll: impl Fn(&mut StreamMuxerBox, Context<'_, '_>) -> Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    if let Poll::Ready(ready) = poll(muxer, cx) {
        return Poll::Ready(ready);
    }
    poll_connection(muxer, cx).map(Err)
}

/// Ends only with an error.
fn poll_connection(muxer: &mut StreamMuxerBox, cx: Context<'_, '_>) -> Poll<io::Error> {
    while let Poll::Ready(event) = muxer.poll_unpin(cx) {
        // The only event is that the address has changed.
        if let Err(error) = event {
            return Poll::Ready(error);
        }
    }
    Poll::Pending
}

/// Runs `work` on a stream of the connection.
async fn drive<T>(
    muxer: &mut StreamMuxerBox,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let failed = poll_connection(muxer, cx).map(|error| Err(Refusal::HungUp(error)));
        // What the connection has just received may be all that was missing.
        match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => failed,
        }
    })
    .await
}

#[cfg(test)]
mod tests;
