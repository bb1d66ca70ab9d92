//! A client that speaks just enough of the agents' protocol to misuse it. It
//! uses none of the agent's own code, because it must send what that code would
//! refuse to send.

use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::upgrade::{OutboundConnectionUpgrade, Version};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, yamux};
use multistream_select::{Negotiated, dialer_select_proto, listener_select_proto};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// A step that takes longer than this is an error in the test.
const STEP_MAX: Duration = Duration::from_secs(20);

/// The contents of an agent's `mesh.key`.
pub(crate) struct Key {
    mesh: Vec<u8>,
    secret: [u8; 32],
}

impl Key {
    pub(crate) fn of(data_dir: &Path) -> Key {
        let text = std::fs::read_to_string(data_dir.join("mesh.key")).expect("a mesh key");
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        let secret = BASE64URL_NOPAD.decode(field("secret ").as_bytes()).expect("a secret");
        Key {
            mesh: HEXLOWER.decode(field("id ").as_bytes()).expect("an id"),
            secret: secret.try_into().expect("32 bytes"),
        }
    }
}

/// Opens a TCP connection from an address of this machine.
pub(crate) async fn connect(from: Ipv4Addr, to: &str) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::V4(SocketAddrV4::new(from, 0)))?;
    socket.connect(to.parse().expect("an address")).await
}

/// A connection that is encrypted and multiplexed, but not yet admitted.
pub(crate) struct Stranger {
    muxer: StreamMuxerBox,
    own: PeerId,
    other: PeerId,
}

impl Stranger {
    pub(crate) async fn new(stream: TcpStream) -> io::Result<Stranger> {
        let keypair = Keypair::generate_ed25519();
        let (_, io) = negotiated(stream.compat(), "/noise").await?;
        let noise = noise::Config::new(&keypair).expect("a key for encryption");
        let secured = noise.upgrade_outbound(io, "/noise").await;
        let (other, io) = secured.map_err(io::Error::other)?;
        let (_, io) = negotiated(io, "/yamux/1.0.0").await?;
        let mut settings = yamux::Config::default();
        settings.set_max_num_streams(4_000);
        let muxer = settings.upgrade_outbound(io, "/yamux/1.0.0").await?;
        Ok(Stranger { muxer: StreamMuxerBox::new(muxer), own: keypair.public().to_peer_id(), other })
    }

    /// Opens a substream on the connection.
    pub(crate) async fn open(&mut self) -> io::Result<SubstreamBox> {
        let muxer = &mut self.muxer;
        poll_fn(|cx| match muxer.poll_outbound_unpin(cx) {
            Poll::Ready(opened) => Poll::Ready(opened),
            Poll::Pending => progress(muxer, cx).map(Err),
        })
        .await
    }

    /// Writes to a substream as long as the agent accepts data, up to `bytes`.
    /// Returns the number of bytes that it accepted.
    pub(crate) async fn pour(&mut self, stream: &mut SubstreamBox, bytes: usize) -> usize {
        let (mut poured, chunk) = (0, [0_u8; 16 * 1024]);
        while poured < bytes {
            match self.drive(stream.write(&chunk)).await {
                Some(Ok(written)) => poured += written,
                Some(Err(_)) | None => break,
            }
        }
        let _ = self.drive(stream.flush()).await;
        poured
    }

    /// Runs `work` while the connection makes progress. Returns `None` if it
    /// takes longer than a blocked write should, or if the connection ends.
    async fn drive<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, muxer) = (std::pin::pin!(work), &mut self.muxer);
        let driven = poll_fn(|cx| {
            let ended = progress(muxer, cx).is_ready();
            match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending if ended => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        tokio::time::timeout(Duration::from_millis(100), driven).await.ok().flatten()
    }

    /// Waits until the agent closes the connection.
    pub(crate) async fn closed(mut self) {
        let muxer = &mut self.muxer;
        poll_fn(|cx| progress(muxer, cx)).await;
    }

    /// Proves membership, as the dialling end does.
    pub(crate) async fn admitted(mut self, key: &Key) -> io::Result<Member> {
        let mut stream = self.open().await?;
        let (own, other) = (public_key(&self.own), public_key(&self.other));
        let proof = self.drive(prove(&mut stream, key, &own, &other)).await;
        proof.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
        let (wishes, wished) = mpsc::channel(64);
        tokio::spawn(run(self.muxer, wished));
        Ok(Member { wishes })
    }
}

