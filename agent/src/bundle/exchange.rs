//! Transfers bundles between agents. The request names a bundle and an offset,
//! and the answer holds the bytes from there on.
//!
//! ```text
//! asking  -> digest (32), offset (8)
//! serving -> status (1), size of the whole (8), and, if it has it, the bytes
//! ```
//! Received bytes stay in the part file, so that a transfer from another host, or
//! after a restart, continues where the last one ended. Nothing of it is trusted
//! before the digest of the whole bundle is verified.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use proto::id::{Digest, HostId};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::cache::{DiskFull, require_room};
use crate::share::Shares;
use crate::telemetry::chain;
use crate::transport::{AcceptedElsewhere, Handle, OpenError};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/skein/bundle/1");
/// The number of bundles that a host sends at the same time. More would only slow
/// down all of them; a host that gets `BUSY` asks another host, or asks again.
const SENT_AT_ONCE_MAX: usize = 8;
/// The number of these that may go to one host, which fetches one bundle for each group that it is in.
const SENT_TO_HOST_MAX: usize = 2;
/// A transfer ends if one side sends no byte, or takes none, for this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the request to arrive; its forty bytes come in one piece.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// A receiver that takes fewer bytes per second, on average, is cut off: it
/// occupies a place that others wait for.
const BYTES_A_SECOND_MIN: u64 = 32 * 1024;
/// The speed below which a source is left for another one: 512 KiB a second, so that a bundle
/// of one GiB takes at most half an hour. Most networks give a hundred times that.
const GOOD_SPEED: Speed = Speed { bytes: 10 * 512 * 1024, within: Duration::from_secs(10) };
/// The speed below which a source is left even if no source was that fast. A source requires
/// the same speed of the host that it serves.
const LEAST_SPEED: Speed = Speed { bytes: 30 * BYTES_A_SECOND_MIN, within: Duration::from_secs(30) };
/// The size of the buffer of each transfer, on each side.
const BUFFER_BYTES: usize = 64 * 1024;
/// The number of times that busy sources are asked; `NEXT_ROUND_AFTER` is the time between.
const ROUNDS_MAX: u32 = 240;
const NEXT_ROUND_AFTER: Duration = Duration::from_millis(250);

const HAVE: u8 = 0;
const MISSING: u8 = 1;
const BUSY: u8 = 2;

/// The reason why a bundle could not be fetched from a host. The part file keeps
/// what was received, unless the digest was wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("cannot ask {host} for bundle {digest:?}")]
    Open {
        host: HostId,
        digest: Digest,
        #[source]
        cause: OpenError,
    },
    #[error("{host} does not have bundle {digest:?}")]
    Missing { host: HostId, digest: Digest },
    #[error("{host} is sending bundles to too many others")]
    Busy { host: HostId },
    #[error("{host} has {told} bytes as bundle {digest:?}, which has {size}")]
    Size { host: HostId, digest: Digest, told: u64, size: u64 },
    #[error("{host} stopped sending bundle {digest:?} after {received} of {size} bytes")]
    Cut {
        host: HostId,
        digest: Digest,
        received: u64,
        size: u64,
        #[source]
        cause: io::Error,
    },
    #[error(
        "{host} sends bundle {digest:?} too slowly: less than {} KiB in {} s, with {received} of {size} bytes here",
        least.bytes / 1024, least.within.as_secs()
    )]
    TooSlow { host: HostId, digest: Digest, received: u64, size: u64, least: Speed },
    #[error("what {host} sent is not bundle {digest:?}: discarded")]
    WrongDigest { host: HostId, digest: Digest, resumed: bool },
    #[error("cannot fetch bundle {digest:?}: {full}")]
    NoRoom { digest: Digest, full: DiskFull },
    #[error("cannot write {}", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} is being fetched already", path.display())]
    InProgress { path: PathBuf },
}

/// No host gave the bundle. `failures` has the reason for each.
#[derive(Debug, thiserror::Error)]
#[error("no host could send bundle {digest:?}: {}", reasons(failures))]
pub(crate) struct NoSource {
    pub(crate) digest: Digest,
    pub(crate) failures: Vec<FetchError>,
}

