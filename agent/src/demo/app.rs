//! The demo's sample application: answers every request with its version.
//!
//! On SIGTERM it stops accepting and finishes what it has begun, as an
//! application must that is to be updated without losing a request.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::cli::Exit;

/// Requests under way are finished within this, or cut off.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// A request that is longer is not one of the demo's.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

#[derive(Args)]
pub(crate) struct AppArgs {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// What to answer
    #[arg(long)]
    release: String,
    /// Answer with status 500, as a release does that is broken
    #[arg(long)]
    broken: bool,
}

pub(crate) async fn serve(args: AppArgs) -> anyhow::Result<Exit> {
    let listener = TcpListener::bind(args.listen).await;
    let listener =
        listener.with_context(|| format!("the sample application cannot listen on {}", args.listen))?;
    let mut terminate = signal(SignalKind::terminate()).context("no signals on this machine")?;
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    under_way.spawn(answer(stream, args.release.clone(), args.broken));
                }
            }
            Some(_) = under_way.join_next() => {}
            _ = terminate.recv() => break,
        }
    }
    drop(listener);
    let drained = async { while under_way.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
    Ok(Exit::Done)
}

/// One request a connection: reads its head and answers.
async fn answer(mut stream: TcpStream, release: String, broken: bool) -> Option<()> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await.ok()?;
        head.extend_from_slice(&chunk[..read]);
        if read == 0 || head.len() > REQUEST_BYTES_MAX {
            return None;
        }
    }
    let status = if broken { "500 Internal Server Error" } else { "200 OK" };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{release}\n",
        release.len() + 1
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}
