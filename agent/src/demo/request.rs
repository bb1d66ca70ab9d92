//! A minimal HTTP request.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The time limit of a request. On one machine an answer takes a millisecond;
/// this only ends what hangs.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Asks the sample application and returns its answer.
/// # Errors
/// A description of the failure.
pub(super) async fn ask(address: SocketAddr) -> Result<String, String> {
    match tokio::time::timeout(ANSWER_MAX, exchange(address)).await {
        Ok(Ok(answer)) => body(&answer),
        Ok(Err(error)) => Err(format!("no answer: {error}")),
        Err(_) => Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
    }
}

async fn exchange(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: hello\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn body(answer: &str) -> Result<String, String> {
    let status = answer.lines().next().unwrap_or("nothing at all");
    match answer.split_once("\r\n\r\n") {
        Some((_, body)) if status.starts_with("HTTP/1.1 200 ") => Ok(body.trim().to_string()),
        Some(_) | None => Err(format!("the answer was {status}")),
    }
}
