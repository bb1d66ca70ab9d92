//! Tests `s3://…?versionId=…&etag=…` against a server that keeps versions.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use crate::host::Host;
use crate::moto::Moto;
use crate::packed;

/// An object's version and ETag.
struct Put {
    version: String,
    etag: String,
}

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new("any", "any", None, None, "test"))
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true);
    Client::from_conf(config.build())
}

/// Creates a bucket with versions, and puts each of `bundles` under the same
/// key.
async fn fill(client: &Client, bundles: &[Vec<u8>]) -> Vec<Put> {
    client.create_bucket().bucket("releases").send().await.expect("a bucket");
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let versioning = client.put_bucket_versioning().bucket("releases").versioning_configuration(enabled);
    versioning.send().await.expect("versions");
    let mut puts = Vec::new();
    for bundle in bundles {
        let put = client.put_object().bucket("releases").key("app.tgz").body(bundle.clone().into());
        let put = put.send().await.expect("put");
        let etag = put.e_tag().expect("an ETag").trim_matches('"').to_owned();
        puts.push(Put { version: put.version_id().expect("a version").to_owned(), etag });
    }
    puts
}

#[test]
fn a_version_and_an_etag_say_which_of_several_it_is() {
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(missing) => {
            println!("skipped: needs moto ({missing})");
            return;
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let bundles = [packed::tgz("", "first"), packed::tgz("", "second")];
    let client = client(&moto.endpoint);
    let puts = runtime.block_on(fill(&client, &bundles));
    let (first, second) = (&puts[0], &puts[1]);
    let host = Host::new().with("AWS_ENDPOINT_URL", &moto.endpoint);
    let host = host.with("AWS_ACCESS_KEY_ID", "any").with("AWS_SECRET_ACCESS_KEY", "any");

    let ran = host.local("s3://releases/app.tgz");
    ran.deployed("second");
    assert_eq!(ran.variables("BUNDLE"), ["BUNDLE_BUCKET=releases", "BUNDLE_KEY=app.tgz"]);

    let source = format!("s3://releases/app.tgz?versionId={}&etag=\"{}\"", first.version, first.etag);
    let ran = host.local(&source);
    ran.deployed("first");
    let expected = [
        "BUNDLE_BUCKET=releases".to_owned(),
        format!("BUNDLE_ETAG={}", first.etag),
        "BUNDLE_KEY=app.tgz".to_owned(),
        format!("BUNDLE_VERSION={}", first.version),
    ];
    assert_eq!(ran.variables("BUNDLE"), expected);

    // The newest version has the second object's ETag.
    let ran = host.local(&format!("s3://releases/app.tgz?etag={}", first.etag));
    ran.refused(&format!("the object's ETag is {}, not {}", second.etag, first.etag));
    let ran = host.local("s3://releases/app.tgz?versionId=00000000-0000-0000-0000-000000000000");
    ran.refused("version");

    let deleted = client.delete_object().bucket("releases").key("app.tgz").send();
    runtime.block_on(deleted).expect("deleted");
    host.local("s3://releases/app.tgz").refused("`releases` has no `app.tgz`");
    host.local(&format!("s3://releases/app.tgz?versionId={}", second.version)).deployed("second");
}
