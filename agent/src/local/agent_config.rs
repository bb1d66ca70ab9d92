//! The parts of the official agent's configuration file that matter here. It is YAML whose keys are
//! Ruby symbols (`:root_dir:`).

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The path at which the official agent looks for it.
pub(crate) const DEFAULT: &str = "/etc/codedeploy-agent/conf/codedeployagent.yml";

/// The settings in use; all others in the file are ignored.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct AgentConfig {
    #[serde(rename = ":root_dir:", alias = ":root_dir", alias = "root_dir")]
    pub(crate) root_dir: Option<PathBuf>,
    #[serde(rename = ":max_revisions:", alias = ":max_revisions", alias = "max_revisions")]
    pub(crate) max_revisions: Option<usize>,
    #[serde(
        rename = ":s3_endpoint_override:",
        alias = ":s3_endpoint_override",
        alias = "s3_endpoint_override"
    )]
    pub(crate) s3_endpoint: Option<String>,
}

/// The reason why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("the configuration file `{}` is not YAML with keys such as `:root_dir:`", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        cause: Box<serde_saphyr::Error>,
    },
    #[error("`{}` has `:max_revisions: 0`: at least 1 must be kept, the current one", path.display())]
    NothingKept { path: PathBuf },
}

impl AgentConfig {
    pub(crate) fn read(path: &Path) -> Result<AgentConfig, ConfigError> {
        let read = |cause| ConfigError::Read { path: path.to_owned(), cause };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let parse = |cause| ConfigError::Parse { path: path.to_owned(), cause: Box::new(cause) };
        let config: Option<AgentConfig> = serde_saphyr::from_str(&text).map_err(parse)?;
        let config = config.unwrap_or_default();
        if config.max_revisions == Some(0) {
            return Err(ConfigError::NothingKept { path: path.to_owned() });
        }
        Ok(config)
    }

    /// Reads the file at [`DEFAULT`], if it exists, so that a host with the official agent
    /// continues with its state.
    pub(crate) fn of_this_host() -> Result<AgentConfig, ConfigError> {
        match AgentConfig::read(Path::new(DEFAULT)) {
            Err(ConfigError::Read { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
                Ok(AgentConfig::default())
            }
            read => read,
        }
    }
}
