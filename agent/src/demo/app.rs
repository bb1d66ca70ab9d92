//! The demo's sample application: answers every request with its release.
//!
//! On SIGTERM it stops accepting and finishes the requests in progress, as an
//! application must do to be updated without losing a request.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::request::ask;
use crate::cli::Exit;

/// Time for requests in progress to finish; then they are cut off.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// The longest request, in bytes; a longer one is not from the demo.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// The interval at which it checks if the demo still exists.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct AppArgs {
    /// Where to listen, or to ask
    address: SocketAddr,
    /// What to answer, or to expect
    release: String,
    /// Written once it listens, removed when it has ended; it ends if the file is gone
    #[arg(long, required_unless_present = "check")]
    pid_file: Option<PathBuf>,
    /// Answer with status 500, as a broken release does
    #[arg(long)]
    broken: bool,
    /// Ask the application instead of being it
    #[arg(long)]
    check: bool,
}

pub(crate) async fn serve(args: AppArgs) -> anyhow::Result<Exit> {
    match &args.pid_file {
        Some(pid_file) if !args.check => listen(&args, pid_file).await,
        Some(_) | None => check(&args).await,
    }
}

async fn check(args: &AppArgs) -> anyhow::Result<Exit> {
    println!("asking http://{}/", args.address);
    match ask(args.address).await {
        Ok(release) if release == args.release => {
            println!("it answers with {release}");
            Ok(Exit::Done)
        }
        Ok(release) => bail!("it answers with {release} instead of {}", args.release),
        Err(problem) => bail!("{problem}"),
    }
}

async fn listen(args: &AppArgs, pid_file: &Path) -> anyhow::Result<Exit> {
    let listener = TcpListener::bind(args.address).await;
    let listener =
        listener.with_context(|| format!("the sample application cannot listen on {}", args.address))?;
    std::fs::write(pid_file, std::process::id().to_string()).context("cannot write the pid file")?;
    let ended = answer_all(args, listener, pid_file).await;
    let _ = std::fs::remove_file(pid_file);
    ended
}

async fn answer_all(args: &AppArgs, listener: TcpListener, pid_file: &Path) -> anyhow::Result<Exit> {
    let mut terminate = signal(SignalKind::terminate()).context("no signals on this machine")?;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    under_way.spawn(answer(stream, args.release.clone(), args.broken));
                }
            }
            Some(_) = under_way.join_next() => {}
            // The demo's directory is gone, so the demo is over.
            _ = look.tick() => if !pid_file.exists() { break },
            _ = terminate.recv() => break,
        }
    }
    drop(listener);
    let drained = async { while under_way.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
    Ok(Exit::Done)
}

/// Handles a connection's only request: reads its head and answers.
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
