//! moto from PyPI, an S3 server with versions and conditional requests. It is
//! installed once into the build directory, and each test starts its own
//! process.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const PACKAGE: &str = "moto[server,s3]==5.2.5";
/// The longest time that moto may take to start. It imports many Python
/// modules, and the machine may be busy.
const START_MAX: Duration = Duration::from_secs(120);

pub(crate) struct Moto {
    pub(crate) endpoint: String,
    process: Child,
}

impl Moto {
    /// Starts the server. `Err` says what is missing.
    pub(crate) fn start() -> Result<Moto, String> {
        static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let server = INSTALLED.get_or_init(install).clone()?;
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let mut command = Command::new(server);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().map_err(|error| format!("moto does not start: {error}"))?;
        let moto = Moto { endpoint: format!("http://127.0.0.1:{port}"), process };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if began.elapsed() > START_MAX {
                return Err(format!("moto was not up after {START_MAX:?}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(moto)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Installs the server, and returns its program.
fn install() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto-5.2.5");
    let server = dir.join("bin/moto_server");
    // Written last, so that an interrupted installation starts again.
    let mark = dir.join("installed");
    if mark.exists() {
        return Ok(server);
    }
    let run = |program: &Path, args: &[&str]| {
        let output = Command::new(program).args(args).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("?").to_owned()),
        }
    };
    run(Path::new("python3"), &["-m", "venv", "--clear", &dir.display().to_string()])?;
    run(&dir.join("bin/pip"), &["install", "--quiet", "--disable-pip-version-check", PACKAGE])?;
    std::fs::write(mark, PACKAGE).map_err(|error| error.to_string())?;
    Ok(server)
}