/// An admitted connection; it ends when this is dropped.
pub(crate) struct Member {
    wishes: mpsc::Sender<oneshot::Sender<io::Result<SubstreamBox>>>,
}

impl Member {
    /// Opens a stream of a protocol in which the agent first sends one byte.
    pub(crate) async fn open(&self, protocol: &'static str) -> io::Result<Negotiated<SubstreamBox>> {
        let (wish, opened) = oneshot::channel();
        self.wishes.send(wish).await.map_err(|_| io::ErrorKind::NotConnected)?;
        let stream = opened.await.map_err(|_| io::ErrorKind::NotConnected)??;
        let (_, mut stream) = negotiated(stream, protocol).await?;
        let mut accepted = [0];
        let read = tokio::time::timeout(STEP_MAX, stream.read_exact(&mut accepted)).await;
        read.unwrap_or_else(|elapsed| Err(elapsed.into()))?;
        Ok(stream)
    }
}

/// Connects, encrypts, and is admitted.
pub(crate) async fn connect_as_member(to: &str, key: &Key) -> io::Result<Member> {
    let stream = connect(Ipv4Addr::LOCALHOST, to).await?;
    Stranger::new(stream).await?.admitted(key).await
}

async fn negotiated<S>(stream: S, protocol: &'static str) -> io::Result<(&'static str, Negotiated<S>)>
where
    S: futures::AsyncRead + futures::AsyncWrite + Unpin,
{
    let selected = dialer_select_proto(stream, [protocol], Version::V1);
    let selected = tokio::time::timeout(STEP_MAX, selected).await;
    selected.map_err(io::Error::from)?.map_err(io::Error::other)
}

/// Lets the connection make progress. Ready with the error that ends it.
fn progress(muxer: &mut StreamMuxerBox, cx: &mut std::task::Context<'_>) -> Poll<io::Error> {
    loop {
        match muxer.poll_unpin(cx) {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(error),
            Poll::Pending => return Poll::Pending,
        }
    }
}

async fn prove(stream: &mut SubstreamBox, key: &Key, own: &[u8], other: &[u8]) -> io::Result<()> {
    // A nonce, and a start time of long ago.
    let hello: [u8; 40] = rand::random();
    stream.write_all(&[&[2], &hello[..]].concat()).await?;
    stream.flush().await?;
    let mut theirs = [0; 72];
    stream.read_exact(&mut theirs).await?;
    let mut hasher = blake3::Hasher::new_keyed(&key.secret);
    for part in [b"skein admission 2", &key.mesh[..], b"d", &hello, own, &theirs[..40], other] {
        hasher.update(part);
    }
    stream.write_all(&[&[1], &hasher.finalize().as_bytes()[..]].concat()).await?;
    stream.flush().await?;
    let mut verdict = [0];
    stream.read_exact(&mut verdict).await?;
    assert_eq!(verdict, [1], "the agent takes it for a member");
    stream.close().await
}

/// Returns the public key: the last 32 bytes of an ed25519 peer id.
fn public_key(peer: &PeerId) -> Vec<u8> {
    let bytes = peer.to_bytes();
    bytes[bytes.len() - 32..].to_vec()
}

/// Answers pings. The agent disconnects peers that do not.
async fn answer_pings(stream: SubstreamBox) -> io::Result<()> {
    let selected = listener_select_proto(stream, ["/ipfs/ping/1.0.0"]).await;
    let (_, mut stream) = selected.map_err(io::Error::other)?;
    loop {
        let mut ping = [0; 32];
        stream.read_exact(&mut ping).await?;
        stream.write_all(&ping).await?;
        stream.flush().await?;
    }
}

/// Drives the connection: opens streams, and accepts only pings.
async fn run(
    mut muxer: StreamMuxerBox,
    mut wished: mpsc::Receiver<oneshot::Sender<io::Result<SubstreamBox>>>,
) {
    let mut wish = None;
    poll_fn(|cx| {
        loop {
            if wish.is_none() {
                match wished.poll_recv(cx) {
                    Poll::Ready(Some(next)) => wish = Some(next),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            if wish.is_some()
                && let Poll::Ready(opened) = muxer.poll_outbound_unpin(cx)
            {
                let _ = wish.take().expect("a wish").send(opened);
                continue;
            }
            if let Poll::Ready(taken) = muxer.poll_inbound_unpin(cx) {
                let Ok(stream) = taken else { return Poll::Ready(()) };
                tokio::spawn(answer_pings(stream));
                continue;
            }
            return progress(&mut muxer, cx).map(|_| ());
        }
    })
    .await;
}
