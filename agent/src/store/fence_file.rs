//! The file beside the store that holds its fence: see `proto::node::Fence`.
//!
//! The file has two slots of a fixed size, written in turn and in place. So a write that is torn by
//! a power loss leaves the previous one readable, and a write costs one fdatasync of one block. The
//! file also identifies itself by its inode and its time of birth: a copied data directory, or one
//! restored from a backup, has a fence that is as old as the store and would wrongly vouch for it.

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use proto::node::Fence;

/// The size of a slot: large enough that each has its own sector on every disk.
const SLOT_BYTES: usize = 4096;
const SLOTS: u64 = 2;
/// The beginning of a slot; a later format increases the number.
const MAGIC: &[u8; 16] = b"skein-fence-1\n\0\0";
const CHECKSUM_BYTES: usize = 32;
const RECORD_BYTES: usize = MAGIC.len() + 3 * 8 + Fence::BYTES + CHECKSUM_BYTES;

/// An open fence file.
#[derive(Debug)]
pub(crate) struct FenceFile {
    file: File,
    identity: Identity,
    sequence: u64,
    /// The last fence written.
    fence: Fence,
}

/// The identity that distinguishes a file from its copy. A birth time of zero is
/// unknown: some file systems record none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    inode: u64,
    born_nanos: u64,
}

/// The reason why no fence is known by which to judge a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoFence {
    #[error("the file beside the store that says how much it held is missing")]
    Missing,
    #[error("the file beside the store that says how much it held is damaged")]
    Damaged,
    /// The fence was written to another file than this one.
    #[error(
        "its data directory was copied, or restored from a backup, and may be older than what was promised"
    )]
    Copied,
}

/// Returns the path of the fence of the store at `path`.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".fence");
    PathBuf::from(name)
}

impl FenceFile {
    /// Creates a new file unless one exists. The file is on stable storage when this returns.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let mut new = tempfile::NamedTempFile::new_in(directory)?;
        new.write_all(&[0; SLOT_BYTES * SLOTS as usize])?;
        let identity = Identity::of(&new.as_file().metadata()?);
        let record = encode(identity, 0, Fence::default());
        new.as_file().write_all_at(&record, 0)?;
        new.as_file().sync_all()?;
        let file = new.persist_noclobber(path).map_err(|failed| failed.error)?;
        File::open(directory)?.sync_all()?;
        Ok(FenceFile { file, identity, sequence: 0, fence: Fence::default() })
    }

    /// Opens the file at `path` and checks its content.
    pub(crate) fn open(path: &Path) -> io::Result<Result<Self, NoFence>> {
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Err(NoFence::Missing)),
            Err(cause) => return Err(cause),
        };
        let identity = Identity::of(&file.metadata()?);
        let slots = (0..SLOTS).filter_map(|slot| read_slot(&file, slot)).collect::<Vec<_>>();
        let Some(newest) = slots.into_iter().max_by_key(|slot| slot.sequence) else {
            return Ok(Err(NoFence::Damaged));
        };
        if !newest.identity.is_same(identity) {
            return Ok(Err(NoFence::Copied));
        }
        let Slot { sequence, fence, identity: _ } = newest;
        Ok(Ok(FenceFile { file, identity, sequence, fence }))
    }

    pub(crate) fn fence(&self) -> Fence {
        self.fence
    }

    /// Replaces the fence. It is on stable storage when this returns.
    pub(crate) fn write(&mut self, fence: Fence) -> io::Result<()> {
        if fence == self.fence {
            return Ok(());
        }
        let sequence = self.sequence + 1;
        let record = encode(self.identity, sequence, fence);
        self.file.write_all_at(&record, place(sequence % SLOTS))?;
        self.file.sync_data()?;
        (self.sequence, self.fence) = (sequence, fence);
        Ok(())
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
        let born_nanos = born.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0);
        Identity { inode: metadata.ino(), born_nanos }
    }

    fn is_same(self, other: Self) -> bool {
        let is_unknown = self.born_nanos == 0 || other.born_nanos == 0;
        self.inode == other.inode && (is_unknown || self.born_nanos == other.born_nanos)
    }
}

/// The content of a slot.
struct Slot {
    identity: Identity,
    sequence: u64,
    fence: Fence,
}

fn place(slot: u64) -> u64 {
    slot * SLOT_BYTES as u64
}

fn encode(identity: Identity, sequence: u64, fence: Fence) -> Vec<u8> {
    let mut record = MAGIC.to_vec();
    for number in [identity.inode, identity.born_nanos, sequence] {
        record.extend_from_slice(&number.to_be_bytes());
    }
    record.extend_from_slice(&fence.to_bytes());
    let checksum = blake3::hash(&record);
    record.extend_from_slice(checksum.as_bytes());
    record
}

/// Reads a slot; `None` if it was never written, or not completely.
fn read_slot(file: &File, slot: u64) -> Option<Slot> {
    let mut record = [0; RECORD_BYTES];
    file.read_exact_at(&mut record, place(slot)).ok()?;
    let (body, checksum) = record.split_last_chunk::<CHECKSUM_BYTES>()?;
    if blake3::hash(body) != *checksum {
        return None;
    }
    let (numbers, fence) = body.strip_prefix(MAGIC)?.split_last_chunk::<{ Fence::BYTES }>()?;
    let number = |at: usize| Some(u64::from_be_bytes(numbers.get(8 * at..8 * at + 8)?.try_into().ok()?));
    let identity = Identity { inode: number(0)?, born_nanos: number(1)? };
    Some(Slot { identity, sequence: number(2)?, fence: Fence::from_bytes(*fence) })
}

#[cfg(test)]
mod tests;
