//! Variables of the agent's own environment that scripts do not inherit.

use std::process::Command;

/// Read by the AWS credential chain; used here to say which key was used.
pub(crate) const AWS_ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// Read for GitHub's API.
pub(crate) const GITHUB_TOKEN: &str = "GITHUB_TOKEN";

/// The variables that lead to the agent's credentials: everything that the AWS credential chain reads
/// (keys, profile, web identity, container), the names that the official agent and older tools read,
/// and GitHub's token. The region, the endpoint and the proxy are not secret, and are inherited.
const CREDENTIALS: [&str; 18] = [
    AWS_ACCESS_KEY_ID,
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ACCESS_KEY",
    "AWS_SECRET_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    GITHUB_TOKEN,
];

/// The variables that systemd sets for the agent alone. With them, a script could
/// report that the agent is ready, feed its watchdog, or read the unit's secrets.
const OF_THE_UNIT: [&str; 8] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "CREDENTIALS_DIRECTORY",
    "MAINPID",
];

/// Returns both lists, for the scripts of hooks and of health checks.
pub(crate) fn not_for_scripts() -> impl Iterator<Item = &'static str> {
    CREDENTIALS.into_iter().chain(OF_THE_UNIT)
}

/// Removes all of these from a command's environment, even if the caller has set them.
pub(crate) fn without_agents_own(command: &mut Command) {
    for name in not_for_scripts() {
        command.env_remove(name);
    }
}

/// Removes the unit's variables from the environment of an operator's command,
/// which may use the agent's credentials.
pub(crate) fn without_units_own(command: &mut Command) {
    for name in OF_THE_UNIT {
        command.env_remove(name);
    }
}
