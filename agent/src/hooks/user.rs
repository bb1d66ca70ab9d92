//! The user that a script runs as.
//!
//! The official agent uses `su` with a command line for the user's login shell, which
//! the user must then have. We use `su` too, because it opens a PAM session (so that
//! /etc/environment and the user's limits apply), but let it run the script itself.
//! Without PAM or `su`, and where PAM refuses the session, we set the ids ourselves.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::{Gid, Uid, User};
use tokio::process::Command;
use tokio::time::timeout;

use crate::child_env::without_agents_own;
use crate::exec::own_session;

/// The reason why no script can run as a user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("there is no user `{0}` on this host: make it, or change `runas` in the AppSpec file")]
    Unknown(String),
    #[error(
        "the agent runs as user {own}, and only root can run a script as `{name}`, which `runas` in the AppSpec file \
         asks for"
    )]
    NotRoot { name: String, own: Uid },
    #[error("cannot look up user `{name}`, which `runas` in the AppSpec file asks for")]
    LookUp {
        name: String,
        #[source]
        cause: nix::Error,
    },
}

/// A user, looked up before the script is started, because that is not safe after the fork.
#[derive(Debug)]
pub(crate) struct RunAs {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    home: PathBuf,
    /// The login shell; for a user who may not log in it is not a shell.
    shell: PathBuf,
}

impl RunAs {
    /// Looks up a user by name.
    /// # Errors
    /// The user does not exist, or the agent may not change to it.
    pub(crate) fn look_up(name: &str) -> Result<RunAs, UserError> {
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

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the shell that runs scripts without an interpreter.
    pub(super) fn shell(&self) -> &Path {
        if is_shell(&self.shell) { &self.shell } else { Path::new("/bin/sh") }
    }

    /// Makes `command` run as the user, with the environment of a login. If
    /// `by_su`, leaves the rest to `su`.
    #[expect(unsafe_code, reason = "supplementary groups can be set in no other way on stable Rust")]
    pub(super) fn apply(&self, command: &mut Command, by_su: bool) {
        command.env("HOME", &self.home).env("SHELL", &self.shell);
        command.env("USER", &self.name).env("LOGNAME", &self.name);
        if !nix::unistd::geteuid().is_root() || by_su {
            return;
        }
        let (uid, gid, groups) = (self.uid, self.gid, self.groups.clone());
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

    /// Returns the first directory above `path` that the user may not enter, or
    /// `path` itself if the user may not read it. Ignores access control lists:
    /// this only explains what the system has refused.
    pub(super) fn closed_on_way_to(&self, path: &Path) -> Option<Closed> {
        const READ: u32 = 4;
        const ENTER: u32 = 1;
        if self.uid.is_root() {
            return None;
        }
        let path = path.canonicalize().ok()?;
        let way: Vec<&Path> = path.ancestors().collect();
        let closed = way.into_iter().rev().find_map(|step| {
            let metadata = step.metadata().ok()?;
            let wanted = if metadata.is_dir() { ENTER } else { READ };
            (self.bits(&metadata) & wanted == 0).then(|| (step.to_owned(), metadata))
        });
        closed.map(|(path, metadata)| Closed { path, metadata })
    }

    /// Returns the rights according to the mode: read 4, write 2, enter or execute 1.
    fn bits(&self, metadata: &Metadata) -> u32 {
        let is_of_group = self.groups.iter().any(|group| group.as_raw() == metadata.gid());
        let class = if metadata.uid() == self.uid.as_raw() {
            6
        } else if is_of_group || metadata.gid() == self.gid.as_raw() {
            3
        } else {
            0
        };
        metadata.mode() >> class & 7
    }
}

/// A path that a user may not enter or read.
pub(super) struct Closed {
    pub(super) path: PathBuf,
    metadata: Metadata,
}

impl Closed {
    pub(super) fn mode_in_words(&self) -> String {
        let owner = User::from_uid(Uid::from_raw(self.metadata.uid())).ok().flatten();
        let owner = owner.map_or_else(|| format!("user {}", self.metadata.uid()), |user| user.name);
        format!("mode {:04o}, of {owner}", self.metadata.mode() & 0o7777)
    }
}

/// Returns true unless it is one of the programs that some users have instead of a shell.
fn is_shell(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name != "nologin" && name != "false") && path.exists()
}

/// The system's `su`, where it opens a PAM session.
pub(super) struct Su<'u> {
    program: &'static str,
    user: &'u RunAs,
}

/// The places of `su`. PATH is not searched, because `su` runs as root.
const SU: [&str; 3] = ["/usr/bin/su", "/bin/su", "/run/wrappers/bin/su"];
/// The PAM configuration of `su`. If both files are missing, `su` was built without PAM.
const PAM_SERVICES: [&str; 2] = ["/etc/pam.d/su", "/usr/lib/pam.d/su"];
const ENV: &str = "/usr/bin/env";

/// The time limit for opening a session; PAM may have to ask a directory server.
const SESSION_WITHIN: Duration = Duration::from_secs(30);

impl Su<'_> {
    /// Returns `None` if there is no `su`, or if it would ask for a password.
    fn of(user: &RunAs) -> Option<Su<'_>> {
        let is_there = |path: &&str| Path::new(path).exists();
        let program = SU.into_iter().find(is_there)?;
        let has_pam = PAM_SERVICES.iter().any(is_there);
        (has_pam && nix::unistd::geteuid().is_root() && Path::new(ENV).exists())
            .then_some(Su { program, user })
    }

    /// Returns `None` also if PAM refuses the session, as for a user without an entry in /etc/shadow,
    /// or in a container that may not set its limits. The script then runs without a session.
    pub(super) async fn that_lets(user: &RunAs) -> Option<Su<'_>> {
        let su = Su::of(user)?;
        let mut attempt = su.command(&[Path::new("true")]);
        attempt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        without_agents_own(attempt.as_std_mut());
        own_session(attempt.as_std_mut());
        let ended = timeout(SESSION_WITHIN, attempt.status()).await;
        let is_let = matches!(ended, Ok(Ok(status)) if status.success());
        if !is_let {
            tracing::warn!(user = %user.name, "`su` opens no session, so the script runs without one");
        }
        is_let.then_some(su)
    }

    /// Builds a command that runs these words as the user. `su` sets `SHELL` to the
    /// shell that it is given, which is `env`; so `env` sets it back to the login shell.
    pub(super) fn command(&self, words: &[&Path]) -> Command {
        let mut shell = OsString::from("SHELL=");
        shell.push(&self.user.shell);
        let mut command = Command::new(self.program);
        command.args(["-s", ENV, "--", &self.user.name]).arg(shell).args(words);
        command
    }
}
