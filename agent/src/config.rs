//! The agent's configuration: `agent.toml`, overridden by flags.
//!
//! [`AgentFile`] holds the file as typed, and [`AgentFlags`] the command line. [`AgentConfig`] is
//! what both mean together: checked, with absolute paths and every default filled in.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use nix::unistd::{Gid, Group};
use proto::config::{VOTERS, VOTERS_DEFAULT};
use proto::group::{InvalidGroup, Tag};
use proto::statement::TAGS_MAX;
use serde::Deserialize;

use crate::bundle::remote::Settings;
use crate::toml_file::{self, TomlError};

/// The port on which agents listen by default; no registered service uses it.
pub(crate) const PORT_DEFAULT: u16 = 7717;
/// The data directory of root's agent.
pub(crate) const SYSTEM_DATA_DIR: &str = "/var/lib/skein";
const SYSTEM_SOCKET: &str = "/run/skein/skein.sock";

/// The content of `agent.toml`, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentFile {
    data_dir: Option<PathBuf>,
    #[serde(default)]
    listen: Vec<String>,
    join: Option<String>,
    join_file: Option<PathBuf>,
    name: Option<String>,
    replace: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    zone: Option<String>,
    deploy_root: Option<PathBuf>,
    api: Option<PathBuf>,
    socket_group: Option<String>,
    http: Option<String>,
    #[serde(default)]
    http_hosts: Vec<String>,
    voters: Option<u8>,
    log: Option<LogFormat>,
    #[serde(default)]
    sources: Settings,
}

/// The command-line flags of `skein agent`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct AgentFlags {
    /// Read settings from this TOML file; flags override it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the agent keeps its key, the ledger and bundles
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Listen here for other agents: IP:PORT or a multiaddress; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// Dial this address of a member first. A token is taken too, but other
    /// users of this host can read it here: see --join-file
    #[arg(long, value_name = "ADDR", conflicts_with = "join_file")]
    pub(crate) join: Option<String>,
    /// Enter a mesh by the token in this file; `/dev/fd/N` is a descriptor,
    /// `-` standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) join_file: Option<PathBuf>,
    /// Take the place of this host, by name or id, when joining: it leaves the mesh, if it is Down
    #[arg(long, value_name = "NAME")]
    pub(crate) replace: Option<String>,
    /// The name that people know the host by [default: its host name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A tag that groups select the host by; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub(crate) tags: Vec<String>,
    /// The zone that the host is in, such as a data center or rack
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// Where deployments and their logs are kept
    #[arg(long, value_name = "DIR")]
    pub(crate) deploy_root: Option<PathBuf>,
    /// Also answer API requests that only read on this TCP address
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) http: Option<String>,
}

/// The format of the agent's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines of text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The agent's configuration, complete and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentConfig {
    pub(crate) data_dir: PathBuf,
    /// The addresses to listen on.
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) join: Option<Join>,
    /// The host whose place it takes when it joins; empty if none.
    pub(crate) replace: String,
    pub(crate) name: String,
    pub(crate) tags: BTreeSet<Tag>,
    pub(crate) zone: String,
    pub(crate) deploy_root: PathBuf,
    /// The path of the API's Unix socket.
    pub(crate) api: PathBuf,
    /// The group whose members may use the socket; `None` for the agent's own group.
    pub(crate) socket_group: Option<Gid>,
    /// The TCP address of the API, which only answers reads there; `None` if it does not listen on
    /// TCP.
    pub(crate) http: Option<SocketAddr>,
    /// Lower-case host names that the API answers to on TCP, besides its addresses.
    pub(crate) http_hosts: BTreeSet<String>,
    pub(crate) voters: u8,
    pub(crate) log: LogFormat,
    /// Settings for downloading bundles.
    pub(crate) sources: Settings,
}

/// The way in which a host finds its mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// A join token, not parsed yet. `is_exposed` is true if it came from the command line, where
    /// every user of the host can read it.
    Token { text: String, is_exposed: bool },
    /// The path of a file that holds a join token.
    File(PathBuf),
    /// Addresses of a member. The mesh key is on this host already.
    Addresses(Vec<Multiaddr>),
}

