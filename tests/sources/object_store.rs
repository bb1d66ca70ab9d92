//! An S3 server in this process: `s3s-fs`, which checks signatures.

use std::net::SocketAddr;
use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A server and the directory of its buckets.
pub(crate) struct ObjectStore {
    address: SocketAddr,
    dir: tempfile::TempDir,
    _runtime: Runtime,
}

impl ObjectStore {
    /// Starts a server. With `user`, only that user may read and write;
    /// without, everybody may.
    pub(crate) fn start(user: Option<(&str, &str)>) -> ObjectStore {
        let dir = tempfile::tempdir().expect("a directory");
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir.path()).expect("a store"));
        if let Some((key, secret)) = user {
            builder.set_auth(SimpleAuth::from_single(key, secret));
        }
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("bound");
        runtime.spawn(serve(listener, builder.build()));
        ObjectStore { address, dir, _runtime: runtime }
    }

    /// Writes an object in the form of the server's own files.
    pub(crate) fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let path: PathBuf = self.dir.path().join(bucket).join(key);
        std::fs::create_dir_all(path.parent().expect("a bucket")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(connection);
    }
}
