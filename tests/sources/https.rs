//! Tests `https://…` sources.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::bundle;
use crate::host::{Host, SKEIN};
use crate::packed;
use crate::web::{Reply, Web};

fn host_of(web: &Web) -> Host {
    Host::new().with_file("SSL_CERT_FILE", "ca.pem", &web.certificate)
}

#[test]
fn a_bundle_comes_and_its_address_keeps_its_secrets() {
    let tgz = packed::tgz("", "web");
    let web = Web::start(move |asked, _| match asked.target.as_str() {
        "/app.tgz?sig=s3cret" => Reply::new(200, &tgz),
        _ => Reply::new(404, b""),
    });
    let address = web.url("/app.tgz?sig=s3cret").replace("https://", "https://joe:s3cret@");
    let ran = host_of(&web).local(&address);
    ran.deployed("web");
    assert!(web.asked()[0].headers["authorization"].starts_with("Basic "));
    assert_eq!(ran.variables("BUNDLE"), Vec::<&str>::new());
    assert!(!ran.said.contains("s3cret") && !ran.trace.contains("s3cret"), "{ran:?}");
}

#[test]
fn a_cut_connection_goes_on_where_it_was() {
    let tar = bundle::tar("", "cut", 3_000_000);
    let web = Web::start(move |asked, before| match before {
        0 => Reply::ranged(asked, &tar, "\"v1\"").cut_after(1_000_000),
        1 => Reply::ranged(asked, &tar, "\"v1\"").cut_after(700_000),
        _ => Reply::ranged(asked, &tar, "\"v1\""),
    });
    host_of(&web).local(&web.url("/app.tar")).deployed("cut");
    let asked = web.asked();
    let from = |at: usize| {
        let range = asked[at].headers["range"].strip_prefix("bytes=").expect("bytes").trim_end_matches('-');
        range.parse::<usize>().expect("a number")
    };
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(from(1) > 900_000 && from(1) <= 1_000_000, "{}", from(1));
    assert!(from(2) > from(1) + 600_000 && from(2) <= from(1) + 700_000, "{}", from(2));
    assert_eq!(asked[1].headers["if-range"], "\"v1\"");
}

#[test]
fn what_has_changed_meanwhile_is_taken_from_the_start() {
    let (old, new) = (bundle::tar("", "old", 900_000), bundle::tar("", "new", 900_000));
    let web = Web::start(move |asked, before| match before {
        0 => Reply::ranged(asked, &old, "\"v1\"").cut_after(500_000),
        _ => Reply::ranged(asked, &new, "\"v2\""),
    });
    host_of(&web).local(&web.url("/app.tar")).deployed("new");
    // A weak ETag does not promise the same bytes, so this download starts
    // again from the beginning, too.
    let tar = bundle::tar("", "weak", 900_000);
    let web = Web::start(move |_, before| match before {
        0 => Reply::new(200, &tar).header("etag", "W/\"v1\"").cut_after(500_000),
        _ => Reply::new(200, &tar).header("etag", "W/\"v1\""),
    });
    host_of(&web).local(&web.url("/app.tar")).deployed("weak");
    assert!(!web.asked()[1].headers.contains_key("range"));
}

#[test]
fn a_part_of_something_else_is_not_taken_for_the_rest() {
    let (old, new) = (bundle::tar("", "old", 900_000), bundle::tar("", "new", 900_000));
    let web = Web::start(move |asked, before| match before {
        0 => Reply::ranged(asked, &old, "\"v1\"").cut_after(500_000),
        // The server breaks its promise.
        1 => Reply::ranged(asked, &new, "\"v1\"").header("etag", "\"v2\""),
        _ => Reply::ranged(asked, &new, "\"v2\""),
    });
    host_of(&web).local(&web.url("/app.tar")).deployed("new");
    assert!(!web.asked()[2].headers.contains_key("range"));
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let tgz = packed::tgz("", "busy");
    let web = Web::start(move |_, before| match before {
        0 => Reply::new(503, b"").header("retry-after", "2"),
        1 => Reply::new(500, b""),
        _ => Reply::new(200, &tgz),
    });
    let ran = host_of(&web).local(&web.url("/app.tgz"));
    ran.deployed("busy");
    assert!(ran.took >= Duration::from_secs(3), "it waited for {:?} only", ran.took);
    assert!(ran.said.contains("503") && ran.said.contains("trying again in"), "{}", ran.said);
}

#[test]
fn a_server_that_brings_next_to_nothing_is_given_up() {
    let tar = bundle::tar("", "never", 900_000);
    let web = Web::start(move |asked, before| Reply::ranged(asked, &tar, "\"v1\"").cut_after(100 + before));
    let host = host_of(&web);
    let ran = host.local(&web.url("/app.tar"));
    ran.refused("gave up after 6 tries");
    assert_eq!(web.asked().len(), 6);
    host.assert_clean();
}

#[test]
fn a_server_that_wants_too_much_patience_is_not_waited_for() {
    let web = Web::start(|_, _| Reply::new(503, b"").header("retry-after", "3600"));
    let ran = host_of(&web).local(&web.url("/app.tgz"));
    ran.refused("come again in 3600 seconds");
    assert_eq!(web.asked().len(), 1);
}

#[test]
fn what_cannot_go_well_is_not_tried_again() {
    for (status, because) in [(404, "there is nothing at this address"), (403, "who asks"), (400, "400")] {
        let web = Web::start(move |_, _| Reply::new(status, b"no"));
        let host = host_of(&web);
        host.local(&web.url("/app.tgz?X-Amz-Signature=s3cret")).refused(because);
        assert_eq!(web.asked().len(), 1, "{status}");
        host.assert_clean();
    }
    let web = Web::start(|_, _| Reply::new(200, b"<html>Please log in</html>"));
    host_of(&web).local(&web.url("/app.tgz")).refused("neither a zip, tar");
}

