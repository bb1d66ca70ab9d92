//! Modes, access control lists, SELinux contexts and owners of what was laid
//! down; the owner last, as in the official agent, which takes a setuid bit
//! away again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::cleanup::Journal;
use super::plan::Plan;
use super::{InstallError, Witness, access_list, selinux};

/// Makes the plan's changes. Links are followed, as with `chmod` and `chown`.
pub(super) fn apply(plan: &Plan, journal: &mut Journal, witness: Witness<'_>) -> Result<(), InstallError> {
    for change in &plan.changes {
        let path = &change.path;
        let failed = |what| move |cause| InstallError::Attribute { what, path: path.clone(), cause };
        if let Some(mode) = change.mode {
            fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("mode"))?;
        }
        if !change.acl.is_empty() {
            access_list::set(path, &change.acl).map_err(failed("access control list"))?;
        }
        if let Some(context) = &change.context {
            journal.note_context(path)?;
            selinux::set(path, context).map_err(failed("SELinux context"))?;
        }
        let id = |id: &Option<(String, u32)>| id.as_ref().map(|(_, number)| *number);
        let (owner, group) = (id(&change.owner), id(&change.group));
        if owner.is_some() || group.is_some() {
            std::os::unix::fs::chown(path, owner, group).map_err(failed("owner"))?;
        }
        witness();
    }
    Ok(())
}
