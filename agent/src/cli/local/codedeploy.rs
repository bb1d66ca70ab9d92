//! `codedeploy-local`: what this program is when it is called by that name.
//!
//! Its options, their defaults and forms, its checks and its two exit codes are
//! the official tool's, so that scripts need no change. What it does is what
//! `skein local` does. Two checks of that tool are left out: a configuration
//! file need not be there unless one is named, and any path may be a bundle's
//! location, also one with blanks.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use super::{Exit, Kind, LocalArgs};
use crate::bundle::source::Source;
use crate::cli::{Global, Screen};
use crate::host_side::APPSPEC_NAME;
use crate::host_side::deployment::find_appspec;

/// The name that makes it so.
pub(crate) const NAME: &str = "codedeploy-local";

/// Deploys a bundle to this host alone, as AWS CodeDeploy's tool of this name does
#[derive(Parser, Debug)]
#[command(name = NAME, infer_long_args = true, disable_version_flag = true, max_term_width = 100)]
#[command(after_help = "This is Skein. `skein local --help` shows what it can do besides.")]
struct CodeDeployArgs {
    /// The bundle: a directory, an archive, s3://… or https://… [default: the current directory]
    #[arg(short = 'l', long, value_name = "LOCATION")]
    bundle_location: Option<String>,
    /// What the bundle is: directory, tar, tgz or zip
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "directory", ignore_case = true)]
    kind: Kind,
    /// What to do with files that are in the way: DISALLOW, OVERWRITE or RETAIN
    #[arg(short = 'b', long, value_name = "BEHAVIOR", default_value = "DISALLOW")]
    file_exists_behavior: String,
    /// The deployment group's id: chooses which earlier deployments this one follows
    #[arg(short = 'g', long, value_name = "ID", default_value = "default-local-deployment-group")]
    deployment_group: String,
    /// DEPLOYMENT_GROUP_NAME in the scripts' environment
    #[arg(short = 'd', long, value_name = "NAME", default_value = "LocalFleet")]
    deployment_group_name: String,
    /// APPLICATION_NAME in the scripts' environment [default: the bundle's location]
    #[arg(short = 'a', long, value_name = "NAME")]
    application_name: Option<String>,
    /// The events to run, with commas and without blanks [default: all eleven]
    #[arg(short = 'e', long, value_name = "EVENTS")]
    events: Option<String>,
    /// The agent's configuration file [default: /etc/codedeploy-agent/conf/codedeployagent.yml]
    #[arg(short = 'c', long, value_name = "FILE")]
    agent_configuration_file: Option<PathBuf>,
    /// The AppSpec file's path in the bundle
    #[arg(short = 'A', long, value_name = "PATH", default_value = APPSPEC_NAME)]
    appspec_filename: String,
    /// Print the version
    #[arg(short = 'v', long)]
    version: bool,
}

/// Does what was typed; all that can go wrong ends with 1, as there.
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
        // The tool's own number is one that scripts may look for.
        println!("1.0 (skein {})", env!("CARGO_PKG_VERSION"));
        return Exit::Done;
    }
    let done = args.into_local().and_then(|local| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(super::run(local, &Screen::new(&Global::default())))
    });
    done.unwrap_or_else(|error| crate::cli::report(&error, false))
}

impl CodeDeployArgs {
    /// The same for `skein local`.
    /// # Errors
    /// What the official tool refuses before it begins.
    fn into_local(self) -> anyhow::Result<LocalArgs> {
        let location = self.bundle_location.unwrap_or_else(|| ".".to_owned());
        if let (Kind::Directory, Ok(Source::Path(path))) = (self.kind, location.parse())
            && path.is_dir()
        {
            find_appspec(&path, &self.appspec_filename)?;
        }
        Ok(LocalArgs {
            source: None,
            bundle_location: Some(location),
            check: false,
            kind: Some(self.kind),
            file_exists_behavior: self.file_exists_behavior,
            deployment_group: self.deployment_group,
            deployment_group_name: self.deployment_group_name,
            application_name: self.application_name,
            events: self.events,
            ignore_application_stop_failures: false,
            only_events: None,
            keep_going: false,
            blue_green_rollback: false,
            agent_configuration_file: self.agent_configuration_file,
            deploy_root: None,
            appspec_filename: self.appspec_filename,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> LocalArgs {
        let words = std::iter::once(NAME).chain(words.iter().copied());
        CodeDeployArgs::try_parse_from(words).expect("parsed").into_local().expect("accepted")
    }

    #[test]
    fn options_have_the_official_forms_and_defaults() {
        let args = parsed(&["-l", "/no/bundle.tgz", "-ttgz"]);
        assert_eq!((args.bundle_location.as_deref(), args.kind), (Some("/no/bundle.tgz"), Some(Kind::Tgz)));
        assert_eq!(args.deployment_group, "default-local-deployment-group");
        assert_eq!(args.deployment_group_name, "LocalFleet");
        assert_eq!(
            (args.file_exists_behavior.as_str(), args.appspec_filename.as_str()),
            ("DISALLOW", "appspec.yml")
        );
        let args = parsed(&[
            "--bundle-loc=/no/b",
            "--type=ZIP",
            "--file-exists-behavior=overwrite",
            "-e",
            "Install",
        ]);
        assert_eq!((args.bundle_location.as_deref(), args.kind), (Some("/no/b"), Some(Kind::Zip)));
        assert_eq!(
            (args.file_exists_behavior.as_str(), args.events.as_deref()),
            ("overwrite", Some("Install"))
        );
    }

    #[test]
    fn a_directory_needs_its_appspec_before_anything_begins() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let location = dir.path().to_str().expect("text");
        let args = CodeDeployArgs::try_parse_from([NAME, "-l", location]).expect("parsed");
        let refused = args.into_local().expect_err("refused").to_string();
        assert!(refused.contains("there is no AppSpec file `appspec.yml`"), "{refused}");
    }
}
