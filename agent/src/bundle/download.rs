//! From a remote into the cache: one stream at a time, straight to the disk.
//!
//! A connection that is cut goes on at the byte reached if the server promises
//! that the bytes are still the same, and else from the start. What never
//! becomes whole leaves nothing behind.

use std::time::Duration;

use bytes::Bytes;
use proto::id::Digest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::cache::{Cache, CacheError, DiskFull, Incoming, require_room};
use super::progress::Progress;
use super::remote::{Again, OpenError, Opened, Remote, Resume, SILENCE_MAX};
use crate::telemetry::chain;

/// Tries in a row that together brought less than [`PROGRESS_MIN`].
const TRIES_MAX: u32 = 6;
/// Bytes that were not here before, after which tries are counted anew: so
/// a download has at most a stream for every so many bytes, and a few more.
const PROGRESS_MIN: u64 = 1024 * 1024;
/// Before the second try; each further one waits twice as long. With all tries
/// that is half a minute, where the official agent waits 130 seconds.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// However often it is doubled.
const WAIT_MAX: Duration = Duration::from_secs(16);
/// A server that asks for more patience is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);
/// The largest archive that is downloaded, unless the agent's file says
/// otherwise.
pub(crate) const BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Pieces that wait for the disk; each is what one read brought, at most some
/// hundred kilobytes.
const PIECES_MAX: usize = 16;

/// Why a bundle did not come.
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

/// Why one try was not the last.
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

/// One download.
pub(super) struct Download<'d> {
    pub(super) cache: &'d Cache,
    pub(super) bytes_max: u64,
    pub(super) progress: &'d Progress,
}

/// How far it is.
#[derive(Default)]
struct Reached {
    bytes: u64,
    tag: Option<String>,
    total: Option<u64>,
    /// The furthest byte of all tries.
    furthest: u64,
}

enum Ended {
    Whole,
    Troubled(Trouble),
}

impl Download<'_> {
    /// # Errors
    /// See [`DownloadError`]; the cache holds nothing new then, and neither if
    /// this is dropped.
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
                // What there is now may be something else: ask for all of it.
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

    /// Before a byte is asked for that could not be kept.
    pub(super) fn require_room(&self, total: Option<u64>) -> Result<(), DownloadError> {
        let needed = total.unwrap_or(0);
        if needed > self.bytes_max {
            return Err(DownloadError::TooLarge { size: total, max: self.bytes_max });
        }
        Ok(require_room(self.cache.dir(), needed)?)
    }
}

/// Whether the server said no more than that it has no time.
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
    /// Why and how long, for whoever waits.
    said: String,
}

/// How long to wait after the `tries`th try in a row without progress.
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
    // Between half and all of it, so that hosts do not come back in step.
    let jittered = doubled.mul_f64(rand::random_range(0.5..=1.0));
    let time = asked.max(jittered);
    let said =
        format!("{}; trying again in {:.1} s ({tries} of {TRIES_MAX})", chain(&trouble), time.as_secs_f64());
    Ok(Pause { time, said })
}

pub(super) enum Piece {
    /// All that came before is void.
    Restart,
    Bytes(Bytes),
    End,
}

/// Writes and hashes on a thread of its own, so that neither waits for the
/// network nor holds it up.
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
            // Nobody waits for it any more.
            Ok(None)
        });
        Writer { pieces, thread }
    }

    pub(super) async fn put(&mut self, piece: Piece) -> Result<(), DownloadError> {
        match self.pieces.send(piece).await {
            Ok(()) => Ok(()),
            // It has ended before its time, and says why.
            Err(_) => Err(self.end().await.err().unwrap_or(DownloadError::NoArchive)),
        }
    }

    pub(super) async fn finish(mut self) -> Result<(Digest, u64), DownloadError> {
        self.put(Piece::End).await?;
        self.end().await?.ok_or(DownloadError::NoArchive)
    }

    /// Forgets what was written, and returns once nothing of it is left.
    pub(super) async fn abandon(self) {
        drop(self.pieces);
        // It has failed already, or was told to forget all.
        let _ = self.thread.await;
    }

    async fn end(&mut self) -> Result<Option<(Digest, u64)>, DownloadError> {
        (&mut self.thread).await.map_err(DownloadError::Writer)?
    }
}

#[cfg(test)]
mod tests;
