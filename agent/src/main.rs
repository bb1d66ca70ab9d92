//! `skein`: the agent of a host, and the command line that speaks to it.

mod api;
mod backend;
mod cli;
mod client;
mod clock;
mod command;
mod config;
mod demo;
mod group_file;
mod identity;
mod join;
mod mesh_key;
mod secret_file;
mod start;
mod store;
mod toml_file;
mod view;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let wants_json = cli.global.json;
    let exit = cli::run(cli).unwrap_or_else(|error| cli::report(&error, wants_json));
    ExitCode::from(u8::from(exit))
}