fn reasons(failures: &[FetchError]) -> String {
    if failures.is_empty() {
        return "no host is known to have it".into();
    }
    failures.iter().map(|failure| chain(failure)).collect::<Vec<_>>().join("; ")
}

/// A speed: this many bytes within each span of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speed {
    bytes: u64,
    within: Duration,
}

/// Measures a sender against a speed, window by window: a single byte now and then
/// would satisfy a limit on silence for days.
struct Pace {
    least: Speed,
    began: Instant,
    bytes: u64,
}

impl Pace {
    fn of(least: Speed, now: Instant) -> Self {
        Pace { least, began: now, bytes: 0 }
    }

    /// Takes note of bytes that came; returns true if they come fast enough.
    fn note(&mut self, bytes: usize, now: Instant) -> bool {
        self.bytes += bytes as u64;
        if now.saturating_duration_since(self.began) < self.least.within {
            return true;
        }
        let is_kept = self.bytes >= self.least.bytes;
        *self = Pace::of(self.least, now);
        is_kept
    }
}

/// Sends bundles to the hosts that ask, until the transport stops. `path_of` returns the path
/// of a bundle if this host has it.
pub(crate) fn serve(
    handle: &Handle,
    path_of: impl Fn(&Digest) -> PathBuf + Send + Sync + 'static,
) -> Result<(), AcceptedElsewhere> {
    let mut incoming = handle.accept(PROTOCOL)?;
    let shares = Arc::new(Shares::new(SENT_AT_ONCE_MAX, SENT_TO_HOST_MAX));
    let path_of = Arc::new(path_of);
    tokio::spawn(async move {
        while let Some((host, mut stream)) = incoming.next().await {
            let (shares, path_of) = (shares.clone(), path_of.clone());
            // Use a task for each request, so that a slow host does not delay others.
            tokio::spawn(async move {
                let Some((digest, offset)) = read_request(&mut stream).await else { return };
                let sent = match shares.try_take(host) {
                    Some(_share) => send(&mut stream, &path_of(&digest), offset).await,
                    None => answer(&mut stream, BUSY, 0).await,
                };
                match sent.and(stream.close().await) {
                    Ok(()) => tracing::debug!(%host, %digest, offset, "bundle sent"),
                    Err(cause) => tracing::debug!(%host, %digest, offset, %cause, "bundle not sent"),
                }
            });
        }
    });
    Ok(())
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(Digest, u64)> {
    let mut request = [0; 40];
    timeout(REQUEST_TIMEOUT, stream.read_exact(&mut request)).await.ok()?.ok()?;
    let (digest, offset) = request.split_first_chunk::<32>()?;
    Some((Digest(*digest), u64::from_be_bytes(offset.try_into().ok()?)))
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), status: u8, size: u64) -> io::Result<()> {
    let mut answer = vec![status];
    answer.extend_from_slice(&size.to_be_bytes());
    timeout(IDLE_TIMEOUT, stream.write_all(&answer)).await??;
    stream.flush().await
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), path: &Path, offset: u64) -> io::Result<()> {
    let mut file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(cause) => {
            if cause.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %cause, "cannot read a bundle that another host asks for");
            }
            return answer(stream, MISSING, 0).await;
        }
    };
    let size = file.metadata().await?.len();
    answer(stream, HAVE, size).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    let at_most = IDLE_TIMEOUT + Duration::from_secs(size.saturating_sub(offset) / BYTES_A_SECOND_MIN);
    timeout(at_most, copy(&mut file, stream)).await?
}

async fn copy(file: &mut tokio::fs::File, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            return stream.flush().await;
        }
        timeout(IDLE_TIMEOUT, stream.write_all(&buffer[..read])).await??;
    }
}

/// The bundle that is fetched.
#[derive(Clone, Copy)]
struct Wanted {
    digest: Digest,
    size: u64,
}