/// An error in the agent's configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    File(#[from] TomlError),
    #[error("invalid listen address `{0}`: write IP:PORT (`0.0.0.0:{PORT_DEFAULT}`) or a multiaddress")]
    Listen(String),
    #[error("invalid API address `{0}`: write IP:PORT, for example 127.0.0.1:7718")]
    Http(String),
    #[error("socket_group: this host has no group `{0}`: give one that `getent group` lists, or its number")]
    SocketGroup(String),
    #[error("what this host was given is no tag")]
    Tag(#[from] InvalidGroup),
    #[error("{0} tags: a host may have {TAGS_MAX}")]
    TooManyTags(usize),
    #[error("invalid number of voters `{0}`: 1, 3, 5 or 7")]
    Voters(u8),
    #[error("the host's {what} `{text}` has control characters, or more than 100 letters")]
    Word { what: &'static str, text: String },
    #[error("cannot find the current directory")]
    CurrentDirectory(#[source] std::io::Error),
}

impl AgentConfig {
    /// Loads the configuration file that the flags name, if any, and applies the flags to it.
    pub(crate) fn load(flags: AgentFlags, api: Option<PathBuf>) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => toml_file::read(path)?,
            None => AgentFile::default(),
        };
        AgentConfig::new(file, flags, api)
    }

    fn new(file: AgentFile, flags: AgentFlags, api: Option<PathBuf>) -> Result<Self, ConfigError> {
        let data_dir = flags.data_dir.or(file.data_dir).unwrap_or_else(default_data_dir);
        let data_dir = absolute(data_dir)?;
        let deploy_root = flags.deploy_root.or(file.deploy_root).unwrap_or_else(|| data_dir.join("deploy"));
        let listen = if flags.listen.is_empty() { file.listen } else { flags.listen };
        let tags = if flags.tags.is_empty() { file.tags } else { flags.tags };
        let voters = file.voters.unwrap_or(VOTERS_DEFAULT);
        if !VOTERS.contains(&voters) {
            return Err(ConfigError::Voters(voters));
        }
        Ok(AgentConfig {
            deploy_root: absolute(deploy_root)?,
            listen: parse_listen(listen)?,
            join: join_of(flags.join, flags.join_file, file.join, file.join_file)?,
            name: word("name", flags.name.or(file.name).unwrap_or_else(host_name))?,
            replace: word("replace", flags.replace.or(file.replace).unwrap_or_default())?,
            tags: parse_tags(&tags)?,
            zone: word("zone", flags.zone.or(file.zone).unwrap_or_default())?,
            api: absolute(api.or(file.api).unwrap_or_else(default_socket))?,
            socket_group: file.socket_group.map(parse_group).transpose()?,
            http: flags.http.or(file.http).map(parse_http).transpose()?,
            http_hosts: file.http_hosts.iter().map(|name| name.to_ascii_lowercase()).collect(),
            voters,
            log: file.log.unwrap_or_default(),
            sources: file.sources,
            data_dir,
        })
    }

    /// Returns the path of the mesh key's file.
    pub(crate) fn mesh_key(&self) -> PathBuf {
        mesh_key_in(&self.data_dir)
    }
}

/// Returns the path of the mesh key's file in a data directory.
pub(crate) fn mesh_key_in(data_dir: &Path) -> PathBuf {
    data_dir.join("mesh.key")
}

/// Returns the file in which `skein mesh init` leaves the mesh's recovery key, until a person
/// moves it away.
pub(crate) fn recovery_key_in(data_dir: &Path) -> PathBuf {
    data_dir.join("recovery.key")
}

/// Returns the path of the file that marks this host as the founder of its mesh's ledger. Only
/// `skein mesh init` writes it.
pub(crate) fn founds_mark_in(data_dir: &Path) -> PathBuf {
    data_dir.join("founds")
}

/// Returns the path of the file that says that this host was removed from its mesh, and from which.
pub(crate) fn removed_mark_in(data_dir: &Path) -> PathBuf {
    data_dir.join("removed")
}

/// Returns the path of the file with the addresses from the join token, one per line.
pub(crate) fn join_addresses_in(data_dir: &Path) -> PathBuf {
    data_dir.join("join-addresses")
}

/// Returns `/var/lib/skein` for root, and a path below the home directory for other users.
pub(crate) fn default_data_dir() -> PathBuf {
    if is_root() {
        return PathBuf::from(SYSTEM_DATA_DIR);
    }
    xdg("XDG_STATE_HOME")
        .or_else(|| Some(xdg("HOME")?.join(".local/state")))
        .map_or_else(|| std::env::temp_dir().join("skein"), |base| base.join("skein"))
}

