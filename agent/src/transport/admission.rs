//! Decides which hosts may speak to us. The two ends of a fresh connection prove to each
//! other that they know the mesh's secret, before any protocol sees the connection.
//!
//! This happens inside the transport, on the connection's first substream, and so
//! in the same way over TCP and QUIC. (libp2p's own pre-shared key only wraps raw
//! TCP, and blocking peers by id requires knowing their ids beforehand.)
//!
//! ```text
//! dialler  -> version, nonce, start
//! listener -> nonce, start, proof     proof = BLAKE3 keyed with the secret, of
//! dialler  -> verdict, proof                  mesh id, role, and both ends'
//! listener -> verdict                         nonces, starts and host ids
//! ```
//! A start is the time at which an agent was started. If two connections lead to
//! one host, the one with the later start shows that the other is dead.
//!
//! The host ids are those that encryption has proven to each end, so a host in the middle
//! cannot pass a proof on. The role prevents a proof from being sent back to its maker.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use libp2p::core::ConnectedPoint;
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt};
use proto::id::HostId;

use super::door::Door;
use super::meter::Meter;
use crate::identity;
use crate::mesh_key::MeshKey;

/// Time for two round trips. A peer that needs longer would be of no use to a
/// mesh whose edges time out after three seconds.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);
const VERSION: u8 = 2;
const NONCE_BYTES: usize = 32;
const START_BYTES: usize = 8;
const HELLO_BYTES: usize = NONCE_BYTES + START_BYTES;
const PROOF_BYTES: usize = 32;
const MEMBER: u8 = 1;
const STRANGER: u8 = 0;
const CONTEXT: &[u8] = b"skein admission 2";

/// The reason why a connection was refused.
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
    #[error("it sent too much before it was admitted")]
    TooMuch,
    #[error("it opened a second stream before it was admitted")]
    SecondStream,
    #[error("it hung up")]
    HungUp(#[source] io::Error),
}

impl Refusal {
    /// Returns the refusal that an error's text names. On its way through the transport, an
    /// error loses its type and keeps its text.
    pub(super) fn in_text(text: &str) -> Option<Refusal> {
        let told = [
            Refusal::Stranger,
            Refusal::RefusedThere,
            Refusal::KeyType,
            Refusal::Timeout,
            Refusal::TooMuch,
            Refusal::SecondStream,
        ];
        told.into_iter().find(|refusal| text.contains(&refusal.to_string()))
    }
}

/// The local values that go into a proof.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) own: HostId,
    pub(super) mesh_key: MeshKey,
    pub(super) door: Arc<Door>,
    /// The time at which this agent was started, in microseconds since 1970.
    pub(super) start: u64,
}

/// An end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Dialler,
    Listener,
}

/// The facts that both ends know about a connection.
struct Challenge {
    dialler: End,
    listener: End,
}

/// An end of a connection: the host that encryption has proven, and what it says itself.
#[derive(Clone, Copy, Debug)]
struct End {
    host: HostId,
    hello: [u8; HELLO_BYTES],
}

impl End {
    fn start(&self) -> u64 {
        let mut start = [0; START_BYTES];
        start.copy_from_slice(&self.hello[NONCE_BYTES..]);
        u64::from_be_bytes(start)
    }
}

impl Gate {
    /// Returns the connection, with its limits lifted, if its other end is a member.
    pub(super) async fn admit(
        &self,
        (peer, mut muxer): (PeerId, StreamMuxerBox),
        endpoint: ConnectedPoint,
        meter: &Meter,
    ) -> Result<(PeerId, StreamMuxerBox), Refusal> {
        let admitted = match identity::host_id(&peer) {
            None => Err(Refusal::KeyType),
            Some(other) => {
                let proven = async {
                    match endpoint {
                        ConnectedPoint::Dialer { .. } => self.dial(other, &mut muxer).await,
                        ConnectedPoint::Listener { .. } => self.listen(other, &mut muxer).await,
                    }
                };
                tokio::time::timeout(TIMEOUT, proven).await.unwrap_or(Err(Refusal::Timeout))
            }
        };
        match admitted {
            Ok(end) => {
                meter.lift();
                self.door.started(end.host, &endpoint, end.start());
                Ok((peer, muxer))
            }
            Err(refusal) => {
                let refusal = if meter.is_spent() { Refusal::TooMuch } else { refusal };
                self.report(Some(&peer), &endpoint, &refusal);
                Err(refusal)
            }
        }
    }

    /// Reports a connection that ended before it was encrypted, if it had used up its limit.
    pub(super) fn not_encrypted(&self, endpoint: &ConnectedPoint, meter: &Meter) {
        if meter.is_spent() {
            self.report(None, endpoint, &Refusal::TooMuch);
        }
    }

    /// Reports strangers, but not connections that merely ended, which happens
    /// whenever two ways to one host are tried at once.
    fn report(&self, peer: Option<&PeerId>, endpoint: &ConnectedPoint, refusal: &Refusal) {
        let address = endpoint.get_remote_address();
        match refusal {
            Refusal::Stranger
            | Refusal::Version(_)
            | Refusal::KeyType
            | Refusal::RefusedThere
            | Refusal::TooMuch
            | Refusal::SecondStream => self.door.refused(address, &refusal.to_string()),
            Refusal::Timeout | Refusal::HungUp(_) => {
                let peer = peer.map(PeerId::to_string);
                tracing::debug!(peer, %address, reason = %refusal, "connection refused");
            }
        }
    }

