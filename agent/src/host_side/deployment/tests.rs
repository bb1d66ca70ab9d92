use super::*;

fn check(origin: &str, expected: &[(&str, &str)]) {
    let found = bundle_environment(origin);
    let found: Vec<_> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(found, expected, "{origin}");
}

#[test]
fn scripts_learn_where_the_bundle_came_from() {
    check("./build", &[]);
    check("github:acme/shop@0123abc", &[("BUNDLE_COMMIT", "0123abc")]);
    check("s3://b/path/app.tgz", &[("BUNDLE_BUCKET", "b"), ("BUNDLE_KEY", "path/app.tgz")]);
    check(
        "s3://b/app.tgz?versionId=v-1&etag=\"ff\"",
        &[
            ("BUNDLE_BUCKET", "b"),
            ("BUNDLE_KEY", "app.tgz"),
            ("BUNDLE_VERSION", "v-1"),
            ("BUNDLE_ETAG", "ff"),
        ],
    );
}
