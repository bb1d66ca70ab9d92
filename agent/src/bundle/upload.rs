//! Takes an archive from a client into the cache: the bytes go directly to disk as they arrive.
//!
//! The agent is root on most hosts, but users of its socket may not read every
//! file there. So the client reads its files itself, with its own rights, and
//! sends the bytes; the agent opens no path that a client names.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use proto::id::Digest;

use super::cache::Cache;
use super::download::{Download, DownloadError, Piece, Writer};
use super::transfer_progress::Progress;

/// The upload is given up if the client sends nothing for this long. It is longer than reading
/// and compressing a piece of any file takes; a pipe that a person types into is not waited for.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The number of bytes between two checks of the free space, where the size is not known.
const ROOM_LOOKED_AT_EVERY: u64 = 64 * 1024 * 1024;
/// The number of uploads at the same time: more would only slow down all of them.
pub(super) const AT_ONCE_MAX: usize = 4;

/// An archive that a client sends.
pub(crate) struct Upload {
    /// The client's source of it, for people.
    pub(crate) origin: String,
    /// The size in bytes; `None` if the client does not say.
    pub(crate) total: Option<u64>,
    pub(crate) bytes: BoxStream<'static, Result<Bytes, String>>,
}

/// The reason why an upload failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error(
        "it is larger than the {max} bytes that this agent takes: bytes_max under [sources] in agent.toml says how \
         many"
    )]
    TooLarge { max: u64 },
    #[error("nothing came for {seconds} seconds, after {bytes} bytes")]
    Silent { bytes: u64, seconds: u64 },
    #[error("was cut after {bytes} bytes: {cause}")]
    Cut { bytes: u64, cause: String },
    #[error("{AT_ONCE_MAX} bundles are being sent to this agent already: try again when one is through")]
    Busy,
    #[error(transparent)]
    Kept(#[from] DownloadError),
}

/// Takes the whole upload into the cache.
/// # Errors
/// See [`UploadError`]. On an error, or if the future is dropped, the cache holds nothing new.
pub(super) async fn take(
    cache: &Cache,
    bytes_max: u64,
    silence_max: Duration,
    upload: &mut Upload,
) -> Result<(Digest, u64), UploadError> {
    if upload.total.is_some_and(|total| total > bytes_max) {
        return Err(UploadError::TooLarge { max: bytes_max });
    }
    let progress = Progress::unheard();
    let kept = Download { cache, bytes_max, progress: &progress };
    kept.require_room(upload.total)?;
    let mut writer = Writer::start(cache.incoming().map_err(DownloadError::from)?);
    match receive(&kept, silence_max, upload, &mut writer).await {
        Ok(()) => Ok(writer.finish().await?),
        Err(error) => {
            writer.abandon().await;
            Err(error)
        }
    }
}

async fn receive(
    kept: &Download<'_>,
    silence_max: Duration,
    upload: &mut Upload,
    writer: &mut Writer,
) -> Result<(), UploadError> {
    let (mut bytes, mut looked_at) = (0, 0);
    loop {
        let next = tokio::time::timeout(silence_max, upload.bytes.next()).await;
        let piece = match next.map_err(|_| UploadError::Silent { bytes, seconds: silence_max.as_secs() })? {
            Some(Ok(piece)) => piece,
            Some(Err(cause)) => return Err(UploadError::Cut { bytes, cause }),
            None => return Ok(()),
        };
        bytes += piece.len() as u64;
        if bytes > kept.bytes_max {
            return Err(UploadError::TooLarge { max: kept.bytes_max });
        }
        if bytes - looked_at > ROOM_LOOKED_AT_EVERY {
            looked_at = bytes;
            kept.require_room(None)?;
        }
        writer.put(Piece::Bytes(piece)).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends the pieces, and checks the result, and that only a whole bundle
    /// leaves something in the cache.
    async fn check(total: Option<u64>, pieces: Vec<Result<&[u8], &str>>, expected: Result<u64, &str>) {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(dir.path()).expect("a cache");
        let pieces: Vec<Result<Bytes, String>> = pieces
            .into_iter()
            .map(|piece| piece.map(Bytes::copy_from_slice).map_err(ToString::to_string))
            .collect();
        let bytes = futures::stream::iter(pieces).boxed();
        let mut upload = Upload { origin: "/x".into(), total, bytes };
        let taken = take(&cache, 64, SILENCE_MAX, &mut upload).await;
        match (taken, expected) {
            (Ok((digest, size)), Ok(wanted)) => {
                assert_eq!((size, cache.size(&digest)), (wanted, Some(wanted)));
            }
            (Err(error), Err(words)) => {
                assert!(error.to_string().contains(words), "`{error}` does not say `{words}`");
                assert_eq!(std::fs::read_dir(dir.path()).expect("the cache").count(), 0);
            }
            (taken, expected) => panic!("{taken:?} is not {expected:?}"),
        }
    }

    const ZIP: &[u8] = b"PK\x05\x06 and so on";

    #[tokio::test]
    async fn an_archive_is_taken_as_it_comes_and_nothing_else_is_kept() {
        check(None, vec![Ok(&ZIP[..3]), Ok(&ZIP[3..])], Ok(14)).await;
        check(Some(14), vec![Ok(ZIP)], Ok(14)).await;
        check(None, vec![Ok(b"no archive")], Err("neither a zip")).await;
        check(None, vec![], Err("neither a zip")).await;
        check(None, vec![Ok(ZIP), Err("the file became shorter")], Err("after 14 bytes: the file became"))
            .await;
        check(Some(65), vec![Ok(ZIP)], Err("larger than the 64 bytes")).await;
        check(None, vec![Ok(ZIP), Ok(&[0; 60])], Err("larger than the 64 bytes")).await;
    }

    #[tokio::test]
    async fn a_client_that_falls_silent_is_given_up() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(dir.path()).expect("a cache");
        let silent = futures::stream::iter([Ok(Bytes::from_static(ZIP))]).chain(futures::stream::pending());
        let mut upload = Upload { origin: "/x".into(), total: None, bytes: silent.boxed() };
        let given_up = take(&cache, 64, Duration::from_millis(10), &mut upload).await;
        assert!(matches!(given_up, Err(UploadError::Silent { bytes: 14, seconds: 0 })), "{given_up:?}");
    }
}
