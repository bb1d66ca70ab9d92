//! A mesh of two agents. The agent that is asked downloads the bundle, the
//! other one gets the bundle from it, and the scripts on both know where it
//! came from.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bundle;
use crate::host::{Host, SKEIN};
use crate::object_store::ObjectStore;
use crate::packed;
use crate::s3::{KEY, SECRET, guarded};
use crate::web::{Reply, Web};

struct Fleet {
    host: Host,
    agents: Vec<Child>,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

impl Fleet {
    /// Starts the agents. Only the first one has credentials, and a configuration file with the
    /// address of S3.
    fn start(host: Host, store: &ObjectStore) -> Fleet {
        let mut fleet = Fleet { host, agents: Vec::new() };
        let config = format!("[sources]\ns3_endpoint = \"{}\"\nbytes_max = 1000000\n", store.endpoint());
        fs::write(fleet.path("agent.toml"), config).expect("written");
        let data = fleet.path("0").display().to_string();
        fleet.skein(0, &["mesh", "init", "--data-dir", &data]);
        fleet.spawn(0, &["--config", &fleet.path("agent.toml").display().to_string()]);
        fleet.wait_for_hosts(1);
        let token = fleet.skein(0, &["mesh", "token"]);
        fleet.spawn(1, &["--join", token.trim()]);
        fleet.wait_for_hosts(2);
        let group = "application = \"shop\"\nname = \"all\"\ntags = [[\"role=web\"]]\n";
        fs::write(fleet.path("group.toml"), group).expect("written");
        fleet.skein(0, &["group", "set", &fleet.path("group.toml").display().to_string()]);
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.host.dir.path().join(name)
    }

    fn command(&self, number: usize) -> Command {
        let mut command = self.host.command(SKEIN);
        command.env("SKEIN_API", self.path(&format!("{number}.sock")));
        command.env("TRACE", self.path(&format!("trace-{number}")));
        command
    }

    fn spawn(&mut self, number: usize, flags: &[&str]) {
        let mut command = self.command(number);
        command.args(["agent", "--name", &format!("web-{number}"), "--tag", "role=web"]);
        command
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.path(&number.to_string()))
            .args(flags);
        if number == 0 {
            command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        }
        let log = fs::File::create(self.path(&format!("log-{number}"))).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.agents.push(command.spawn().expect("an agent"));
    }

    fn skein(&self, number: usize, args: &[&str]) -> String {
        let output = self.command(number).args(args).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn wait_for_hosts(&self, hosts: usize) {
        let began = Instant::now();
        loop {
            let output = self.command(0).args(["--json", "status"]).output().expect("it runs");
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if status["hosts"]["up"] == hosts {
                return;
            }
            let log = fs::read_to_string(self.path("log-0")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(90), "no {hosts} hosts: {status}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn everything_said(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        format!("{}{}{}", read("log-0"), read("log-1"), self.skein(0, &["--json", "history"]))
    }
}

#[test]
fn one_agent_downloads_and_all_hosts_know_from_where() {
    let (store, tgz) = (guarded(), packed::tgz("", "web"));
    store.put("releases", "app.tgz", &packed::tgz("", "s3"));
    store.put("releases", "large.tar", &bundle::tar("", "large", 2_000_000));
    let web = Web::start(move |_, before| match before {
        0 => Reply::new(503, b"").header("retry-after", "1"),
        _ => Reply::new(200, &tgz),
    });
    let fleet = Fleet::start(Host::new().with_file("SSL_CERT_FILE", "ca.pem", &web.certificate), &store);

    fleet.skein(0, &["-q", "deploy", "shop/all", "s3://releases/app.tgz"]);
    for number in [0, 1] {
        let trace = fs::read_to_string(fleet.path(&format!("trace-{number}"))).expect("a trace");
        let expected = "APPLICATION_NAME=shop\nBUNDLE_BUCKET=releases\nBUNDLE_KEY=app.tgz\ncontent=s3\n";
        assert!(trace.starts_with(expected), "web-{number}: {trace}");
    }

    let refused =
        fleet.command(0).args(["deploy", "shop/all", "s3://releases/large.tar"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("1000000 bytes that are downloaded"), "{said}");

    // The waiting command shows the agent's problems, but no output shows its secrets.
    let address = web.url("/app.tgz?sig=s3cret").replace("https://", "https://joe:s3cret@");
    let output = fleet.command(0).args(["push", &address]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("trying again in"), "{said}");
    let digest = String::from_utf8(output.stdout).expect("text");
    assert!(digest.starts_with("blake3:"), "{digest}");
    fleet.skein(0, &["-q", "deploy", "shop/all", &address]);
    let all = fleet.everything_said();
    assert!(!all.contains("s3cret") && !all.contains(SECRET), "{all}");
    assert!(
        fleet.skein(1, &["--json", "deployments"]).contains(&web.url("/app.tgz?…")),
        "the origin is told"
    );
}
