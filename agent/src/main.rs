mod ask;
mod bundle;
mod check;
mod cli;
mod clock;
mod hooks;
mod host_side;
mod identity;
mod install;
mod local;
mod mesh_key;
mod secret_file;
mod store;
mod telemetry;
mod transport;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli::Cli { json, verb: cli::Verb::Local(args) } = cli::Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended =
        runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(cli::local::run(*args, json)));
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
