//! Tests `github:…` against GitHub's protocol: an API that redirects to another
//! host, which has the archive.

use crate::host::Host;
use crate::packed;
use crate::web::{Reply, Web};

/// The name of the directory at the top of an archive, as GitHub chooses it.
const TOP: &str = "acme-shop-8c2f1de/";

/// Starts a server with the API under one host name and the archives under
/// another.
fn github(is_private: bool) -> Web {
    let (tgz, zip) = (packed::tgz(TOP, "tarball"), packed::zip(TOP, "zipball"));
    Web::start(move |asked, _| {
        let has_token = asked.headers.get("authorization").is_some_and(|token| token == "Bearer t0ken");
        let port = asked.host.rsplit_once(':').map_or("", |(_, port)| port);
        let on = |path: &str| Reply::redirect(&format!("https://127.0.0.1:{port}{path}?token=s3cret"));
        match asked.target.as_str() {
            path if path.starts_with("/api") && is_private && !has_token => Reply::new(404, b"{}"),
            "/api/v3/repos/acme/shop/tarball/8c2f1de" | "/api/v3/repos/acme/shop/tarball/HEAD" => on("/tar"),
            "/api/v3/repos/acme/shop/zipball/8c2f1de" => on("/zip"),
            "/tar?token=s3cret" => Reply::new(200, &tgz),
            "/zip?token=s3cret" => Reply::new(200, &zip),
            _ => Reply::new(404, b"{}"),
        }
    })
}

fn host_of(web: &Web) -> Host {
    let host = Host::new().with_file("SSL_CERT_FILE", "ca.pem", &web.certificate);
    host.with("GITHUB_API_URL", &web.url("/api/v3"))
}

#[test]
fn a_commits_archive_comes_without_the_directory_around_it() {
    let web = github(false);
    let ran = host_of(&web).local("github:acme/shop@8c2f1de");
    ran.deployed("tarball");
    assert_eq!(ran.variables("BUNDLE"), ["BUNDLE_COMMIT=8c2f1de"]);
    host_of(&web).local("https://api.github.com/repos/acme/shop/zipball/8c2f1de").deployed("zipball");
    let ran = host_of(&web).local("https://github.com/acme/shop");
    assert_eq!(ran.deployed("tarball").variables("BUNDLE"), ["BUNDLE_COMMIT=HEAD"]);
}

#[test]
fn the_token_is_for_the_api_alone() {
    let web = github(true);
    let ran = host_of(&web).with("GITHUB_TOKEN", "t0ken").local("github:acme/shop@8c2f1de");
    ran.deployed("tarball");
    assert!(
        !ran.variables("GITHUB").iter().any(|line| line.contains("t0ken")),
        "scripts get it: {}",
        ran.trace
    );
    assert!(!ran.variables("GITHUB").is_empty(), "they do get what is no secret: {}", ran.trace);
    let asked = web.asked();
    assert_eq!(asked[0].headers["authorization"], "Bearer t0ken");
    assert_eq!(asked[0].headers["accept"], "application/vnd.github+json");
    assert!(asked[1].host.starts_with("127.0.0.1"), "{asked:?}");
    assert!(!asked[1].headers.contains_key("authorization"), "{asked:?}");
    assert!(!ran.said.contains("t0ken") && !ran.said.contains("s3cret"), "{}", ran.said);
}

#[test]
fn a_refusal_says_whether_there_was_a_token() {
    let web = github(true);
    host_of(&web).local("github:acme/shop@8c2f1de").refused("no token was given");
    host_of(&web).with("GITHUB_TOKEN", "t0ken").local("github:acme/shop@0000000").refused("may not see it");
    let web = Web::start(|_, _| {
        let reset = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() + 600;
        Reply::new(403, b"")
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", &reset.to_string())
    });
    let ran = host_of(&web).local("github:acme/shop@8c2f1de");
    ran.refused("there will be more in 10 minutes; with a GITHUB_TOKEN more are allowed");
    assert_eq!(web.asked().len(), 1);
    let odd = Host::new().with("GITHUB_API_URL", "http://ghe.example/api/v3");
    odd.local("github:acme/shop@8c2f1de").refused("write https://HOST/api/v3");
    Host::new().local("github:acme/shop").refused("write github:OWNER/REPO@COMMIT");
}
