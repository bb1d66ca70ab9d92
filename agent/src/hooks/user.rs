//! The user that a script runs as.
//!
//! The official agent asks `su`, whose shell the user then must have; we set
//! the ids ourselves, so that a service's user with `nologin` works too.

use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User};
use tokio::process::Command;

/// Why no script can run as that user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("there is no user `{0}` on this host: check `runas` in the AppSpec file")]
    Unknown(String),
    #[error("the agent runs as user {own}, and only root can run a script as `{name}`")]
    NotRoot { name: String, own: Uid },
    #[error("cannot look up user `{name}`")]
    LookUp {
        name: String,
        #[source]
        cause: nix::Error,
    },
}

/// A user, looked up before the script is started: after the fork there is no
/// safe way to.
#[derive(Debug)]
pub(super) struct RunAs {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    home: PathBuf,
    shell: PathBuf,
}

impl RunAs {
    /// # Errors
    /// If there is no such user, or the agent may not become it.
    pub(super) fn look_up(name: &str) -> Result<RunAs, UserError> {
        let failed = |cause| UserError::LookUp { name: name.to_owned(), cause };
        let user = User::from_name(name).map_err(failed)?;
        let user = user.ok_or_else(|| UserError::Unknown(name.to_owned()))?;
        let own = nix::unistd::geteuid();
        if !own.is_root() && own != user.uid {
            return Err(UserError::NotRoot { name: name.to_owned(), own });
        }
        let c_name = std::ffi::CString::new(name).map_err(|_| UserError::Unknown(name.to_owned()))?;
        let groups = nix::unistd::getgrouplist(&c_name, user.gid).map_err(failed)?;
        let User { uid, gid, dir: home, shell, .. } = user;
        Ok(RunAs { name: name.to_owned(), uid, gid, groups, home, shell })
    }

    /// Makes `command` run as the user, with what a login gives it.
    #[expect(unsafe_code, reason = "supplementary groups can be set in no other way on stable Rust")]
    pub(super) fn apply(self, command: &mut Command) {
        command.env("HOME", &self.home).env("SHELL", &self.shell);
        command.env("USER", &self.name).env("LOGNAME", &self.name);
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let RunAs { uid, gid, groups, .. } = self;
        let become_user = move || {
            nix::unistd::setgroups(&groups)?;
            nix::unistd::setgid(gid)?;
            nix::unistd::setuid(uid)?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes three system calls, allocates
        // nothing and takes no lock.
        unsafe { command.pre_exec(become_user) };
    }
}
