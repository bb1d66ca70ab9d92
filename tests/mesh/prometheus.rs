//! A real Prometheus scrapes a real exporter, whose value changes, and stops a
//! release.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, wait_until};

/// Returns the binary that the environment names, or the one on the `PATH`.
fn binary() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SKEIN_TEST_PROMETHEUS") {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("prometheus")).find(|path| path.is_file())
}

/// Serves one number to every client that scrapes it.
fn exporter(errors: Arc<AtomicU32>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let body =
                format!("# TYPE checkout_errors gauge\ncheckout_errors {}\n", errors.load(Ordering::SeqCst));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close";
            let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        }
    });
    address
}

/// A Prometheus process. It ends with the test.
struct Prometheus {
    process: Child,
    url: String,
}

impl Prometheus {
    fn start(binary: &Path, world: &Path, scraped: SocketAddr) -> Prometheus {
        let config = world.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 500ms\n  scrape_timeout: 400ms\nscrape_configs:\n  - job_name: shop\n    \
             static_configs:\n      - targets: [\"{scraped}\"]\n"
        );
        fs::write(&config, text).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let log = fs::File::create(world.join("prometheus.log")).expect("a log");
        let process = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", world.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts");
        wait_until("prometheus listens", || TcpStream::connect(address).is_ok());
        Prometheus { process, url: format!("http://{address}") }
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn a_query_to_a_real_prometheus_stops_the_release() {
    let Some(binary) = binary() else {
        println!("skipped: needs prometheus (on the PATH, or its path in SKEIN_TEST_PROMETHEUS)");
        return;
    };
    let mesh = Mesh::of(3);
    let errors = Arc::new(AtomicU32::new(0));
    let mut prometheus = Prometheus::start(&binary, mesh.path(), exporter(errors.clone()));
    mesh.group(&format!(
        "config = \"OneAtATime\"\n[rollback]\nenabled = false\n[[alarm]]\nname = \"checkout\"\n\
         prometheus = {{ url = \"{}\", query = \"checkout_errors > 5\" }}\nevery = \"1s\"\ntimeout = \"3s\"",
        prometheus.url
    ));
    mesh.begin_with(&Bundle::new("v1"));
    let id = mesh.submit("web-1", &Bundle::new("v2").does(Deed::Hold, "BeforeInstall", "web-2"));
    mesh.wait_for_hook_on(&id, "BeforeInstall", "web-2");
    let alarms = mesh.agent("web-2").json(&["alarm", "list", "hello/prod"]);
    assert_eq!(alarms[0]["state"], "OK", "{alarms:#}");

    errors.store(7, Ordering::SeqCst);
    wait_until("the alarm is seen", || {
        mesh.agent("web-3").deployment(&id).is_some_and(|view| view["alarm"]["name"] == "checkout")
    });
    mesh.go("v2");
    let view = mesh.wait_for(&id, "Stopped");
    let detail = view["alarm"]["detail"].as_str().expect("a detail");
    assert!(detail.starts_with("checkout_errors{") && detail.ends_with("is 7"), "{detail}");

    errors.store(0, Ordering::SeqCst);
    wait_until("the next release succeeds once the errors are gone", || {
        mesh.deploy("web-1", &Bundle::new("v3")).code == 0
    });

    prometheus.stop();
    let ran = mesh.deploy("web-1", &Bundle::new("v4"));
    ran.expect(6, &["alarm `checkout` cannot be read", "counts as active"]);
    mesh.check();
}
