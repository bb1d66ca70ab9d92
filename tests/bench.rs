//! Measures a mesh of real agents on this machine: `cargo bench -p skein-agent
//! --bench mesh`. It prints a table and judges nothing.
//!
//! The agents are whole processes on loopback, each with its own store on the
//! disk of the temporary directory. CPU time and memory are the kernel's
//! numbers.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SKEIN: &str = env!("CARGO_BIN_EXE_skein");
/// The time for which an idle mesh is measured.
const IDLE: Duration = Duration::from_secs(20);
/// The longest time that a mesh may take to form.
const FORM_MAX: Duration = Duration::from_secs(60);

fn main() {
    // As a hook, this program writes down when it began, and does nothing else.
    // A shell that starts `date` would dominate the measurement.
    let mut arguments = std::env::args().skip(1);
    if let (Some(flag), Some(script)) = (arguments.next(), arguments.next())
        && let Some(word) = flag.strip_prefix("--stamp-")
    {
        return stamp(word, Path::new(&script));
    }
    // `cargo bench` passes flags of its own. `cargo test --benches` only checks
    // that the program starts.
    let is_test = std::env::args().any(|argument| argument == "--test");
    if is_test {
        return;
    }
    println!("{:<58} {}", "binary", size_of(Path::new(SKEIN)));
    for hosts in [5, 30] {
        idle(hosts);
    }
    rolling(10, 20);
    for clients in [1, 32] {
        commits(3, clients, 2_000);
    }
}

fn row(what: &str, value: &str) {
    println!("{what:<58} {value}");
}

