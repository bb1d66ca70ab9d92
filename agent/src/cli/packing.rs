//! A bundle on this machine, being sent to the agent. It is read with the rights
//! of the user who typed the command.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Session, progress_meter};
use crate::api::{ORIGIN, RevisionView};
use crate::bundle::source::{KINDS, NotASource, Source};
use crate::bundle::transfer_progress::Progress;
use crate::bundle::{AcquireError, Kind, pack};
use crate::client::Pieces;
use crate::percent::encoded;
use crate::regular_file;
use crate::telemetry::chain;

/// The size of a piece, and `PIECES_MAX`, the number that may wait: two megabytes of memory in
/// all, however large the bundle is.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_MAX: usize = 32;

/// The place of a bundle.
pub(super) enum Place {
    /// A directory or an archive on this host.
    Here(PathBuf),
    /// A source that the agent fetches itself.
    Elsewhere(String),
}

impl Place {
    /// Determines the place that a SOURCE means, before any request is sent.
    pub(super) fn of(source: &str) -> anyhow::Result<Place> {
        let path = match source.parse().map_err(|error: NotASource| anyhow::anyhow!(chain(&error)))? {
            Source::Path(path) => path,
            Source::Cached(_) | Source::Origin(_) | Source::Web(_) => {
                return Ok(Place::Elsewhere(source.to_owned()));
            }
        };
        if !path.exists() {
            bail!("there is no `{source}`: {KINDS}");
        }
        let path = std::path::absolute(path).context("cannot find the current directory")?;
        match path.to_str() {
            Some(_) => Ok(Place::Here(path)),
            None => {
                bail!("the path {} is not UTF-8: give the bundle another name", path.to_string_lossy())
            }
        }
    }
}

/// Packs and sends the bundle, and shows the progress.
pub(super) async fn send(session: &Session, path: &Path) -> anyhow::Result<RevisionView> {
    let bundle = Bundle::open(path)?;
    let size = bundle.size();
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    progress_meter::shown(&session.screen, async |progress| {
        progress.tell(|far| {
            far.source = bundle.path.display().to_string();
            far.total = size;
        });
        let out = Out { sender, piece: Vec::with_capacity(PIECE_BYTES), progress: progress.clone() };
        let reading = tokio::task::spawn_blocking(move || bundle.read(out));
        let sent = ask(session, path, pieces, size).await;
        let read = reading.await.context("the part that reads the bundle failed")?;
        progress.tell(|far| far.is_over = true);
        read?;
        sent
    })
    .await
}

async fn ask(
    session: &Session,
    path: &Path,
    pieces: Pieces,
    size: Option<u64>,
) -> anyhow::Result<RevisionView> {
    let to = format!("/v1/bundles?{ORIGIN}={}", encoded(&path.display().to_string()));
    Ok(session.client.upload(&to, pieces, size).await?)
}

/// A bundle that is opened for reading.
struct Bundle {
    path: PathBuf,
    /// `None` if it is a directory.
    archive: Option<File>,
}

impl Bundle {
    fn open(path: &Path) -> Result<Bundle, AcquireError> {
        let read = |cause| AcquireError::Read { path: path.to_owned(), cause };
        if path.metadata().map_err(read)?.is_dir() {
            return Ok(Bundle { path: path.to_owned(), archive: None });
        }
        let mut file = regular_file::open(path).map_err(read)?;
        match Kind::of_file(&mut file).map_err(read)? {
            Some(_) => Ok(Bundle { path: path.to_owned(), archive: Some(file) }),
            None => Err(AcquireError::NoArchive { path: path.to_owned() }),
        }
    }

    fn size(&self) -> Option<u64> {
        self.archive.as_ref()?.metadata().ok().map(|metadata| metadata.len())
    }

    /// Reads the bundle into `out`. Blocks. If the agent stops reading, that is not an error
    /// here: its answer gives the reason.
    fn read(self, mut out: Out) -> Result<(), AcquireError> {
        let read = match self.archive {
            None => pack::pack(&self.path, &mut out)
                .map_err(|cause| AcquireError::Pack { path: self.path.clone(), cause }),
            Some(mut file) => copy(&mut file, &mut out)
                .map_err(|cause| AcquireError::Read { path: self.path.clone(), cause }),
        };
        let Err(error) = read else { return Ok(()) };
        if out.sender.is_closed() {
            return Ok(());
        }
        out.fail(&chain(&error));
        Err(error)
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut buffer)? {
            0 => return to.flush(),
            read => to.write_all(&buffer[..read])?,
        }
    }
}

/// Cuts the written bytes into pieces.
struct Out {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    progress: Progress,
}

impl Out {
    /// Aborts the request, so that the agent does not take a part for the whole.
    fn fail(&self, why: &str) {
        let _ = self.sender.blocking_send(Err(io::Error::other(why.to_owned())));
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let sent = piece.len() as u64;
        // The receiver is gone: the agent has answered, or has stopped.
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(Ok(piece.into())).map_err(gone)?;
        self.progress.tell(|far| far.bytes += sent);
        Ok(())
    }
}