    async fn dial(&self, other: HostId, muxer: &mut StreamMuxerBox) -> Result<End, Refusal> {
        let mut stream = poll_fn(|cx| poll_with(muxer, cx, StreamMuxerExt::poll_outbound_unpin))
            .await
            .map_err(Refusal::HungUp)?;
        let proven = AtomicBool::new(false);
        drive(muxer, &proven, self.prove_as_dialler(other, &mut stream, &proven)).await
    }

    async fn listen(&self, other: HostId, muxer: &mut StreamMuxerBox) -> Result<End, Refusal> {
        let mut stream = poll_fn(|cx| poll_with(muxer, cx, StreamMuxerExt::poll_inbound_unpin))
            .await
            .map_err(Refusal::HungUp)?;
        let proven = AtomicBool::new(false);
        drive(muxer, &proven, self.prove_as_listener(other, &mut stream, &proven)).await
    }

    async fn prove_as_dialler(
        &self,
        other: HostId,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        proven: &AtomicBool,
    ) -> Result<End, Refusal> {
        let own = self.hello();
        send(stream, &[&[VERSION], &own.hello]).await?;
        let hello = receive(stream).await?;
        let their_proof: [u8; PROOF_BYTES] = receive(stream).await?;
        let challenge = Challenge { dialler: own, listener: End { host: other, hello } };
        if self.proof(&challenge, Role::Listener) != blake3::Hash::from_bytes(their_proof) {
            send(stream, &[&[STRANGER], &[0; PROOF_BYTES]]).await?;
            stream.close().await.map_err(Refusal::HungUp)?;
            return Err(Refusal::Stranger);
        }
        proven.store(true, Ordering::Relaxed);
        send(stream, &[&[MEMBER], self.proof(&challenge, Role::Dialler).as_bytes()]).await?;
        let [verdict] = receive(stream).await?;
        stream.close().await.map_err(Refusal::HungUp)?;
        if verdict == MEMBER { Ok(challenge.listener) } else { Err(Refusal::RefusedThere) }
    }

    async fn prove_as_listener(
        &self,
        other: HostId,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        proven: &AtomicBool,
    ) -> Result<End, Refusal> {
        let [version] = receive(stream).await?;
        if version != VERSION {
            return Err(Refusal::Version(version));
        }
        let dialler = End { host: other, hello: receive(stream).await? };
        let challenge = Challenge { dialler, listener: self.hello() };
        let proof = self.proof(&challenge, Role::Listener);
        send(stream, &[&challenge.listener.hello, proof.as_bytes()]).await?;
        let [verdict] = receive(stream).await?;
        let their_proof: [u8; PROOF_BYTES] = receive(stream).await?;
        if verdict != MEMBER {
            return Err(Refusal::RefusedThere);
        }
        let is_member = self.proof(&challenge, Role::Dialler) == blake3::Hash::from_bytes(their_proof);
        proven.store(is_member, Ordering::Relaxed);
        send(stream, &[&[if is_member { MEMBER } else { STRANGER }]]).await?;
        stream.close().await.map_err(Refusal::HungUp)?;
        if is_member { Ok(dialler) } else { Err(Refusal::Stranger) }
    }

    /// Creates our end of a new connection.
    fn hello(&self) -> End {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut hello = [0; HELLO_BYTES];
        hello[..NONCE_BYTES].copy_from_slice(&nonce);
        hello[NONCE_BYTES..].copy_from_slice(&self.start.to_be_bytes());
        End { host: self.own, hello }
    }

    /// Computes a proof; the result type compares in constant time.
    fn proof(&self, challenge: &Challenge, role: Role) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.mesh_key.secret);
        hasher.update(CONTEXT);
        hasher.update(&self.mesh_key.id.0);
        hasher.update(match role {
            Role::Dialler => b"d",
            Role::Listener => b"l",
        });
        for end in [&challenge.dialler, &challenge.listener] {
            hasher.update(&end.hello);
            hasher.update(end.host.public_key());
        }
        hasher.finalize()
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

type Context<'a, 'b> = &'a mut std::task::Context<'b>;

/// Polls for a stream, and also the connection itself, which would otherwise make no progress.
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

/// Polls the connection; only ends with an error.
fn poll_connection(muxer: &mut StreamMuxerBox, cx: Context<'_, '_>) -> Poll<io::Error> {
    while let Poll::Ready(event) = muxer.poll_unpin(cx) {
        // The only event is a change of the address.
        if let Err(error) = event {
            return Poll::Ready(error);
        }
    }
    Poll::Pending
}

/// Runs `work` on the only stream that the connection may have until its other end has `proven` itself.
async fn drive<T>(
    muxer: &mut StreamMuxerBox,
    proven: &AtomicBool,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        // A member's further streams are left for the connection's new owner.
        if !proven.load(Ordering::Relaxed)
            && let Poll::Ready(Ok(_second)) = muxer.poll_inbound_unpin(cx)
        {
            return Poll::Ready(Err(Refusal::SecondStream));
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
