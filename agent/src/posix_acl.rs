//! POSIX access control lists, in the kernel's attribute format: so no tool needs
//! to be called, and nothing quoted for a shell.

use std::ffi::CStr;
use std::fs::File;
use std::io;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The attribute with the list of a file or directory.
pub(crate) const ACCESS: &CStr = c"system.posix_acl_access";

/// The subject of an entry. The values are the kernel's, by which it sorts its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub(crate) enum Tag {
    Owner = 1,
    User = 2,
    OwningGroup = 4,
    Group = 8,
    Mask = 16,
    Other = 32,
}

/// An entry: its subject, the id of a named user or group, and the permission bits.
pub(crate) type Row = (Tag, Option<u32>, u8);

/// Encodes the list in the kernel's format: a version, then tag, bits and id of each entry.
pub(crate) fn encode(rows: &[Row]) -> Vec<u8> {
    const VERSION: u32 = 2;
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, id, bits) in rows {
        bytes.extend((*tag as u16).to_le_bytes());
        bytes.extend(u16::from(*bits).to_le_bytes());
        bytes.extend(id.unwrap_or(u32::MAX).to_le_bytes());
    }
    bytes
}

/// Grants `user` the rights `bits` to a file or directory of this `mode`. Does
/// nothing on a file system without access control lists.
pub(crate) fn let_user(file: &File, user: u32, bits: u32, mode: u32) -> io::Result<()> {
    let of = |bits: u32| u8::try_from(bits & 7).unwrap_or(0);
    let group = of(mode >> 3);
    let rows = [
        (Tag::Owner, None, of(mode >> 6)),
        (Tag::User, Some(user), of(bits)),
        (Tag::OwningGroup, None, group),
        (Tag::Mask, None, group | of(bits)),
        (Tag::Other, None, of(mode)),
    ];
    match rustix::fs::fsetxattr(file, ACCESS, &encode(&rows), XattrFlags::empty()) {
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
