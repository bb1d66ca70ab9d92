//! Ends scripts that outlived the agent, or the `skein local`, that ran them, before anything else
//! works on their application. Each one is logged.

use std::path::{Path, PathBuf};

use super::deployment::scripts_log;
use super::kept::subdirectories;
use crate::hooks::{self, Ended, Patience};
use crate::install::state::State;

/// Ends the leftover scripts of all groups. Blocks for as long as a script takes to stop.
pub(crate) fn end_left_scripts(deploy_root: &Path) {
    end(&subdirectories(deploy_root)
        .iter()
        .flat_map(|group| subdirectories(group))
        .collect::<Vec<PathBuf>>());
}

/// Ends the leftover scripts of one group.
pub(super) fn end_in_group(state: &State) {
    end(&subdirectories(&state.group_dir()));
}

fn end(deployments: &[PathBuf]) {
    for ended in hooks::end_left(deployments, Patience::default()) {
        let Ended { deployment, event, script, pid, .. } = &ended;
        if !ended.is_gone {
            tracing::error!(
                deployment,
                event,
                script,
                pid,
                "a script outlived its agent and cannot be ended"
            );
            continue;
        }
        tracing::warn!(
            deployment,
            event,
            script,
            pid,
            "a script outlived its agent, which was killed: ended it"
        );
        let note = format!("Warning - {script} of {event} went on when its agent was killed, and was ended");
        if let Err(error) = hooks::note(&scripts_log(&ended.dir), &note) {
            tracing::warn!(deployment, %error, "cannot write the scripts' log");
        }
    }
}