/// Fetches a bundle from the host into the file `part`, and continues where that file ends. On
/// success, the file holds the whole bundle, verified and on stable storage.
async fn fetch(
    handle: &Handle,
    from: HostId,
    wanted: Wanted,
    part: &Path,
    least: Speed,
) -> Result<(), FetchError> {
    let Wanted { digest, size } = wanted;
    let mut part = Part::open(part, size).await?;
    part.make_sure_of_room(digest, size)?;
    let resumed = part.bytes > 0;
    if part.bytes < size {
        receive(handle, from, wanted, &mut part, least).await?;
    }
    if part.hasher.finalize() != blake3::Hash::from_bytes(digest.0) {
        part.discard()?;
        return Err(FetchError::WrongDigest { host: from, digest, resumed });
    }
    part.file.sync_all().await.map_err(|cause| part.failed(cause))
}

async fn receive(
    handle: &Handle,
    host: HostId,
    Wanted { digest, size }: Wanted,
    part: &mut Part,
    least: Speed,
) -> Result<(), FetchError> {
    let opened = handle.open(host, PROTOCOL).await;
    let mut stream = opened.map_err(|cause| FetchError::Open { host, digest, cause })?;
    let cut = |received, cause| FetchError::Cut { host, digest, received, size, cause };
    let (status, told) =
        ask(&mut stream, digest, part.bytes).await.map_err(|cause| cut(part.bytes, cause))?;
    match status {
        HAVE if told == size => {}
        HAVE => return Err(FetchError::Size { host, digest, told, size }),
        MISSING => return Err(FetchError::Missing { host, digest }),
        BUSY => return Err(FetchError::Busy { host }),
        _ => return Err(cut(part.bytes, io::ErrorKind::InvalidData.into())),
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut pace = Pace::of(least, Instant::now());
    while part.bytes < size {
        let wanted = buffer.len().min(usize::try_from(size - part.bytes).unwrap_or(BUFFER_BYTES));
        let read = timeout(IDLE_TIMEOUT, stream.read(&mut buffer[..wanted])).await;
        match read.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(0) => return Err(cut(part.finish().await?, io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                part.append(&buffer[..read]).await?;
                if !pace.note(read, Instant::now()) && part.bytes < size {
                    let received = part.finish().await?;
                    return Err(FetchError::TooSlow { host, digest, received, size, least });
                }
            }
            Err(cause) => return Err(cut(part.finish().await?, cause)),
        }
    }
    part.finish().await?;
    Ok(())
}

async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    digest: Digest,
    offset: u64,
) -> io::Result<(u8, u64)> {
    let asked = async {
        stream.write_all(&[&digest.0[..], &offset.to_be_bytes()].concat()).await?;
        stream.flush().await?;
        let (mut status, mut size) = ([0], [0; 8]);
        stream.read_exact(&mut status).await?;
        stream.read_exact(&mut size).await?;
        Ok((status[0], u64::from_be_bytes(size)))
    };
    timeout(IDLE_TIMEOUT, asked).await?
}

/// Fetches a bundle from the first of the hosts that gives it. Asks them in order, and
/// again while one of them is only busy, or all are slow. Returns the host that gave it.
pub(crate) async fn fetch_from_any(
    handle: &Handle,
    sources: &[HostId],
    digest: Digest,
    size: u64,
    part: &Path,
) -> Result<HostId, NoSource> {
    fetch_at(handle, sources, Wanted { digest, size }, part, [GOOD_SPEED, LEAST_SPEED]).await
}

