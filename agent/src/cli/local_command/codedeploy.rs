//! `codedeploy-local`: the behaviour of this program when called by that name.
//!
//! Its options, their defaults and forms, its checks and its two exit codes are the
//! official tool's, so that scripts need no change. The work is done by `skein local`.
//! Two of that tool's checks are left out: the configuration file need not exist
//! unless one is named, and any path may be a bundle's location, even one with blanks.

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;

use super::options::{BundleType, Options};
use super::{Exit, LocalArgs};
use crate::cli::{Global, Screen};

/// The program name that selects this behaviour.
pub(crate) const NAME: &str = "codedeploy-local";

/// Deploys a bundle to this host alone, as AWS CodeDeploy's tool of this name does
#[derive(Parser, Debug)]
#[command(name = NAME, infer_long_args = true, disable_version_flag = true, max_term_width = 100)]
#[command(after_help = "This is Skein. `skein local --help` shows what it can do besides.")]
struct CodeDeployArgs {
    /// What the bundle is
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "directory", ignore_case = true)]
    kind: BundleType,
    #[command(flatten)]
    options: Options,
    /// Print the version
    #[arg(short = 'v', long)]
    version: bool,
}

/// Runs what was typed. Every error ends with code 1, as in the official tool.
pub(crate) fn run(words: impl Iterator<Item = OsString>) -> Exit {
    let args = match CodeDeployArgs::try_parse_from(words) {
        Ok(args) => args,
        Err(help) if help.kind() == ErrorKind::DisplayHelp => {
            print!("{help}");
            return Exit::Done;
        }
        Err(error) => {
            eprint!("{error}");
            return Exit::Error;
        }
    };
    if args.version {
        // Scripts may look for the official tool's version number.
        println!("1.0 (skein {})", env!("CARGO_PKG_VERSION"));
        return Exit::Done;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(super::run(args.into_local(), &Screen::new(&Global::default())))
    });
    done.unwrap_or_else(|error| crate::cli::report(&error, false))
}

impl CodeDeployArgs {
    /// Converts the arguments to those of `skein local`.
    fn into_local(self) -> LocalArgs {
        LocalArgs {
            source: None,
            check: false,
            kind: Some(self.kind),
            options: self.options,
            ignore_application_stop_failures: false,
            only_events: None,
            keep_going: false,
            blue_green_rollback: false,
            deploy_root: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> LocalArgs {
        let words = std::iter::once(NAME).chain(words.iter().copied());
        CodeDeployArgs::try_parse_from(words).expect("parsed").into_local()
    }

    #[test]
    fn options_have_the_official_forms_and_defaults() {
        let args = parsed(&["-l", "/no/bundle.tgz", "-ttgz"]);
        let options = args.options;
        assert_eq!(
            (options.bundle_location.as_deref(), args.kind),
            (Some("/no/bundle.tgz"), Some(BundleType::Tgz))
        );
        assert_eq!(options.deployment_group, "default-local-deployment-group");
        assert_eq!(options.deployment_group_name, "LocalFleet");
        assert_eq!(
            (options.file_exists_behavior.as_str(), options.appspec_filename.as_str()),
            ("DISALLOW", "appspec.yml")
        );
        assert_eq!(parsed(&[]).kind, Some(BundleType::Directory));
        let words = ["--bundle-loc=/no/b", "--type=ZIP", "--file-exists-behavior=overwrite", "-e", "Install"];
        let args = parsed(&words);
        let options = args.options;
        assert_eq!((options.bundle_location.as_deref(), args.kind), (Some("/no/b"), Some(BundleType::Zip)));
        assert_eq!(
            (options.file_exists_behavior.as_str(), options.events.as_deref()),
            ("overwrite", Some("Install"))
        );
    }
}
