//! Sets the modes, access control lists, SELinux contexts and owners of installed files.
//! As in the official agent, the owner comes last, which clears a setuid bit again.
//!
//! A file or link gets them before it gets its name, a directory once its content is complete.
//! Both are open then, so that exactly the installed object is changed and nothing else.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::apply::Made;
use super::cleanup::Journal;
use super::file_plan::Plan;
use super::folder::{Folder, Folders};
use super::selection::Change;
use super::{InstallError, Witness, access_list, selinux};

/// Applies changes to an open file or directory.
pub(super) fn give(object: &File, changes: &[&Change]) -> Result<(), InstallError> {
    for change in changes {
        let failed = |what| failure(what, &change.path);
        if let Some(mode) = change.mode {
            object.set_permissions(Permissions::from_mode(mode)).map_err(failed("mode"))?;
        }
        if !change.acl.is_empty() {
            access_list::set(object, &change.acl).map_err(failed("access control list"))?;
        }
        let (owner, group) = ids(change);
        if owner.is_some() || group.is_some() {
            std::os::unix::fs::fchown(object, owner, group).map_err(failed("owner"))?;
        }
    }
    Ok(())
}

/// Applies changes to a link that leads out of the installation. Only its owner can be changed.
pub(super) fn give_link(folder: &Folder, name: &OsStr, changes: &[&Change]) -> Result<(), InstallError> {
    for change in changes {
        let (owner, group) = ids(change);
        if owner.is_some() || group.is_some() {
            folder.give_link(name, owner, group).map_err(failure("owner", &change.path))?;
        }
    }
    Ok(())
}

/// Applies the rest of the plan's changes: the attributes of directories, and all SELinux
/// contexts.
pub(super) fn apply(
    plan: &Plan,
    made: &Made,
    journal: &mut Journal,
    witness: Witness<'_>,
) -> Result<(), InstallError> {
    let mut folders = Folders::new();
    for change in &plan.changes {
        if change.is_directory {
            let directory = directory(&mut folders, &change.at, made).map_err(failure("mode", &change.at))?;
            give(&directory, &[change])?;
        }
        if let Some(context) = &change.context {
            journal.note_context(&change.at)?;
            let path =
                folders.around(&change.at).and_then(|(folder, name)| Ok(folder.real_path()?.join(name)));
            let set = path.and_then(|path| selinux::set(&path, context));
            set.map_err(failure("SELinux context", &change.at))?;
        }
        witness();
    }
    Ok(())
}

fn directory(folders: &mut Folders, path: &Path, made: &Made) -> io::Result<File> {
    let (folder, name) = folders.around(path)?;
    let (directory, identity) = folder.directory(name)?;
    if made.get(path) != Some(&identity) {
        return Err(io::Error::other(
            "it is not the directory that was made here: somebody else has made one",
        ));
    }
    Ok(directory)
}

fn failure(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    move |cause| InstallError::Attribute { what, path: path.to_owned(), cause }
}

/// Returns the ids of the new owner and group.
fn ids(change: &Change) -> (Option<u32>, Option<u32>) {
    let id = |id: &Option<(String, u32)>| id.as_ref().map(|(_, number)| *number);
    (id(&change.owner), id(&change.group))
}