/// Fetches a bundle from the sources. In the first round, one that is slower than `good` is
/// left for the next.
async fn fetch_at(
    handle: &Handle,
    sources: &[HostId],
    wanted: Wanted,
    part: &Path,
    [good, least]: [Speed; 2],
) -> Result<HostId, NoSource> {
    let digest = wanted.digest;
    let mut failures = Vec::new();
    for round in 0..ROUNDS_MAX {
        let asked = if round == 0 && sources.len() > 1 { good } else { least };
        failures.clear();
        for &host in sources {
            let mut fetched = fetch(handle, host, wanted, part, asked).await;
            if let Err(FetchError::WrongDigest { resumed: true, .. }) = fetched {
                // The beginning may have come from another host.
                fetched = fetch(handle, host, wanted, part, asked).await;
            }
            match fetched {
                Ok(()) => return Ok(host),
                Err(
                    failure @ (FetchError::Disk { .. }
                    | FetchError::NoRoom { .. }
                    | FetchError::InProgress { .. }),
                ) => {
                    return Err(NoSource { digest, failures: vec![failure] });
                }
                Err(
                    failure @ (FetchError::Open { .. }
                    | FetchError::Missing { .. }
                    | FetchError::Busy { .. }
                    | FetchError::Size { .. }
                    | FetchError::Cut { .. }
                    | FetchError::TooSlow { .. }
                    | FetchError::WrongDigest { .. }),
                ) => {
                    tracing::debug!(%digest, failure = chain(&failure), "bundle not fetched from this host");
                    failures.push(failure);
                }
            }
        }
        let may_give = |failure: &FetchError| match failure {
            FetchError::Busy { .. } => true,
            FetchError::TooSlow { least: missed, .. } => *missed != least,
            FetchError::Open { .. }
            | FetchError::Missing { .. }
            | FetchError::Size { .. }
            | FetchError::Cut { .. }
            | FetchError::WrongDigest { .. }
            | FetchError::NoRoom { .. }
            | FetchError::Disk { .. }
            | FetchError::InProgress { .. } => false,
        };
        if !failures.iter().any(may_give) {
            break;
        }
        tokio::time::sleep(NEXT_ROUND_AFTER.mul_f64(rand::random_range(0.5..1.5))).await;
    }
    Err(NoSource { digest, failures })
}

/// A file that grows into a bundle.
struct Part {
    path: PathBuf,
    file: tokio::fs::File,
    bytes: u64,
    /// The hash of all bytes so far.
    hasher: blake3::Hasher,
}

impl Part {
    async fn open(path: &Path, size: u64) -> Result<Self, FetchError> {
        let whole = path.to_owned();
        // The join fails only if the agent is stopping.
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&whole, size)).await;
        let path = path.to_owned();
        match opened {
            Ok(opened) => opened.map_err(|cause| match cause {
                TryLockError::WouldBlock => FetchError::InProgress { path },
                TryLockError::Error(cause) => FetchError::Disk { path, cause },
            }),
            Err(cause) => Err(FetchError::Disk { path, cause: cause.into() }),
        }
    }

    fn open_now(path: &Path, size: u64) -> Result<Self, TryLockError> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path);
        let mut file = file.map_err(TryLockError::Error)?;
        // Two fetches at once would mix their bytes.
        file.try_lock()?;
        let (bytes, hasher) = hash_of(&mut file, size).map_err(TryLockError::Error)?;
        Ok(Part { path: path.to_owned(), file: tokio::fs::File::from_std(file), bytes, hasher })
    }

    /// Fails if the bundle would fill the disk, which would stop everything else on this host, too.
    fn make_sure_of_room(&self, digest: Digest, size: u64) -> Result<(), FetchError> {
        let needed = size.saturating_sub(self.bytes);
        if needed == 0 {
            return Ok(());
        }
        let dir = self.path.parent().unwrap_or(Path::new("."));
        require_room(dir, needed).map_err(|full| FetchError::NoRoom { digest, full })
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(bytes).await.map_err(|cause| self.failed(cause))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Waits until everything appended is in the file; returns its size in bytes.
    async fn finish(&mut self) -> Result<u64, FetchError> {
        self.file.flush().await.map_err(|cause| self.failed(cause))?;
        Ok(self.bytes)
    }

    fn discard(self) -> Result<(), FetchError> {
        std::fs::remove_file(&self.path).map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: io::Error) -> FetchError {
        FetchError::Disk { path: self.path.clone(), cause }
    }
}

/// Hashes the bytes that are there already. A file longer than the bundle cannot
/// be part of it, so it is truncated to nothing.
fn hash_of(file: &mut File, size: u64) -> io::Result<(u64, blake3::Hasher)> {
    if file.metadata()?.len() > size {
        file.set_len(0)?;
    }
    let (mut bytes, mut hasher, mut buffer) = (0, blake3::Hasher::new(), vec![0; BUFFER_BYTES]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hasher));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

#[cfg(test)]
mod tests;
