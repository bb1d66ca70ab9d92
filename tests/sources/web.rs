//! A web server with TLS. The test writes its answers, down to the byte at
//! which the connection is cut.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request that was received.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The host as the client wrote it, such as `localhost:1234`.
    pub(crate) host: String,
    pub(crate) target: String,
    /// The headers, by lower-case names.
    pub(crate) headers: BTreeMap<String, String>,
}

/// An answer of the test's web server.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
    /// The number of bytes of the body that are really sent.
    sent: usize,
}

impl Reply {
    pub(crate) fn new(status: u16, body: &[u8]) -> Reply {
        let length = format!("content-length: {}", body.len());
        Reply { status, headers: vec![length], body: body.to_vec(), sent: body.len() }
    }

    pub(crate) fn redirect(to: &str) -> Reply {
        Reply::new(302, b"").header("location", to)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.retain(|header| !header.starts_with(&format!("{name}:")));
        self.headers.push(format!("{name}: {value}"));
        self
    }

    pub(crate) fn cut_after(mut self, bytes: usize) -> Reply {
        self.sent = bytes;
        self
    }

    /// Returns the whole body, or the requested range, as a server with ETags
    /// does.
    pub(crate) fn ranged(asked: &Asked, body: &[u8], tag: &str) -> Reply {
        let range =
            asked.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let is_same = asked.headers.get("if-range").is_none_or(|wanted| wanted == tag);
        let reply = match range.and_then(|from| from.parse::<usize>().ok()).filter(|_| is_same) {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                Reply::new(206, &body[from..]).header("content-range", &range)
            }
            None => Reply::new(200, body),
        };
        reply.header("etag", tag)
    }

    fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        write!(to, "HTTP/1.1 {} Reply\r\nconnection: close\r\n", self.status)?;
        for header in &self.headers {
            write!(to, "{header}\r\n")?;
        }
        to.write_all(b"\r\n")?;
        to.write_all(&self.body[..self.sent.min(self.body.len())])?;
        to.flush()
    }
}

type Answers = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

/// A server. It runs until the test's process ends.
pub(crate) struct Web {
    pub(crate) port: u16,
    /// The certificate to put into `SSL_CERT_FILE`.
    pub(crate) certificate: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Web {
    /// Starts a server. `answers` gets each request and the number of requests
    /// before it.
    pub(crate) fn start(answers: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Web {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key_pair.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate of its key");
        let (config, answers): (_, Arc<Answers>) = (Arc::new(config), Arc::new(answers));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let web = Web { port, certificate: made.cert.pem(), asked: asked.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, answers, asked) = (config.clone(), answers.clone(), asked.clone());
                std::thread::spawn(move || serve(stream, config, &*answers, &asked));
            }
        });
        web
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

/// Serves one request per connection. Clients that disconnect early are
/// ignored.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, answers: &Answers, asked: &Mutex<Vec<Asked>>) {
    let connection = ServerConnection::new(config).expect("a connection");
    let mut stream = StreamOwned::new(connection, stream);
    let Some(request) = read(&mut stream) else { return };
    let before = {
        let mut asked = asked.lock().expect("no panic");
        asked.push(request.clone());
        asked.len() - 1
    };
    let reply = answers(&request, before);
    let _ = reply.write(&mut stream);
    if reply.sent >= reply.body.len() {
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
    let _ = stream.sock.shutdown(Shutdown::Write);
    // Waits until the client has read: a reset would discard the answer.
    let _ = stream.sock.read(&mut [0; 1]);
}

fn read(stream: &mut impl Read) -> Option<Asked> {
    let mut lines = BufReader::with_capacity(1, stream).lines();
    let first = lines.next()?.ok()?;
    let target = first.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let host = headers.get("host").cloned().unwrap_or_default();
    Some(Asked { host, target, headers })
}
