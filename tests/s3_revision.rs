//! The S3 server of the conformance cases. It has one object, with the version
//! and the ETag of the recording.

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{ETag, GetObjectInput, GetObjectOutput, StreamingBlob};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use serde_json::Value;
use tokio::runtime::Runtime;

const KEY: &str = "AKIACONFORMANCE00001";
const SECRET: &str = "conformance";

/// A server of one object. It stops when this is dropped.
pub(crate) struct Server {
    port: u16,
    /// The source under which `skein` finds the object.
    pub(crate) source: String,
    _runtime: Runtime,
}

/// The object, named by the revision of a step.
struct Object {
    bucket: String,
    key: String,
    archive: Vec<u8>,
}

/// The object's version and ETag are as in the recording.
const VERSION: &str = "v-1";
const ETAG: &str = "0123456789abcdef";

#[async_trait::async_trait]
impl S3 for Object {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { bucket, key, version_id, .. } = request.input;
        if bucket != self.bucket || key != self.key {
            return Err(s3_error!(NoSuchKey));
        }
        if version_id.is_some_and(|version| version != VERSION) {
            return Err(s3_error!(NoSuchVersion));
        }
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(self.archive.len()).ok(),
            body: Some(StreamingBlob::from(s3s::Body::from(self.archive.clone()))),
            e_tag: Some(ETag::Strong(ETAG.to_owned())),
            ..GetObjectOutput::default()
        }))
    }
}

impl Server {
    /// Starts a server for a step whose revision is in S3; None for other
    /// steps.
    pub(crate) fn of(revision: &Value, archive: Vec<u8>) -> Option<Server> {
        let word = |key: &str| revision[key].as_str().map(str::to_owned);
        let (bucket, key) = (word("Bucket")?, word("Key")?);
        let query = [("versionId", word("Version")), ("etag", word("ETag"))];
        let query = query.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        let source = format!("s3://{bucket}/{key}?{}", query.collect::<Vec<_>>().join("&"));
        let mut service = S3ServiceBuilder::new(Object { bucket, key, archive });
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let (service, runtime) = (service.build(), Runtime::new().expect("a runtime"));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service.clone()));
            }
        });
        Some(Server { port, source, _runtime: runtime })
    }

    /// Returns the environment variables that point `skein` to the server.
    pub(crate) fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    }
}
