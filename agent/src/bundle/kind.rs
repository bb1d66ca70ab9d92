//! Recognizes the kind of an archive by its first bytes. Names can be wrong, and
//! the official agent's tar looks at the bytes, too.

use std::fmt;
use std::io::{self, Read};

/// The kinds of archives that can be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tar,
    TarGz,
    TarZst,
    Zip,
}

impl Kind {
    /// Reads the start of the file and seeks back to it.
    pub(crate) fn of_file(file: &mut (impl Read + io::Seek)) -> io::Result<Option<Kind>> {
        let mut head = Vec::with_capacity(TAR_BLOCK);
        file.by_ref().take(TAR_BLOCK as u64).read_to_end(&mut head)?;
        file.rewind()?;
        Ok(Kind::of(&head))
    }

    fn of(head: &[u8]) -> Option<Kind> {
        if head.starts_with(&[0x1f, 0x8b]) {
            Some(Kind::TarGz)
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Kind::TarZst)
        } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Some(Kind::Zip)
        } else {
            is_tar(head).then_some(Kind::Tar)
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Tar => "a tar archive",
            Kind::TarGz => "a tar.gz archive",
            Kind::TarZst => "a tar.zst archive",
            Kind::Zip => "a zip archive",
        })
    }
}

const TAR_BLOCK: usize = 512;

/// Returns true if the block is a tar header. The oldest tars have no magic
/// number, but all have a checksum of their header.
fn is_tar(head: &[u8]) -> bool {
    let Ok(block) = <&[u8; TAR_BLOCK]>::try_from(head) else { return false };
    let told = std::str::from_utf8(&block[148..156]).unwrap_or_default();
    let told = u32::from_str_radix(told.trim_matches(['\0', ' ']), 8);
    let own = 148..156;
    let sum =
        block.iter().enumerate().map(|(at, byte)| if own.contains(&at) { 32 } else { u32::from(*byte) });
    told == Ok(sum.sum())
}
