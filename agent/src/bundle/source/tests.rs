use super::*;

fn check(text: &str, shown: &str) {
    let source: Source = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(source.to_string(), shown, "{text}");
}

#[test]
fn every_form_that_users_type_is_understood() {
    check("./build", "./build");
    check("file:///srv/app.zip", "/srv/app.zip");
    check("odd:name.tgz", "odd:name.tgz");
    let digest = Digest::of(b"x").to_string();
    check(&digest, &digest);
    check("s3://b/k.tgz?versionId=3&etag=\"a\"", "s3://b/k.tgz?versionId=3&etag=a");
    check("github:acme/shop@0123abc", "github:acme/shop@0123abc");
    check("https://releases.example/shop-1.2.tgz", "https://releases.example/shop-1.2.tgz");
}

#[test]
fn githubs_addresses_are_commits() {
    check("https://github.com/acme/shop", "github:acme/shop@HEAD");
    check("https://github.com/acme/shop.git", "github:acme/shop@HEAD");
    check("https://api.github.com/repos/acme/shop/tarball/0123abc", "github:acme/shop@0123abc");
    check("https://api.github.com/repos/acme/shop/zipball/feature/x", "github:acme/shop@feature/x?zip");
    check("https://api.github.com/repos/acme/shop/tarball", "github:acme/shop@HEAD");
    let release = "https://github.com/acme/shop/releases/download/v1/shop.tgz";
    check(release, release);
}

#[test]
fn secrets_are_not_shown() {
    let text = "https://joe:s3cret@host.example/a.tgz?X-Amz-Signature=s3cret&file=a#s3cret";
    check(text, "https://host.example/a.tgz?…");
    let source: Source = text.parse().expect("a source");
    assert!(!format!("{source:?}").contains("s3cret"));
}

#[test]
fn what_is_no_source_says_what_is() {
    let long = "x".repeat(5_000);
    for (text, advice) in [
        ("", "give a directory"),
        (&long, "longer than 4096 bytes"),
        ("ftp://host/x", "`ftp` is an unknown kind of source: give a directory"),
        ("http://host/x", "use https://"),
        ("https://", "write https://HOST/PATH"),
        ("blake3:12", "digest"),
        ("s3://bucket", "write s3://BUCKET/KEY"),
    ] {
        let error = text.parse::<Source>().expect_err(text);
        assert!(crate::telemetry::chain(&error).contains(advice), "{text}: {error}");
    }
}
