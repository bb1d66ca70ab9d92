//! The sample bundles: an AppSpec file, three scripts, and the release's name.
//!
//! No files are installed: all hosts of the demo are one machine, and an AppSpec
//! file names the same place for all.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const APPSPEC: &str = "\
version: 0.0
os: linux
hooks:
  ApplicationStop:
    - location: scripts/stop.sh
      timeout: 30
  ApplicationStart:
    - location: scripts/start.sh
      timeout: 30
  ValidateService:
    - location: scripts/validate.sh
      timeout: 30
";

/// HELLO_DIR and HELLO_PORT are set for each agent, and SKEIN_BIN for all; scripts inherit them.
const STOP: &str = r#"#!/bin/sh
# Out of service first, so that no request comes; then the end.
set -eu
rm -f "$HELLO_DIR/in-service"
[ -f "$HELLO_DIR/app.pid" ] || exit 0
sleep 0.4
kill "$(cat "$HELLO_DIR/app.pid")" 2>/dev/null || true
tries=0
while [ -f "$HELLO_DIR/app.pid" ] && [ "$tries" -lt 100 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
[ ! -f "$HELLO_DIR/app.pid" ] || { echo "the application does not end" >&2; exit 1; }
echo "stopped"
"#;

const START: &str = r#"#!/bin/sh
set -eu
release=$(cat release)
broken=
[ ! -f broken ] || broken=--broken
"$SKEIN_BIN" demo-app "127.0.0.1:$HELLO_PORT" "$release" --pid-file "$HELLO_DIR/app.pid" $broken \
    >> "$HELLO_DIR/app.log" 2>&1 < /dev/null &
tries=0
while [ ! -f "$HELLO_DIR/app.pid" ] && [ "$tries" -lt 200 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
[ -f "$HELLO_DIR/app.pid" ] || { echo "it does not start:" >&2; tail -n 3 "$HELLO_DIR/app.log" >&2; exit 1; }
echo "started $release"
"#;

const VALIDATE: &str = r#"#!/bin/sh
# In service again only once it answers as it should.
set -eu
"$SKEIN_BIN" demo-app "127.0.0.1:$HELLO_PORT" "$(cat release)" --check
: > "$HELLO_DIR/in-service"
"#;

/// Writes the bundle of a release, and returns its directory.
pub(super) fn write(directory: &Path, release: &str, is_broken: bool) -> io::Result<PathBuf> {
    let bundle = directory.join(format!("hello-{release}"));
    let scripts = bundle.join("scripts");
    std::fs::create_dir_all(&scripts)?;
    std::fs::write(bundle.join("appspec.yml"), APPSPEC)?;
    std::fs::write(bundle.join("release"), release)?;
    if is_broken {
        std::fs::write(bundle.join("broken"), "this release answers every request with status 500\n")?;
    }
    for (name, text) in [("stop.sh", STOP), ("start.sh", START), ("validate.sh", VALIDATE)] {
        let path = scripts.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(bundle)
}
