//! `skein demo`: real agents on this machine, and three releases, one of them bad.
//!
//! Everything is done as an operator would, by running this executable: agents as
//! child processes, and every step as a command. It needs only /bin/sh.

mod app;
mod bundles;
mod fleet;
mod request;
mod story;
mod traffic;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Exit, Screen};

pub(crate) use app::{AppArgs, serve};

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// The number of hosts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=30))]
    hosts: u16,
    /// Leave the agents running at the end, and print how to look around
    #[arg(long)]
    keep: bool,
}

/// Plays the demo. Everything that it started ends with it, unless the user asked to keep it.
pub(crate) async fn run(screen: &Screen, args: DemoArgs) -> anyhow::Result<Exit> {
    let mut fleet = fleet::Fleet::prepare(args.hosts)?;
    let told = tokio::select! {
        told = story::tell(screen, &mut fleet) => told,
        interrupted = interrupted() => {
            fleet.end().await;
            return interrupted;
        }
    };
    match told {
        Ok(exit) if args.keep => {
            story::look_around(screen, &fleet);
            fleet.leave_running();
            Ok(exit)
        }
        Ok(exit) => {
            fleet.end().await;
            screen.progress(
                "\nThe agents are stopped and their files are gone. `skein demo --keep` leaves them running \
                 and prints how to look around.",
            );
            Ok(exit)
        }
        Err(error) => {
            screen.note(&format!("The agents said last:\n{}", fleet.logs()));
            fleet.end().await;
            Err(error.context("the demo did not go as it should"))
        }
    }
}

async fn interrupted() -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt()).context("no signals on this machine")?;
    let mut terminate = signal(SignalKind::terminate()).context("no signals on this machine")?;
    let mut hangup = signal(SignalKind::hangup()).context("no signals on this machine")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    bail!("interrupted: the demo and all that it started have ended")
}
