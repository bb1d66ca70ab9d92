use super::*;

fn check(text: &str, canonical: &str, variables: &[(&str, &str)]) {
    let origin: Origin = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(origin.to_string(), canonical, "{text}");
    assert_eq!(canonical.parse(), Ok(origin.clone()), "{canonical} is read as it was meant");
    let found = origin.variables();
    let found: Vec<_> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(found, variables, "{text}");
}

#[test]
fn an_object_says_where_it_is_and_what_it_must_be() {
    let place = [("BUNDLE_BUCKET", "b"), ("BUNDLE_KEY", "path/app.tgz")];
    check("s3://b/path/app.tgz", "s3://b/path/app.tgz", &place);
    check(
        "s3://b/path/app.tgz?versionid=v%2B1&eTag=\"ff\"&region=eu-west-1",
        "s3://b/path/app.tgz?versionId=v%2B1&etag=ff&region=eu-west-1",
        &[place[0], place[1], ("BUNDLE_VERSION", "v+1"), ("BUNDLE_ETAG", "ff")],
    );
    check(
        "s3://b/path/app.tgz?etag=%22ff-2%22&pathStyle=true",
        "s3://b/path/app.tgz?etag=ff-2&pathStyle=true",
        &[place[0], place[1], ("BUNDLE_ETAG", "ff-2")],
    );
    check("s3://b/path/app.tgz?anonymous=true&etag=", "s3://b/path/app.tgz?anonymous=true", &place);
}

#[test]
fn a_key_may_be_nearly_anything() {
    let of = |key| [("BUNDLE_BUCKET", "b"), ("BUNDLE_KEY", key)];
    check("s3://b/a b+%20ü.zip", "s3://b/a b+%20ü.zip", &of("a b+%20ü.zip"));
    check("s3://b/what?.zip?", "s3://b/what?.zip?", &of("what?.zip"));
    check("s3://b//double//slash", "s3://b//double//slash", &of("/double//slash"));
}

#[test]
fn a_commit_is_a_repository_and_a_name_in_it() {
    check("github:acme/shop@0123abc", "github:acme/shop@0123abc", &[("BUNDLE_COMMIT", "0123abc")]);
    check(
        "github:a-b/c.d_e@feature/x@2",
        "github:a-b/c.d_e@feature/x@2",
        &[("BUNDLE_COMMIT", "feature/x@2")],
    );
    check("github:acme/shop@v1?zip", "github:acme/shop@v1?zip", &[("BUNDLE_COMMIT", "v1")]);
}

#[test]
fn what_is_none_is_refused_with_what_to_write() {
    for (text, advice) in [
        ("s3://bucket", "write s3://BUCKET/KEY"),
        ("s3://bucket/", "write s3://BUCKET/KEY"),
        ("s3:///key", "write s3://BUCKET/KEY"),
        ("s3://b/k\n", "write s3://BUCKET/KEY"),
        ("s3://b/k?version=1", "there are versionId="),
        ("s3://b/k?pathStyle=yes", "neither true nor false"),
        ("github:acme/shop", "write github:OWNER/REPO@COMMIT"),
        ("github:acme@1", "write github:OWNER/REPO@COMMIT"),
        ("github:acme/shop@", "write github:OWNER/REPO@COMMIT"),
        ("github:acme/../shop@1", "write github:OWNER/REPO@COMMIT"),
        ("github:acme/shop@../../x", "write github:OWNER/REPO@COMMIT"),
        ("github:acme/shop@a?b", "write github:OWNER/REPO@COMMIT"),
        ("./here", "write s3://BUCKET/KEY"),
    ] {
        let error = text.parse::<Origin>().expect_err(text);
        assert!(error.to_string().contains(advice), "{text}: {error}");
    }
}
