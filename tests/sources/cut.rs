//! A TCP relay that cuts its first connections after a given number of bytes,
//! and keeps the requests that pass through it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub(crate) struct Cut {
    address: SocketAddr,
    /// The bytes that clients sent, one string for each connection.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Cut {
    /// Starts a relay to `endpoint`. The n-th connection returns `after[n]`
    /// bytes; connections after those return everything.
    pub(crate) fn before(endpoint: &str, after: &'static [usize]) -> Cut {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = endpoint.trim_start_matches("http://").to_owned();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        std::thread::spawn(move || {
            for (at, client) in listener.incoming().flatten().enumerate() {
                let bytes = after.get(at).copied().unwrap_or(usize::MAX);
                let (server, kept) = (server.clone(), kept.clone());
                kept.lock().expect("no panic").push(String::new());
                std::thread::spawn(move || relay(client, &server, bytes, &kept, at));
            }
        });
        Cut { address, asked }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn relay(mut client: TcpStream, server: &str, mut left: usize, kept: &Arc<Mutex<Vec<String>>>, at: usize) {
    let mut server = TcpStream::connect(server).expect("the server");
    let (mut from, mut to) = (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
    let kept = kept.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            kept.lock().expect("no panic")[at] += &String::from_utf8_lossy(&buffer[..read]);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
    });
    let mut buffer = [0; 16 * 1024];
    while left > 0
        && let Ok(read @ 1..) = server.read(&mut buffer)
    {
        let sent = read.min(left);
        left -= sent;
        if client.write_all(&buffer[..sent]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
