//! The options that `skein local` and `codedeploy-local` share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::bundle::Kind;
use crate::host_side::APPSPEC_NAME;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// The bundle: a directory or an archive, s3://…, https://…, github:owner/repo@commit [default: the current
    /// directory]
    #[arg(short = 'l', long, value_name = "SOURCE")]
    pub(super) bundle_location: Option<String>,
    /// What to do with files that are in the way
    #[arg(short = 'b', long, value_name = "DISALLOW|OVERWRITE|RETAIN", default_value = "DISALLOW")]
    pub(super) file_exists_behavior: String,
    /// The group's id: chooses which earlier deployments this one follows
    #[arg(short = 'g', long, value_name = "ID", default_value = "default-local-deployment-group")]
    pub(super) deployment_group: String,
    /// DEPLOYMENT_GROUP_NAME in the scripts' environment
    #[arg(short = 'd', long, value_name = "NAME", default_value = "LocalFleet")]
    pub(super) deployment_group_name: String,
    /// APPLICATION_NAME in the scripts' environment [default: the bundle's location]
    #[arg(short = 'a', long, value_name = "NAME")]
    pub(super) application_name: Option<String>,
    /// The events to run, with commas; your own are possible if the AppSpec hooks them [default: all eleven]
    #[arg(short = 'e', long, value_name = "EVENTS")]
    pub(super) events: Option<String>,
    /// The official agent's configuration file, for its root_dir [default:
    /// /etc/codedeploy-agent/conf/codedeployagent.yml]
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(super) agent_configuration_file: Option<PathBuf>,
    /// The AppSpec file's path in the bundle
    #[arg(short = 'A', long, value_name = "PATH", default_value = APPSPEC_NAME)]
    pub(super) appspec_filename: String,
}

/// The declared kind of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum BundleType {
    Directory,
    Tar,
    Tgz,
    Zip,
}

impl BundleType {
    /// Returns the kinds of archives that the official agent's tools would
    /// unpack. Its tar detects the compression itself, unless told.
    pub(super) fn archives(self) -> &'static [Kind] {
        match self {
            BundleType::Directory => &[],
            BundleType::Tar => &[Kind::Tar, Kind::TarGz, Kind::TarZst],
            BundleType::Tgz => &[Kind::TarGz],
            BundleType::Zip => &[Kind::Zip],
        }
    }
}
