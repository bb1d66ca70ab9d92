//! `skein mesh`: creates a mesh, joins one, and shows its hosts.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use libp2p::Multiaddr;
use serde_json::{Value, json};

use super::{Exit, Session, recover, show};
use crate::client::ClientError;
use crate::config::{
    SYSTEM_DATA_DIR, default_data_dir, is_beside_system_agent, mesh_key_in, recovery_key_in,
};
use crate::join;
use crate::mesh_key::{JoinToken, MeshKey, TOKEN_ADDRESSES_MAX};
use crate::percent::encoded;
use crate::view::{HostView, StatusView};

#[derive(Subcommand)]
pub(crate) enum MeshVerb {
    /// Create a new mesh, with this host as its first member
    Init {
        /// The agent's data directory
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Print a token with which other hosts can join the mesh. It is a secret
    Token {
        /// The agent's data directory [default: the running agent's]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Make this host join a mesh; start its agent afterwards
    Join {
        /// `-`: read the token that `skein mesh token` printed on a member from standard input
        #[arg(value_name = "-", required_unless_present = "token_file", conflicts_with = "token_file")]
        token: Option<String>,
        /// Read it from this file; `/dev/fd/N` is a descriptor
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// The agent's data directory
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// List the hosts of the mesh
    Members,
    /// Continue from this host alone, when most voters are gone for good. Needs the recovery key
    Recover(recover::RecoverArgs),
    /// Remove a host from the mesh for good. When this is done, it may be switched off
    Remove {
        /// The name or id of the host
        host: String,
    },
}

pub(super) async fn run(session: &Session, verb: MeshVerb) -> anyhow::Result<Exit> {
    match verb {
        MeshVerb::Init { data_dir: Some(data_dir) } => init(session, data_dir),
        MeshVerb::Init { data_dir: None } => {
            refuse_second_mesh(session).await?;
            init(session, default_data_dir())
        }
        MeshVerb::Token { data_dir } => token(session, data_dir).await,
        MeshVerb::Join { token, token_file, data_dir } => {
            let token = token_from(session, token, token_file)?;
            enter(session, &token, data_dir.unwrap_or_else(default_data_dir))
        }
        MeshVerb::Members => show::hosts(session, show::OfGroup { group: None }).await,
        MeshVerb::Recover(args) => recover::recover(session, args).await,
        MeshVerb::Remove { host } => remove(session, &host).await,
    }
}

/// Refuses to create another mesh beside a running agent, unless its directory is named. A
/// user who is not root, or whose agent has another directory, would not notice the mistake.
async fn refuse_second_mesh(session: &Session) -> anyhow::Result<()> {
    let another = "To make another mesh all the same, say where it keeps its data: --data-dir DIR";
    match session.client.get::<StatusView>("/v1/status").await {
        Ok(status) => bail!(
            "an agent runs on this host already, in mesh {} with its data in {}: nothing was made. {another}",
            status.mesh,
            status.data_dir
        ),
        Err(ClientError::NotAllowed { socket }) => bail!(
            "an agent of this host has the socket {}, which you may not use: nothing was made. Try with sudo. \
             {another}",
            socket.display()
        ),
        Err(_) if is_beside_system_agent() => bail!(
            "this host has an agent's data in {SYSTEM_DATA_DIR}: nothing was made. Start that agent, or try with \
             sudo. {another}"
        ),
        Err(_) => Ok(()),
    }
}

fn init(session: &Session, data_dir: PathBuf) -> anyhow::Result<Exit> {
    let mesh = join::found(&data_dir).context("no mesh was made")?;
    let document = json!({ "mesh": mesh.to_string(), "data_dir": data_dir });
    let agent = agent_in(&data_dir);
    session.screen.result(&document, || {
        format!(
            "Mesh {mesh} is made; its key is in {}.\n\
             Start this host's agent with `{agent}`, then run `skein mesh token` for the other hosts.",
            mesh_key_in(&data_dir).display()
        )
    })?;
    session.screen.note(&format!(
        "note: the mesh's recovery key is in {}. Move it off this host into a safe place, and keep a copy: \
         `skein mesh recover` needs it if most voters are lost for good, and whoever has it can take the mesh over.",
        recovery_key_in(&data_dir).display()
    ));
    Ok(Exit::Done)
}

/// Prints a join token. The key is read from its file and not from the agent: a
/// user who may not read the file must not learn it through the socket.
async fn token(session: &Session, data_dir: Option<PathBuf>) -> anyhow::Result<Exit> {
    let status: StatusView = session.client.get("/v1/status").await?;
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(&status.data_dir));
    let key = MeshKey::read(&mesh_key_in(&data_dir)).context("there is no token to print")?;
    let hosts: Vec<HostView> = session.client.get("/v1/hosts").await?;
    let token = JoinToken { key, addresses: ways_in(&status.addresses, &hosts) };
    let token = token.encode().context("there is no token to print")?;
    session.screen.result(&json!({ "token": token }), || token.clone())?;
    Ok(Exit::Done)
}

/// Returns the command that starts the agent of this directory.
fn agent_in(data_dir: &Path) -> String {
    match data_dir == default_data_dir() {
        true => "skein agent".into(),
        false => format!("skein agent --data-dir {}", data_dir.display()),
    }
}

/// The most addresses of this host in a token. The rest is for other members,
/// because this host may be gone when the token is used.
const OWN_ADDRESSES_MAX: usize = 4;

/// Returns the addresses at which a new host can find the mesh: this host's first,
/// then one address of each other host that is up, then their further ones.
fn ways_in(own: &[String], hosts: &[HostView]) -> Vec<Multiaddr> {
    let others: Vec<&HostView> = hosts.iter().filter(|host| !host.is_self && host.status == "Up").collect();
    let nth = |at: usize| others.iter().filter_map(move |host| host.addresses.get(at));
    let all = own.iter().take(OWN_ADDRESSES_MAX).chain((0..TOKEN_ADDRESSES_MAX).flat_map(nth));
    let mut ways: Vec<Multiaddr> = Vec::new();
    for address in all.filter_map(|address| address.parse().ok()) {
        if ways.len() < TOKEN_ADDRESSES_MAX && !ways.contains(&address) {
            ways.push(address);
        }
    }
    ways
}

/// Reads the token from where the user left it. The command line is the worst
/// place: other users see it there, and the shell keeps it in its history.
fn token_from(session: &Session, token: Option<String>, file: Option<PathBuf>) -> anyhow::Result<JoinToken> {
    let from = file.or_else(|| token.as_deref().filter(|text| *text == "-").map(PathBuf::from));
    if let Some(from) = from {
        return join::read_token(&from).context("this host entered no mesh");
    }
    session.screen.note(
        "warning: a token on the command line can be read by other users of this host and stays in the \
         shell's history: `skein mesh join -` reads it from standard input",
    );
    token.unwrap_or_default().parse().context("this host entered no mesh")
}

fn enter(session: &Session, token: &JoinToken, data_dir: PathBuf) -> anyhow::Result<Exit> {
    let mesh = join::enter(&data_dir, token).context("this host did not enter the mesh")?;
    let document = json!({ "mesh": mesh.to_string(), "data_dir": data_dir });
    session.screen.result(&document, || {
        format!("This host belongs to mesh {mesh} now. Start its agent with `{}`.", agent_in(&data_dir))
    })?;
    Ok(Exit::Done)
}

async fn remove(session: &Session, host: &str) -> anyhow::Result<Exit> {
    let document: Value = session.client.delete(&format!("/v1/hosts/{}", encoded(host))).await?;
    session.screen.result(&document, || {
        format!("{host} is taken out of the mesh, and may be switched off. It does not come back by itself.")
    })?;
    for deployment in document["counted_in"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        session.screen.note(&format!(
            "note: {deployment} counts it among its hosts, so its turn there has failed or will: skein status {deployment}"
        ));
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn host(number: u8, status: &str, is_self: bool) -> HostView {
        let addresses = [format!("/ip4/10.0.0.{number}/tcp/1"), format!("/ip4/10.0.1.{number}/tcp/1")];
        let host = json!({
            "host": "x", "name": "x", "label": "x", "zone": "", "tags": [], "addresses": addresses,
            "status": status, "down_since": null, "joined_at": "", "is_voter": false, "is_self": is_self,
            "groups": {},
        });
        serde_json::from_value(host).expect("a host")
    }

    #[test]
    fn a_token_names_this_host_first_and_then_others_that_are_up() {
        let hosts: Vec<HostView> = (1..=30)
            .map(|number| host(number, if number == 3 { "Down" } else { "Up" }, number == 1))
            .collect();
        let own = hosts[0].addresses.clone();
        let ways: Vec<String> = ways_in(&own, &hosts).iter().map(ToString::to_string).collect();
        assert_eq!(ways.len(), TOKEN_ADDRESSES_MAX);
        assert_eq!(ways[..3], ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.1.1/tcp/1", "/ip4/10.0.0.2/tcp/1"]);
        assert!(!ways.contains(&"/ip4/10.0.0.3/tcp/1".to_string()), "nobody is there");
        let few: Vec<String> = ways_in(&own, &hosts[..2]).iter().map(ToString::to_string).collect();
        assert_eq!(few.len(), 4, "{few:?}");
    }
}
