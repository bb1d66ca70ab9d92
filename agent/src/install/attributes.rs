//! Modes and owners of what was laid down.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::InstallError;
use super::plan::Plan;

/// Makes the plan's changes. Links are followed, as with `chmod` and `chown`.
pub(super) fn apply(plan: &Plan) -> Result<(), InstallError> {
    for change in &plan.changes {
        let path = &change.path;
        let failed = |what| move |cause| InstallError::Attribute { what, path: path.clone(), cause };
        if let Some(mode) = change.mode {
            fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("mode"))?;
        }
        let id = |id: &Option<(String, u32)>| id.as_ref().map(|(_, number)| *number);
        let (owner, group) = (id(&change.owner), id(&change.group));
        if owner.is_some() || group.is_some() {
            std::os::unix::fs::chown(path, owner, group).map_err(failed("owner"))?;
        }
    }
    Ok(())
}
