//! The application that is deployed, a process that answers with its version,
//! and the bundle whose hooks start and stop it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::namespaces::Network;

/// The port on which the application listens, in each host's own namespace.
pub(crate) const PORT: u16 = 8080;
/// The time after which a stopped or unreachable application counts as silent.
const ANSWER_MAX: Duration = Duration::from_millis(300);
/// The most bytes of a version.
const VERSION_MAX: u64 = 64;

/// Answers every connection with the version until it is killed.
pub(crate) fn serve(address: &str, version: &str) -> ExitCode {
    let listener = TcpListener::bind(address).expect("the port is free");
    for stream in listener.incoming().flatten() {
        let mut stream = stream;
        // The client may already be gone.
        let _ = stream.write_all(version.as_bytes());
    }
    ExitCode::SUCCESS
}

/// Succeeds if the application at `address` answers with this version.
pub(crate) fn ask(address: &str, version: &str) -> ExitCode {
    match version_at(address) {
        Some(found) if found == version => ExitCode::SUCCESS,
        found => {
            println!("asked {address} for {version}, found {found:?}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the version that answers at `address`; None if none does in time.
pub(crate) fn version_at(address: &str) -> Option<String> {
    let address = address.parse().expect("an address and a port");
    let stream = TcpStream::connect_timeout(&address, ANSWER_MAX).ok()?;
    stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    let mut version = String::new();
    stream.take(VERSION_MAX).read_to_string(&mut version).ok()?;
    (!version.is_empty()).then_some(version)
}

/// Starts the application as a host's init does at boot, in the version that
/// the last hook installed.
pub(crate) fn boot(network: &Network, host: u8, version: &str, dir: &Path) {
    let program = std::env::current_exe().expect("this program has a path");
    let pid = dir.join(format!("web-{host}.pid"));
    let start =
        format!("setsid \"$0\" serve 0.0.0.0:{PORT} {version} </dev/null >/dev/null 2>&1 & echo $! >\"$1\"");
    let status = network.on(host, "/bin/sh").args(["-c", &start]).args([&program, &pid]).status();
    assert!(status.expect("a shell").success(), "the application starts");
}

/// Writes a bundle of this version below `dir`. If it is not good, the
/// application starts, but ValidateService fails.
pub(crate) fn bundle(dir: &Path, version: &str, is_good: bool) -> PathBuf {
    let bundle = dir.join(format!("bundle-{version}"));
    fs::create_dir_all(&bundle).expect("a directory");
    let hook = |event: &str| format!("  {event}:\n    - location: hook.sh\n      timeout: 60\n");
    let events = ["ApplicationStop", "BeforeInstall", "ApplicationStart", "ValidateService"];
    let hooks: String = events.into_iter().map(hook).collect();
    fs::write(bundle.join("appspec.yml"), format!("version: 0.0\nos: linux\nhooks:\n{hooks}"))
        .expect("written");
    let program = std::env::current_exe().expect("this program has a path");
    fs::write(bundle.join("hook.sh"), script(&program, version, is_good)).expect("written");
    bundle
}

/// Returns the hook script. It pauses in BeforeInstall, so that the prober sees
/// the host out of service.
fn script(program: &Path, version: &str, is_good: bool) -> String {
    let program = program.display();
    let verdict = if is_good { "" } else { "echo this version is bad; exit 1" };
    format!(
        r#"#!/bin/sh
pid="$TEST_WORLD/$TEST_HOST.pid"
installed="$TEST_WORLD/$TEST_HOST.version"
case "$LIFECYCLE_EVENT" in
  ApplicationStop)
    [ ! -e "$pid" ] || kill -9 "$(cat "$pid")" 2>/dev/null
    rm -f "$pid" "$installed" ;;
  BeforeInstall)
    sleep 1 ;;
  ApplicationStart)
    [ ! -e "$pid" ] || kill -9 "$(cat "$pid")" 2>/dev/null
    setsid "{program}" serve 0.0.0.0:{PORT} {version} </dev/null >/dev/null 2>&1 &
    echo $! >"$pid"
    echo {version} >"$installed" ;;
  ValidateService)
    tries=0
    until "{program}" ask 127.0.0.1:{PORT} {version}; do
      tries=$((tries + 1)); [ $tries -lt 50 ] || exit 1; sleep 0.1
    done
    {verdict} ;;
esac
exit 0
"#
    )
}