#[test]
fn a_body_of_the_wrong_length_is_no_bundle() {
    let tar = bundle::tar("", "short", 900_000);
    let web = Web::start(move |asked, before| {
        let length = tar.len().to_string();
        match before {
            0 => Reply::new(200, &tar[..tar.len() / 2]).header("content-length", &length),
            _ => Reply::ranged(asked, &tar, "\"v1\""),
        }
    });
    let ran = host_of(&web).local(&web.url("/app.tar"));
    ran.deployed("short");
    assert!(ran.said.contains("was cut after"), "{}", ran.said);
}

#[test]
fn redirects_are_followed_a_few_times_and_never_to_http() {
    let tgz = packed::tgz("", "far");
    let web = Web::start(move |asked, _| {
        let host = &asked.host;
        match asked.target.as_str() {
            "/1" => Reply::redirect("/2"),
            "/2" => Reply::redirect(&format!("https://{host}/app.tgz")),
            "/app.tgz" => Reply::new(200, &tgz),
            "/loop" => Reply::redirect("/loop"),
            _ => Reply::redirect("http://example.invalid/app.tgz?token=s3cret"),
        }
    });
    host_of(&web).local(&web.url("/1")).deployed("far");
    host_of(&web).local(&web.url("/loop")).refused("at most 5 are followed");
    let before = web.asked().len();
    let ran = host_of(&web).local(&web.url("/down"));
    ran.refused("which is not https://");
    assert!(!ran.said.contains("s3cret"), "{}", ran.said);
    assert_eq!(web.asked().len(), before + 1);
    Host::new().local("http://example.invalid/app.tgz").refused("http:// is refused");
}

#[test]
fn a_password_stays_with_its_host() {
    let tgz = packed::tgz("", "moved");
    let web = Web::start(move |asked, _| match asked.target.as_str() {
        "/app.tgz" => {
            let port = asked.host.rsplit_once(':').map_or("", |(_, port)| port);
            Reply::redirect(&format!("https://127.0.0.1:{port}/other.tgz"))
        }
        _ => Reply::new(200, &tgz),
    });
    let address = web.url("/app.tgz").replace("https://", "https://joe:s3cret@");
    host_of(&web).local(&address).deployed("moved");
    let asked = web.asked();
    assert!(asked[0].headers.contains_key("authorization"));
    assert!(!asked[1].headers.contains_key("authorization"), "{asked:?}");
}

#[test]
fn an_unknown_authority_is_named_as_the_reason() {
    let web = Web::start(|_, _| Reply::new(200, b""));
    let ran = Host::new().local(&web.url("/app.tgz"));
    ran.refused("SSL_CERT_FILE");
    assert!(ran.took < Duration::from_secs(10), "no second try makes it known");
}

#[test]
fn a_proxy_is_used_if_the_environment_names_one() {
    let tgz = packed::tgz("", "proxied");
    let web = Web::start(move |_, _| Reply::new(200, &tgz));
    let (proxy, used) = proxy();
    let host = host_of(&web).with("HTTPS_PROXY", &proxy);
    host.local(&web.url("/app.tgz")).deployed("proxied");
    assert_eq!(used.load(Ordering::SeqCst), 1);
    host.with("NO_PROXY", "localhost").local(&web.url("/app.tgz")).deployed("proxied");
    assert_eq!(used.load(Ordering::SeqCst), 1, "NO_PROXY is honoured");
}

/// Starts a proxy for `CONNECT`. Returns its address and the number of
/// connections.
fn proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let used = Arc::new(AtomicUsize::new(0));
    let counted = used.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || tunnel(client));
        }
    });
    (address, used)
}

fn tunnel(mut client: TcpStream) -> Option<()> {
    let mut lines = BufReader::with_capacity(1, client.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let to = first.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
    let mut server = TcpStream::connect(to.replace("localhost", "127.0.0.1")).ok()?;
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
    let (mut from, mut back) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut back));
    std::io::copy(&mut server, &mut client).ok()?;
    Some(())
}

#[test]
fn a_disk_without_room_is_noticed_before_the_download() {
    let host = Host::new();
    let small = host.dir.path().join("root");
    std::fs::create_dir(&small).expect("made");
    let mount = format!("mount -t tmpfs -o size=80m none '{}'", small.display());
    let can_mount = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", &mount])
        .output()
        .is_ok_and(|output| output.status.success());
    if !can_mount {
        println!("skipped: needs root, for a small disk of its own");
        return;
    }
    // The server announces 82 MB, which would leave no reserve on a disk of 84
    // MB, and never sends them: a client that asked for them would hang.
    let web = Web::start(|_, _| Reply::new(200, b"").header("content-length", "82000000"));
    let host = host.with_file("SSL_CERT_FILE", "ca.pem", &web.certificate);
    let mut command = host.command("unshare");
    command.args(["--mount", "sh", "-c", &format!("{mount} && exec \"$0\" \"$@\""), SKEIN, "local"]);
    command.args(["-l", &web.url("/app.tar"), "--deploy-root"]).arg(&small);
    let ran = host.run(command);
    ran.refused("the disk is full");
    assert!(ran.said.contains("82000000 bytes"), "{}", ran.said);
    assert_eq!(web.asked().len(), 1);
}
