//! Tests `s3://…` against a server that checks signatures.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::bundle;
use crate::cut::Cut;
use crate::host::Host;
use crate::object_store::ObjectStore;
use crate::packed;

/// The only user that the server knows.
pub(crate) const KEY: &str = "AKIASKEINTESTKEY0001";
pub(crate) const SECRET: &str = "s3cret-of-the-test";
const MIB: usize = 1024 * 1024;

/// Starts a server that only this user may read.
pub(crate) fn guarded() -> ObjectStore {
    ObjectStore::start(Some((KEY, SECRET)))
}

/// Starts a server that everybody may read.
fn open() -> ObjectStore {
    ObjectStore::start(None)
}

fn at(store: &ObjectStore) -> Host {
    Host::new().with("AWS_ENDPOINT_URL", &store.endpoint())
}

fn with_key(host: Host, secret: &str) -> Host {
    host.with("AWS_ACCESS_KEY_ID", KEY).with("AWS_SECRET_ACCESS_KEY", secret)
}

#[test]
fn the_environments_key_opens_it_and_scripts_learn_where_it_was() {
    let store = guarded();
    store.put("releases", "shop/app 1.tgz", &packed::tgz("", "s3"));
    let host = with_key(at(&store), SECRET);
    let ran = host.local("s3://releases/shop/app 1.tgz");
    ran.deployed("s3");
    assert_eq!(ran.variables("BUNDLE"), ["BUNDLE_BUCKET=releases", "BUNDLE_KEY=shop/app 1.tgz"]);
    assert_eq!(ran.variables("APPLICATION"), ["APPLICATION_NAME=s3://releases/shop/app 1.tgz"]);
    let checked = host.run({
        let mut command = host.command(crate::host::SKEIN);
        command.args(["local", "--check", "s3://releases/shop/app 1.tgz"]);
        command
    });
    assert!(checked.succeeded().said.contains("The bundle is valid."), "{}", checked.said);
}

#[test]
fn a_wrong_secret_is_said_to_be_one() {
    let store = guarded();
    store.put("releases", "app.tgz", &packed::tgz("", "s3"));
    let host = with_key(at(&store), "wrong-s3cret");
    let ran = host.local("s3://releases/app.tgz");
    ran.refused("SignatureDoesNotMatch");
    assert!(ran.said.contains("asked as access key AKIA…0001 of AWS_ACCESS_KEY_ID"), "{}", ran.said);
    assert!(!ran.said.contains("wrong-s3cret") && !ran.said.contains(KEY), "{}", ran.said);
    assert!(ran.took < Duration::from_secs(10), "it is not tried again: {:?}", ran.took);
    host.assert_clean();
}

#[test]
fn without_credentials_one_asks_as_nobody_or_not_at_all() {
    let guarded = guarded();
    guarded.put("releases", "app.tgz", &packed::tgz("", "s3"));
    at(&guarded).local("s3://releases/app.tgz").refused("there are no AWS credentials");
    at(&guarded).local("s3://releases/app.tgz?anonymous=true").refused("asked as nobody");
    let open = open();
    open.put("releases", "app.tgz", &packed::tgz("", "public"));
    at(&open).local("s3://releases/app.tgz?anonymous=true").deployed("public");
}

#[test]
fn what_is_not_there_is_said_and_not_asked_for_again() {
    let store = guarded();
    store.put("releases", "app.tgz", &packed::tgz("", "s3"));
    let host = with_key(at(&store), SECRET);
    let ran = host.local("s3://releases/other.tgz");
    ran.refused("`releases` has no `other.tgz`");
    assert!(ran.took < Duration::from_secs(10), "{:?}", ran.took);
    host.local("s3://releases").refused("write s3://BUCKET/KEY");
    host.local("s3://releases/app.tgz?version=1").refused("versionId=");
}

#[test]
fn an_etag_must_be_the_objects() {
    let store = guarded();
    store.put("releases", "app.tgz", b"\x1f\x8bno matter");
    let host = with_key(at(&store), SECRET);
    let ran = host.local("s3://releases/app.tgz?etag=%22ffff%22");
    ran.refused("not ffff as the source says");
    host.assert_clean();
}

#[test]
fn a_profile_has_key_and_endpoint() {
    let store = guarded();
    store.put("releases", "app.tgz", &packed::tgz("", "profile"));
    let config = format!(
        "[profile ops]\nregion = eu-central-1\nservices = store\naws_access_key_id = {KEY}\n\
         aws_secret_access_key = {SECRET}\n[services store]\ns3 =\n  endpoint_url = {}\n",
        store.endpoint()
    );
    let host = Host::new().with_file("AWS_CONFIG_FILE", "config", &config);
    host.with("AWS_PROFILE", "ops").local("s3://releases/app.tgz").deployed("profile");
}

