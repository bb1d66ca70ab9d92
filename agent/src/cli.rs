//! The command line.

pub(crate) mod local;

use clap::{Parser, Subcommand};

/// Deploys applications to fleets of hosts, without a central server.
#[derive(Parser)]
#[command(name = "skein", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Deploy a bundle to this host alone, without a mesh
    Local(Box<local::LocalArgs>),
}