/// Returns `/run/skein/skein.sock` for root, and a path below the runtime directory for other
/// users.
pub(crate) fn default_socket() -> PathBuf {
    if is_root() {
        return PathBuf::from(SYSTEM_SOCKET);
    }
    xdg("XDG_RUNTIME_DIR").map_or_else(default_data_dir, |base| base.join("skein")).join("skein.sock")
}

/// Returns the sockets at which the command line looks for an agent: the user's own before the
/// system's.
pub(crate) fn default_sockets() -> Vec<PathBuf> {
    let (own, system) = (default_socket(), PathBuf::from(SYSTEM_SOCKET));
    if own == system { vec![system] } else { vec![own, system] }
}

/// Returns true if this host may have a system agent besides the one that a user other than root
/// would start.
pub(crate) fn is_beside_system_agent() -> bool {
    !is_root() && Path::new(SYSTEM_DATA_DIR).exists()
}

fn xdg(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn absolute(path: PathBuf) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(ConfigError::CurrentDirectory)
}

fn word(what: &'static str, text: String) -> Result<String, ConfigError> {
    if text.chars().count() > 100 || text.chars().any(char::is_control) {
        return Err(ConfigError::Word { what, text: text.escape_default().take(100).collect() });
    }
    Ok(text)
}

fn parse_tags(texts: &[String]) -> Result<BTreeSet<Tag>, ConfigError> {
    if texts.len() > TAGS_MAX {
        return Err(ConfigError::TooManyTags(texts.len()));
    }
    Ok(texts.iter().map(|text| Tag::parse(text)).collect::<Result<_, _>>()?)
}

fn parse_http(text: String) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::Http(text))
}

/// Parses a Unix group of this host, by name or number.
fn parse_group(text: String) -> Result<Gid, ConfigError> {
    if let Ok(number) = text.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(&text).ok().flatten();
    found.map(|group| group.gid).ok_or(ConfigError::SocketGroup(text))
}

fn parse_listen(texts: Vec<String>) -> Result<Vec<Multiaddr>, ConfigError> {
    if texts.is_empty() {
        return Ok(both_transports(SocketAddr::from(([0, 0, 0, 0], PORT_DEFAULT))));
    }
    let parsed: Vec<Vec<Multiaddr>> = texts.iter().map(|text| addresses(text)).collect::<Result<_, _>>()?;
    Ok(parsed.concat())
}

/// Chooses how to join; flags take precedence over the file.
fn join_of(
    flag: Option<String>,
    flag_file: Option<PathBuf>,
    text: Option<String>,
    file: Option<PathBuf>,
) -> Result<Option<Join>, ConfigError> {
    match (flag_file, flag, file, text) {
        (Some(path), _, _, _) => Ok(Some(Join::File(path))),
        (None, Some(text), _, _) => parse_join(text, true).map(Some),
        (None, None, Some(path), _) => Ok(Some(Join::File(path))),
        (None, None, None, Some(text)) => parse_join(text, false).map(Some),
        (None, None, None, None) => Ok(None),
    }
}

fn parse_join(text: String, is_exposed: bool) -> Result<Join, ConfigError> {
    if text.starts_with('/') || text.parse::<SocketAddr>().is_ok() {
        return Ok(Join::Addresses(addresses(&text)?));
    }
    Ok(Join::Token { text, is_exposed })
}

/// Parses an address. `IP:PORT` stands for both transports, a multiaddress for itself.
fn addresses(text: &str) -> Result<Vec<Multiaddr>, ConfigError> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok(both_transports(socket));
    }
    if text.starts_with('/')
        && let Ok(address) = text.parse::<Multiaddr>()
    {
        return Ok(vec![address]);
    }
    Err(ConfigError::Listen(text.to_string()))
}

fn both_transports(socket: SocketAddr) -> Vec<Multiaddr> {
    use libp2p::multiaddr::Protocol;
    let ip = Multiaddr::from(socket.ip());
    let quic = ip.clone().with(Protocol::Udp(socket.port())).with(Protocol::QuicV1);
    vec![quic, ip.with(Protocol::Tcp(socket.port()))]
}

#[cfg(test)]
mod tests;
