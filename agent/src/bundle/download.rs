//! Downloads from a remote into the cache: one stream at a time, directly to disk.
//!
//! After a cut connection, the download continues at the byte reached if the server promises by
//! a strong ETag that the bytes are unchanged, and otherwise starts again. The digest is not
//! known before the end, so nothing else could tell the halves of two different files apart. A
//! download that does not complete leaves nothing behind.

use std::time::Duration;

use bytes::Bytes;
use proto::id::Digest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::cache::{Cache, CacheError, DiskFull, Incoming, require_room};
use super::remote::{Again, OpenError, Opened, Remote, Resume, SILENCE_MAX};
use super::transfer_progress::Progress;
use crate::telemetry::chain;

/// The most tries in a row that together bring less than [`PROGRESS_MIN`].
const TRIES_MAX: u32 = 6;
/// The number of new bytes after which the count of tries starts again. So a
/// download opens at most one stream per this many bytes, and a few more.
const PROGRESS_MIN: u64 = 1024 * 1024;
/// The wait before the second try; each later wait is twice as long. All tries
/// take half a minute, where the official agent waits 130 seconds.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// The longest wait, however often it doubles.
const WAIT_MAX: Duration = Duration::from_secs(16);
/// The longest `Retry-After` that the download waits for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
/// The largest archive to download, in bytes, unless the agent's configuration file sets another limit.
pub(crate) const BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// The number of pieces that may wait for the disk. Each is the result of one
/// read, at most a few hundred kilobytes.
const PIECES_MAX: usize = 16;

/// The reason why a bundle could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("gave up after {tries} tries; the last")]
    GaveUp {
        tries: u32,
        #[source]
        cause: Box<Trouble>,
    },
    #[error("it asks to come again in {} seconds, and we wait {} at most", .asked.as_secs(), RETRY_AFTER_MAX.as_secs())]
    TooPatient {
        asked: Duration,
        #[source]
        cause: Box<Trouble>,
    },
    #[error(
        "it is larger than the {max} bytes that are downloaded{}: bytes_max of [sources] in agent.toml says how \
         many", .size.map(|size| format!(", {size}")).unwrap_or_default()
    )]
    TooLarge { size: Option<u64>, max: u64 },
    #[error(transparent)]
    NoRoom(#[from] DiskFull),
    #[error("it is neither a zip, tar, tar.gz nor tar.zst archive")]
    NoArchive,
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("the part that writes it failed")]
    Writer(#[source] tokio::task::JoinError),
}

/// The reason why a try failed, although another may succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    Open(OpenError),
    #[error("was cut after {bytes} bytes{}", .total.map(|total| format!(" of {total}")).unwrap_or_default())]
    Cut {
        bytes: u64,
        total: Option<u64>,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Trouble {
    fn again(&self) -> Again {
        match self {
            Trouble::Open(error) => error.again(),
            Trouble::Cut { .. } => Again::Later,
        }
    }
}

/// A download into the cache.
pub(super) struct Download<'d> {
    pub(super) cache: &'d Cache,
    pub(super) bytes_max: u64,
    pub(super) progress: &'d Progress,
}

/// The progress of a download.
#[derive(Default)]
struct Reached {
    bytes: u64,
    tag: Option<String>,
    total: Option<u64>,
    /// The furthest byte that any try reached.
    furthest: u64,
}

enum Ended {
    Whole,
    Troubled(Trouble),
}

impl Download<'_> {
    /// Downloads the bundle; returns its digest and its size in bytes.
    /// # Errors
    /// See [`DownloadError`]. On an error, or if the future is dropped, the cache holds nothing new.
    pub(super) async fn run(&self, mut remote: Remote) -> Result<(Digest, u64), DownloadError> {
        let mut writer = Writer::start(self.cache.incoming()?);
        let mut reached = Reached::default();
        let (mut tries, mut counted_from) = (0, 0);
        loop {
            let trouble = match self.attempt(&mut remote, &mut reached, &mut writer).await? {
                Ended::Whole => return writer.finish().await,
                Ended::Troubled(trouble) => trouble,
            };
            if reached.furthest - counted_from >= PROGRESS_MIN {
                (tries, counted_from) = (0, reached.furthest);
            }
            tries += 1;
            let wait = pause(tries, trouble)?;
            tracing::info!(bytes = reached.bytes, trouble = wait.said, "a download goes on later");
            self.progress.tell(|far| far.trouble = Some(wait.said));
            tokio::time::sleep(wait.time).await;
        }
    }

    async fn attempt(
        &self,
        remote: &mut Remote,
        reached: &mut Reached,
        writer: &mut Writer,
    ) -> Result<Ended, DownloadError> {
        let resume = reached.tag.clone().filter(|_| reached.bytes > 0);
        let resume = resume.map(|tag| Resume { byte: reached.bytes, tag });
        let opened = match remote.open(resume.as_ref()).await {
            Ok(opened) => opened,
            Err(error) if error.again() == Again::Never => return Err(error.into()),
            Err(error) => {
                // The remote may hold something else now, so request all of it.
                reached.tag = reached.tag.take().filter(|_| is_busy(&error));
                return Ok(Ended::Troubled(Trouble::Open(error)));
            }
        };
        let Opened { start, total, tag, mut body } = opened;
        let goes_on = start > 0 && start == reached.bytes && tag == reached.tag && total == reached.total;
        if start > 0 && !goes_on {
            reached.tag = None;
            let problem = "a part of something else than before";
            let error = OpenError::Odd { whom: "the server".into(), problem };
            return Ok(Ended::Troubled(Trouble::Open(error)));
        }
        if !goes_on {
            *reached = Reached { bytes: 0, tag, total, furthest: reached.furthest };
            self.require_room(total)?;
            writer.put(Piece::Restart).await?;
        }
        self.tell(reached);
        loop {
            let cut = |reached: &Reached, cause| {
                let (bytes, total) = (reached.bytes, reached.total);
                Ok(Ended::Troubled(Trouble::Cut { bytes, total, cause }))
            };
            let next = match tokio::time::timeout(SILENCE_MAX, body.next()).await {
                Ok(Ok(next)) => next,
                Ok(Err(cause)) => return cut(reached, cause),
                Err(_) => {
                    let silence = format!("nothing came for {} seconds", SILENCE_MAX.as_secs());
                    return cut(reached, silence.into());
                }
            };
            let Some(bytes) = next else {
                return match reached.total {
                    Some(total) if total != reached.bytes => cut(reached, "it ended too early".into()),
                    Some(_) | None => Ok(Ended::Whole),
                };
            };
            reached.bytes += bytes.len() as u64;
            reached.furthest = reached.furthest.max(reached.bytes);
            if reached.bytes > self.bytes_max {
                return Err(DownloadError::TooLarge { size: None, max: self.bytes_max });
            }
            writer.put(Piece::Bytes(bytes)).await?;
            self.tell(reached);
        }
    }

    fn tell(&self, reached: &Reached) {
        self.progress.tell(|far| {
            far.bytes = reached.bytes;
            far.total = reached.total;
            far.trouble = None;
        });
    }

    /// Fails if the archive is too large or has no room on disk, before any of its bytes is requested.
    pub(super) fn require_room(&self, total: Option<u64>) -> Result<(), DownloadError> {
        let needed = total.unwrap_or(0);
        if needed > self.bytes_max {
            return Err(DownloadError::TooLarge { size: total, max: self.bytes_max });
        }
        Ok(require_room(self.cache.dir(), needed)?)
    }
}

