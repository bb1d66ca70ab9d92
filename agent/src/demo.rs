//! `skein demo`: five real agents on this machine, three releases, one bad.

mod app;

use anyhow::bail;
use clap::Args;

use crate::cli::{Exit, Screen};

pub(crate) use app::{AppArgs, serve};

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// How many hosts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=30))]
    hosts: u16,
    /// Leave the agents running at the end, and print how to look around
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(_screen: &Screen, args: DemoArgs) -> anyhow::Result<Exit> {
    bail!("{} hosts, keep: {}", args.hosts, args.keep)
}
