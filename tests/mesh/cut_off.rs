//! A host loses its network for a while; the test measures how soon the mesh is
//! whole again. Each agent has a network namespace, and the test unplugs the
//! cable of one of them, so that neither side learns that the other is gone.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::world::{Mesh, wait_at_most};

/// Namespaces of one test, joined by a bridge. They are removed when this is
/// dropped.
pub(crate) struct Net {
    prefix: String,
    hosts: u8,
}

impl Net {
    /// Returns `None` where they cannot be created: that needs root and `ip`.
    fn of(hosts: u8) -> Option<Net> {
        let net = Net { prefix: format!("skein-{}", std::process::id()), hosts };
        let bridge = net.bridge();
        let is_made = ip(&["netns", "add", &bridge])
            && ip(&["-n", &bridge, "link", "add", "br0", "type", "bridge"])
            && ip(&["-n", &bridge, "link", "set", "br0", "up"])
            && (1..=hosts).all(|number| net.add(number));
        is_made.then_some(net)
    }

    fn add(&self, number: u8) -> bool {
        let (bridge, host, port) = (self.bridge(), self.namespace(number), format!("v{number}"));
        let address = format!("10.77.0.{number}/24");
        ip(&["netns", "add", &host])
            && ip(&[
                "-n", &bridge, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &host,
            ])
            && ip(&["-n", &bridge, "link", "set", &port, "master", "br0", "up"])
            && ip(&["-n", &host, "addr", "add", &address, "dev", "eth0"])
            && ip(&["-n", &host, "link", "set", "eth0", "up"])
            && ip(&["-n", &host, "link", "set", "lo", "up"])
    }

    fn bridge(&self) -> String {
        format!("{}-br", self.prefix)
    }

    pub(crate) fn namespace(&self, number: u8) -> String {
        format!("{}-{number}", self.prefix)
    }

    /// Drops everything that is sent to or from the host from now on.
    fn cut(&self, number: u8) {
        assert!(ip(&["-n", &self.bridge(), "link", "set", &format!("v{number}"), "nomaster"]));
    }

    fn heal(&self, number: u8) {
        assert!(ip(&["-n", &self.bridge(), "link", "set", &format!("v{number}"), "master", "br0"]));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in (1..=self.hosts).map(|number| self.namespace(number)).chain([self.bridge()]) {
            // The namespace may never have been created.
            ip(&["netns", "del", &name]);
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|ran| ran.status.success())
}

fn connected(mesh: &Mesh, name: &str) -> u64 {
    let status = mesh.agent(name).get("/v1/status").unwrap_or_default();
    status["hosts"]["connected"].as_u64().unwrap_or(u64::MAX)
}

#[test]
fn after_a_cut_all_are_connected_again_within_seconds() {
    let Some(net) = Net::of(3) else {
        println!("skipped: needs root and `ip` to make network namespaces");
        return;
    };
    let mesh = Mesh::in_namespaces(&net, 3);
    let mut longest = Duration::ZERO;
    for cut in [2, 7, 12] {
        net.cut(3);
        let until = Instant::now() + Duration::from_secs(cut);
        if cut > 5 {
            wait_at_most(Duration::from_secs(10), "it hears nobody", || connected(&mesh, "web-3") == 0);
        }
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        net.heal(3);
        let healed = Instant::now();
        wait_at_most(Duration::from_secs(30), "all are connected again", || {
            ["web-1", "web-2", "web-3"].iter().all(|name| connected(&mesh, name) == 2)
        });
        println!("after a cut of {cut} s all are connected within {:?}", healed.elapsed());
        longest = longest.max(healed.elapsed());
    }
    // Three seconds, plus one for a machine with other work.
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    mesh.check();
}

#[test]
fn an_agent_that_is_killed_twice_over_quic_is_heard_again_at_once() {
    let mut mesh = Mesh::over_quic(3);
    let mut longest = Duration::ZERO;
    for _ in 0..2 {
        // Nothing tells the other hosts: over QUIC, the connections of a killed
        // agent seem alive.
        mesh.kill("web-3");
        mesh.start("web-3");
        let started = Instant::now();
        wait_at_most(Duration::from_secs(30), "all hear it", || {
            ["web-1", "web-2", "web-3"].iter().all(|name| connected(&mesh, name) == 2)
        });
        longest = longest.max(started.elapsed());
    }
    println!("after a kill over QUIC all are connected within {longest:?}");
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    mesh.check();
}