fn size_of(path: &Path) -> String {
    let bytes = fs::metadata(path).expect("the binary").len();
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// Runs as the hook of `rolling`. The first line of the hook names this program
/// and a word.
fn stamp(word: &str, script: &Path) {
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
    let trace = fs::read_to_string(script.with_file_name("trace-file")).expect("where to write");
    let trace = fs::OpenOptions::new().append(true).create(true).open(trace.trim());
    writeln!(trace.expect("the trace"), "{word} {now}").expect("written");
}

/// Agents as processes. They end when this is dropped.
struct Mesh {
    home: tempfile::TempDir,
    agents: Vec<Child>,
}

impl Mesh {
    fn start(hosts: usize) -> Mesh {
        let home = tempfile::tempdir().expect("a directory");
        let mut mesh = Mesh { home, agents: Vec::new() };
        skein(&mesh.dir(0), &["mesh", "init", "--data-dir", &mesh.dir(0).display().to_string()]);
        mesh.spawn(0, None);
        mesh.wait_for("the first agent", |mesh| mesh.status(0).is_some());
        let token = skein(&mesh.dir(0), &["mesh", "token"]);
        for host in 1..hosts {
            mesh.spawn(host, Some(token.trim()));
        }
        mesh.wait_for("all hosts to be up", |mesh| {
            (0..hosts).all(|host| {
                let up = mesh.status(host).and_then(|status| status["hosts"]["up"].as_u64());
                up == Some(hosts as u64)
            })
        });
        mesh
    }

    fn dir(&self, host: usize) -> PathBuf {
        let dir = self.home.path().join(format!("host-{host}"));
        fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    fn spawn(&mut self, host: usize, token: Option<&str>) {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let dir = self.dir(host);
        let mut command = Command::new(SKEIN);
        command.arg("agent").arg("--data-dir").arg(&dir).arg("--api").arg(dir.join("api.sock"));
        command.args(["--name", &format!("host-{host:02}"), "--tag", "role=web"]);
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        if let Some(token) = token {
            command.args(["--join", token]);
        }
        let log = fs::File::create(dir.join("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.agents.push(command.spawn().expect("an agent"));
    }

    fn status(&self, host: usize) -> Option<serde_json::Value> {
        let answer = http(&self.dir(host).join("api.sock"), "GET", "/v1/status", "").ok()?;
        serde_json::from_str(&answer).ok()
    }

    fn wait_for(&self, what: &str, holds: impl Fn(&Mesh) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < FORM_MAX, "waited {FORM_MAX:?} for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn group(&self) {
        let file = self.home.path().join("group.toml");
        let text = "application = \"bench\"\nname = \"all\"\ntags = [[\"role=web\"]]\n";
        fs::write(&file, text).expect("a group file");
        skein(&self.dir(0), &["group", "set", &file.display().to_string()]);
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

fn skein(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new(SKEIN)
        .env("SKEIN_API", dir.join("api.sock"))
        .args(arguments)
        .output()
        .expect("skein runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Sends one request on one connection, as the command line does.
fn http(socket: &Path, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: skein\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    assert!(head.starts_with("HTTP/1.1 2"), "{method} {path}: {answer}");
    Ok(body.to_string())
}

/// Returns the CPU time and the resident memory (in KiB) of a process, from the
/// kernel.
fn used_by(process: u32) -> (Duration, u64) {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it lives");
    let after_name = stat.rsplit_once(')').expect("a name").1;
    let fields: Vec<u64> = after_name.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    // utime and stime are fields 14 and 15 of stat(5), in ticks of 10 ms.
    let cpu = Duration::from_millis((fields[11] + fields[12]) * 10);
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    (cpu, rss.trim().trim_end_matches(" kB").parse().expect("a number"))
}

fn idle(hosts: usize) {
    let began = Instant::now();
    let mesh = Mesh::start(hosts);
    row(&format!("{hosts} agents started and one mesh"), &format!("{:.1} s", began.elapsed().as_secs_f64()));
    // The mesh is idle only after the voters are chosen and all hosts know it.
    std::thread::sleep(Duration::from_secs(5));
    let before: Vec<_> = mesh.agents.iter().map(|agent| used_by(agent.id())).collect();
    std::thread::sleep(IDLE);
    let after: Vec<_> = mesh.agents.iter().map(|agent| used_by(agent.id())).collect();
    let mut cpu: Vec<f64> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| (after.0 - before.0).as_secs_f64() / IDLE.as_secs_f64() * 100.0)
        .collect();
    let mut memory: Vec<f64> = after.iter().map(|(_, rss)| *rss as f64 / 1024.0).collect();
    row(&format!("idle CPU of an agent, mesh of {hosts}"), &spread(&mut cpu, "% of a core", 2));
    row(&format!("resident memory of an agent, mesh of {hosts}"), &spread(&mut memory, "MiB", 1));
}

fn spread(values: &mut [f64], unit: &str, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    format!(
        "p50 {:.digits$}  p99 {:.digits$}  max {:.digits$} {unit} (of {})",
        at(0.5),
        at(0.99),
        at(1.0),
        values.len()
    )
}

/// Deploys a bundle whose hooks only write down when they ran, `rounds` times.
fn rolling(hosts: usize, rounds: usize) {
    let mesh = Mesh::start(hosts);
    mesh.group();
    let trace = mesh.home.path().join("trace");
    let bundle = mesh.home.path().join("bundle");
    fs::create_dir_all(&bundle).expect("a directory");
    fs::write(
        bundle.join("appspec.yml"),
        "version: 0.0\nos: linux\nhooks:\n  ApplicationStop:\n    - location: stop.sh\n  BeforeInstall:\n    \
         - location: install.sh\n  ValidateService:\n    - location: last.sh\n",
    )
    .expect("an AppSpec file");
    for (script, word) in [("stop.sh", "stop"), ("install.sh", "install"), ("last.sh", "last")] {
        let program = std::env::current_exe().expect("this program");
        let text = format!("#!{} --stamp-{word}\n", program.display());
        fs::write(bundle.join(script), text).expect("a script");
    }
    fs::write(bundle.join("trace-file"), trace.display().to_string()).expect("a file");
    let mut whole = Vec::new();
    let (mut to_stop, mut to_install) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        fs::write(bundle.join("round"), format!("{round}")).expect("a file");
        let _ = fs::remove_file(&trace);
        let began = Instant::now();
        skein(&mesh.dir(1), &["-q", "deploy", "bench/all", &bundle.display().to_string()]);
        whole.push(began.elapsed().as_secs_f64() * 1_000.0);
        let trace = fs::read_to_string(&trace).expect("a trace");
        to_stop.extend(handovers(&trace, "stop"));
        to_install.extend(handovers(&trace, "install"));
    }
    let what = format!("{hosts} hosts one at a time, trivial bundle, whole command");
    row(&what, &spread(&mut whole, "ms", 0));
    row("last hook of a host -> next host's ApplicationStop", &spread(&mut to_stop, "ms", 1));
    row("the same -> its BeforeInstall, bundle unpacked", &spread(&mut to_install, "ms", 1));
}

/// Returns the milliseconds from each host's `last` to the next host's `first`,
/// each as the hook itself recorded it when it began.
fn handovers(trace: &str, first: &str) -> Vec<f64> {
    let lines = trace
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(word, nanos)| Some((word, nanos.parse::<f64>().ok()? / 1e6)))
        .filter(|(word, _)| *word == "last" || *word == first);
    let lines: Vec<(&str, f64)> = lines.collect();
    lines
        .windows(2)
        .filter(|pair| pair[0].0 == "last" && pair[1].0 == first)
        .map(|pair| pair[1].1 - pair[0].1)
        .collect()
}

/// Sends requests that each cost one durable entry: it sets a group again and
/// again.
fn commits(hosts: usize, clients: usize, requests: usize) {
    let mesh = Mesh::start(hosts);
    mesh.group();
    let socket = mesh.dir(0).join("api.sock");
    let mut group: serde_json::Value =
        serde_json::from_str(&http(&socket, "GET", "/v1/groups/bench/all", "").expect("the group"))
            .expect("JSON");
    let body = group["file"].take();
    let body = if body.is_null() {
        r#"{"application":"bench","name":"all","tags":[["role=web"]]}"#.to_string()
    } else {
        body.to_string()
    };
    let began = Instant::now();
    let mut took: Vec<f64> = std::thread::scope(|scope| {
        let ask = || {
            (0..requests / clients)
                .map(|_| {
                    let began = Instant::now();
                    http(&socket, "PUT", "/v1/groups/bench/all", &body).expect("committed");
                    began.elapsed().as_secs_f64() * 1_000.0
                })
                .collect::<Vec<f64>>()
        };
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    let each_second = took.len() as f64 / began.elapsed().as_secs_f64();
    let mut value = spread(&mut took, "ms", 2);
    let _ = write!(value, ", {each_second:.0} a second");
    row(&format!("durable commit by HTTP, {hosts} voters, {clients} clients"), &value);
}
