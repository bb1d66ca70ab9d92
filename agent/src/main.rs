//! `skein`: the agent that runs on a host, and the command line that talks to it.

mod alarm;
mod api;
mod ask;
mod backend;
mod ballast;
mod bundle;
mod check;
mod child_env;
mod cli;
mod client;
mod clock;
mod command;
mod config;
mod daemon;
mod demo;
mod effects;
mod exec;
mod founding;
mod group_file;
mod harmless;
mod held;
mod hooks;
mod host;
mod host_side;
mod identity;
mod install;
mod join;
mod local;
mod log_page;
mod mesh_key;
mod percent;
mod posix_acl;
mod private;
mod probe;
mod questions;
mod reachable;
mod recovery_key;
mod refusal_advice;
mod regular_file;
mod script_file;
mod secret_file;
mod share;
mod start;
mod store;
mod telemetry;
mod toml_file;
mod transport;
mod trigger;
mod view;
mod watching;
mod whole_file;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use cli::codedeploy;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    if Path::new(&called).file_name() == Some(OsStr::new(codedeploy::NAME)) {
        return ExitCode::from(u8::from(codedeploy::run(std::env::args_os())));
    }
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == hooks::KEEP_OUTPUT) {
        return hooks::keep_output(arguments);
    }
    let exit = match cli::Cli::try_parse() {
        Ok(cli) => {
            let wants_json = cli.global.json;
            cli::run(cli).unwrap_or_else(|error| cli::report(&error, wants_json))
        }
        Err(error) => cli::usage(&error, cli::wants_json(std::env::args_os())),
    };
    ExitCode::from(u8::from(exit))
}
