//! POSIX access control lists, in the form of the attribute that the kernel keeps
//! them in: there is no tool to call and no shell to quote for.

use std::ffi::CStr;
use std::fs::File;
use std::io;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The attribute with the list of a file or directory.
pub(crate) const ACCESS: &CStr = c"system.posix_acl_access";

/// Whom an entry is for: the kernel's numbers, by which its lists are sorted.
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

/// An entry: for whom, the number of a named user or group, and what is allowed.
pub(crate) type Row = (Tag, Option<u32>, u8);

/// The kernel's form: a version, then tag, bits and id of each entry.
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

/// Lets `user` do what `bits` say with a file or directory of this `mode`. A file
/// system without access control lists is left as it is.
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