/// Returns true if the failure says only that the server is busy or out of reach,
/// so that its content may be unchanged.
fn is_busy(error: &OpenError) -> bool {
    match error {
        OpenError::Unreachable { .. } => true,
        OpenError::Status { status, .. } => !status.starts_with("412") && !status.starts_with("416"),
        OpenError::Refused { .. }
        | OpenError::WrongEtag { .. }
        | OpenError::NoCredentials { .. }
        | OpenError::Setting { .. }
        | OpenError::TokenFile { .. }
        | OpenError::Odd { .. } => false,
    }
}

struct Pause {
    time: Duration,
    /// The reason and the length of the pause, for people who wait.
    said: String,
}

/// Returns the wait after the `tries`th try in a row without progress.
fn pause(tries: u32, trouble: Trouble) -> Result<Pause, DownloadError> {
    let asked = match trouble.again() {
        Again::After(asked) => asked,
        Again::Later | Again::Never => Duration::ZERO,
    };
    if asked > RETRY_AFTER_MAX {
        return Err(DownloadError::TooPatient { asked, cause: Box::new(trouble) });
    }
    if tries >= TRIES_MAX {
        return Err(DownloadError::GaveUp { tries, cause: Box::new(trouble) });
    }
    let doubled = WAIT_FIRST.saturating_mul(1 << (tries - 1).min(16)).min(WAIT_MAX);
    // Wait between half and all of it, so that hosts do not retry in step.
    let jittered = doubled.mul_f64(rand::random_range(0.5..=1.0));
    let time = asked.max(jittered);
    let said =
        format!("{}; trying again in {:.1} s ({tries} of {TRIES_MAX})", chain(&trouble), time.as_secs_f64());
    Ok(Pause { time, said })
}

pub(super) enum Piece {
    /// Discards all earlier pieces.
    Restart,
    Bytes(Bytes),
    End,
}

/// Writes and hashes on a separate thread, so that the disk and the network do not wait for each other.
pub(super) struct Writer {
    pieces: mpsc::Sender<Piece>,
    thread: JoinHandle<Result<Option<(Digest, u64)>, DownloadError>>,
}

impl Writer {
    pub(super) fn start(mut incoming: Incoming) -> Writer {
        let (pieces, mut taken) = mpsc::channel(PIECES_MAX);
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(piece) = taken.blocking_recv() {
                match piece {
                    Piece::Restart => incoming.restart()?,
                    Piece::Bytes(bytes) => incoming.put(&bytes)?,
                    Piece::End if incoming.is_archive()? => return Ok(Some(incoming.keep()?)),
                    Piece::End => return Err(DownloadError::NoArchive),
                }
            }
            // The caller no longer waits for the result.
            Ok(None)
        });
        Writer { pieces, thread }
    }

    pub(super) async fn put(&mut self, piece: Piece) -> Result<(), DownloadError> {
        match self.pieces.send(piece).await {
            Ok(()) => Ok(()),
            // The thread has ended early; its result says why.
            Err(_) => Err(self.end().await.err().unwrap_or(DownloadError::NoArchive)),
        }
    }

    pub(super) async fn finish(mut self) -> Result<(Digest, u64), DownloadError> {
        self.put(Piece::End).await?;
        self.end().await?.ok_or(DownloadError::NoArchive)
    }

    /// Discards what was written, and returns once nothing of it is left on disk.
    pub(super) async fn abandon(self) {
        drop(self.pieces);
        // The thread has failed already, or discarded everything as requested.
        let _ = self.thread.await;
    }

    async fn end(&mut self) -> Result<Option<(Digest, u64)>, DownloadError> {
        (&mut self.thread).await.map_err(DownloadError::Writer)?
    }
}

#[cfg(test)]
mod tests;