#[test]
fn a_program_may_give_the_credentials() {
    let store = guarded();
    store.put("releases", "app.tgz", &packed::tgz("", "process"));
    let host = at(&store);
    let answer = host.dir.path().join("answer.json");
    let json = format!(r#"{{"Version": 1, "AccessKeyId": "{KEY}", "SecretAccessKey": "{SECRET}"}}"#);
    std::fs::write(&answer, json).expect("written");
    let config = format!("[default]\ncredential_process = /bin/cat {}\n", answer.display());
    host.with_file("AWS_CONFIG_FILE", "config", &config).local("s3://releases/app.tgz").deployed("process");
}

#[test]
fn an_instances_role_opens_it() {
    let store = guarded();
    store.put("releases", "app.tgz", &packed::tgz("", "instance"));
    let host = at(&store).with("AWS_EC2_METADATA_DISABLED", "false");
    let host = host.with("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance_metadata());
    host.local("s3://releases/app.tgz").deployed("instance");
}

/// Starts a stand-in for the part of an instance's metadata service (IMDSv2)
/// that returns credentials. The real one exists only on EC2, and moto's
/// answers lack the header with the lifetime of a token.
fn instance_metadata() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _ = answer(client);
        }
    });
    address
}

fn answer(mut client: TcpStream) -> Option<()> {
    const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
    let lines = BufReader::new(client.try_clone().ok()?).lines().map_while(Result::ok);
    let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = lines.first()?.split(' ').nth(1)?;
    let has_token = lines.iter().any(|line| line.eq_ignore_ascii_case("x-aws-ec2-metadata-token: token-1"));
    let credentials = format!(
        r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "{KEY}", "SecretAccessKey": "{SECRET}",
            "Token": "session", "LastUpdated": "2020-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z"}}"#
    );
    let (status, body) = match path {
        "/latest/api/token" => (200, "token-1"),
        _ if !has_token => (401, ""),
        ROLES => (200, "deployer"),
        _ if path == format!("{ROLES}deployer") => (200, credentials.as_str()),
        _ => (404, ""),
    };
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status} Answer\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .ok()
}

#[test]
fn a_bucket_in_another_region_is_found_there() {
    let host = with_key(Host::new().with("AWS_ENDPOINT_URL", &two_regions()), SECRET);
    host.local("s3://releases/app.tgz").deployed("elsewhere");
    let ran = host.local("s3://releases/app.tgz?region=eu-west-3");
    ran.deployed("elsewhere");
}

/// Starts a server for a bucket in eu-west-3, which redirects requests for
/// another region. It is a stand-in, because neither of the S3 servers here has
/// regions.
fn two_regions() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let lines = BufReader::new(client.try_clone().expect("a clone")).lines().map_while(Result::ok);
            let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let is_there = lines.iter().any(|line| line.contains("/eu-west-3/s3/aws4_request"));
            let wrong = b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>".to_vec();
            let (status, body) = if is_there { (200, packed::tgz("", "elsewhere")) } else { (400, wrong) };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} Answer\r\nx-amz-bucket-region: eu-west-3\r\nconnection: close\r\n\
                 content-length: {length}\r\n\r\n"
            );
            let _ = client.write_all(&[head.into_bytes(), body].concat());
        }
    });
    address
}

#[test]
fn a_cut_connection_goes_on_where_it_was() {
    let store = guarded();
    store.put("releases", "app.tar", &bundle::tar("", "cut", 8 * MIB));
    let cut = Cut::before(&store.endpoint(), &[3 * MIB, 2 * MIB]);
    let host = with_key(Host::new().with("AWS_ENDPOINT_URL_S3", &cut.endpoint()), SECRET);
    let ran = host.local("s3://releases/app.tar");
    // The signature covers the name of the host, which here is the relay's.
    ran.deployed("cut");
    let asked = cut.asked();
    let range = |at: usize| {
        let line = asked[at]
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
        line.and_then(|line| line.trim_end_matches('-').parse::<usize>().ok())
    };
    assert_eq!((asked.len(), range(0)), (3, None), "{asked:?}");
    let (second, third) = (range(1).expect("a range"), range(2).expect("a range"));
    assert!((2 * MIB..=3 * MIB).contains(&second), "{second}");
    assert!((second + MIB..=second + 2 * MIB).contains(&third), "{third}");
}

#[test]
fn a_large_object_takes_no_more_memory_than_a_small_one() {
    let store = open();
    store.put("releases", "small.tar", &bundle::tar("", "small", 0));
    store.put("releases", "large.tar", &bundle::tar("", "large", 160 * MIB));
    let memory = |name: &str| {
        let ran = at(&store).local(&format!("s3://releases/{name}.tar?anonymous=true"));
        ran.deployed(name).memory()
    };
    let (small, large) = (memory("small"), memory("large"));
    let more = large.saturating_sub(small) / MIB as u64;
    assert!(more < 32, "160 MiB took {more} MiB more than nothing: {small}, {large}");
}
