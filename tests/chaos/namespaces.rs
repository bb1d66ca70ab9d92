//! Hosts as network namespaces on one bridge, and faults of their links.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

/// The namespace of the bridge and of the prober.
const HUB: &str = "hub";

/// Returns what is missing to run here, if anything.
pub(crate) fn lack() -> Option<&'static str> {
    let works = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if !rustix::process::geteuid().is_root() {
        return Some("root");
    }
    if !works("ip", &["-V"]) || !works("nsenter", &["--version"]) {
        return Some("`ip` (iproute2) and `nsenter` (util-linux)");
    }
    if !works("nft", &["--version"]) {
        return Some("`nft` (nftables)");
    }
    let trial = format!("skein-{}-trial", std::process::id());
    let can = works("ip", &["netns", "add", &trial]);
    if can {
        works("ip", &["netns", "del", &trial]);
    }
    (!can).then_some("leave to make network namespaces")
}

/// A bridge and its hosts, numbered from 1. They are removed when this is
/// dropped or when this process ends.
pub(crate) struct Network {
    prefix: String,
    janitor: Child,
}

impl Network {
    pub(crate) fn of(hosts: u8) -> Network {
        let prefix = format!("skein-{}", std::process::id());
        let network = Network { janitor: janitor(&prefix), prefix };
        network.add(HUB);
        let hub = network.name(HUB);
        run("ip", &["-n", &hub, "link", "add", "br0", "type", "bridge"]);
        run("ip", &["-n", &hub, "addr", "add", "10.77.0.254/24", "dev", "br0"]);
        run("ip", &["-n", &hub, "link", "set", "br0", "up"]);
        (1..=hosts).for_each(|host| network.add_host(host));
        network
    }

    fn add(&self, part: &str) {
        let name = self.name(part);
        run("ip", &["netns", "add", &name]);
        run("ip", &["-n", &name, "link", "set", "lo", "up"]);
    }

    fn add_host(&self, host: u8) {
        self.add(&host.to_string());
        let (hub, name, link) = (self.name(HUB), self.name(&host.to_string()), link(host));
        run(
            "ip",
            &["-n", &hub, "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &name],
        );
        run("ip", &["-n", &hub, "link", "set", &link, "master", "br0", "up"]);
        let address = format!("{}/24", address(host));
        run("ip", &["-n", &name, "addr", "add", &address, "dev", "eth0"]);
        run("ip", &["-n", &name, "link", "set", "eth0", "up"]);
        let table = "table inet chaos {
            set cut { type ipv4_addr; }
            chain arriving { type filter hook input priority 0; ip saddr @cut drop; }
            chain leaving { type filter hook output priority 0; ip daddr @cut drop; }
            chain loss { type filter hook prerouting priority -300; }
        }";
        self.nft(host, table);
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }

    fn nft(&self, host: u8, rules: &str) {
        let netns = self.name(&host.to_string());
        run("ip", &["netns", "exec", &netns, "nft", rules]);
    }

    /// Returns a command that runs on this host. It keeps the mounts, while `ip
    /// netns exec` hides the control groups.
    pub(crate) fn on(&self, host: u8, program: &str) -> Command {
        self.inside(&host.to_string(), program)
    }

    /// Returns a command that runs outside of all hosts.
    pub(crate) fn outside(&self, program: &str) -> Command {
        self.inside(HUB, program)
    }

    fn inside(&self, part: &str, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name(part))).arg(program);
        command
    }

    /// Unplugs the host from the bridge, or plugs it in again.
    pub(crate) fn plug(&self, host: u8, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        run("ip", &["-n", &self.name(HUB), "link", "set", &link(host), state]);
    }

    /// Breaks or mends the path between only these two hosts.
    pub(crate) fn path(&self, a: u8, b: u8, is_whole: bool) {
        let verb = if is_whole { "delete" } else { "add" };
        self.nft(a, &format!("{verb} element inet chaos cut {{ {} }}", address(b)));
    }

    /// Drops `percent` of 100 packets that arrive at the host.
    pub(crate) fn loss(&self, host: u8, percent: u8) {
        self.nft(host, "flush chain inet chaos loss");
        if percent > 0 {
            let rule =
                format!("add rule inet chaos loss iifname eth0 numgen random mod 100 < {percent} drop");
            self.nft(host, &rule);
        }
    }

    /// Kills every process on the host, as if its power had failed.
    pub(crate) fn kill_all(&self, host: u8) {
        let output = Command::new("ip").args(["netns", "pids", &self.name(&host.to_string())]).output();
        let pids =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for pid in pids.split_whitespace() {
            // The process may have ended by itself.
            let _ = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

/// Returns the address of a host.
pub(crate) fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, host)
}

fn link(host: u8) -> String {
    format!("host{host}")
}

/// Starts a shell that removes the namespaces and everything that runs in them,
/// once this process has ended in any way.
fn janitor(prefix: &str) -> Child {
    let script = r#"read end
        for netns in $(ip netns list | cut -d ' ' -f 1 | grep "^$0-"); do
            pids=$(ip netns pids "$netns")
            [ -z "$pids" ] || kill -9 $pids
            ip netns del "$netns"
        done"#;
    let mut janitor = Command::new("/bin/sh");
    janitor.args(["-c", script, prefix]).stdin(Stdio::piped()).stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut janitor, 0);
    let mut janitor = janitor.spawn().expect("a shell");
    janitor.stdin.as_mut().expect("a pipe").flush().expect("it listens");
    janitor
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {error}", arguments.join(" "));
}
