//! `skein mesh`: make one, enter one, look at it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{Exit, Session, show};
use crate::client::encoded;
use crate::config::{default_data_dir, mesh_key_in};
use crate::join;
use crate::mesh_key::{JoinToken, MeshKey, TOKEN_ADDRESSES_MAX};
use crate::view::StatusView;

#[derive(Subcommand)]
pub(crate) enum MeshVerb {
    /// Make a new mesh, which this host begins
    Init {
        /// The agent's data directory
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Print a token with which further hosts enter the mesh. It is a secret
    Token {
        /// The agent's data directory [default: the running agent's]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Make this host enter a mesh; its agent is started afterwards
    Join {
        /// What `skein mesh token` printed on a member
        token: String,
        /// The agent's data directory
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// List the hosts of the mesh
    Members,
    /// Take a host out of the mesh for good. When this is done, it may be switched off
    Remove {
        /// Its name or id
        host: String,
    },
}

pub(super) async fn run(session: &Session, verb: MeshVerb) -> anyhow::Result<Exit> {
    match verb {
        MeshVerb::Init { data_dir } => init(session, data_dir.unwrap_or_else(default_data_dir)),
        MeshVerb::Token { data_dir } => token(session, data_dir).await,
        MeshVerb::Join { token, data_dir } => {
            enter(session, &token, data_dir.unwrap_or_else(default_data_dir))
        }
        MeshVerb::Members => show::hosts(session, show::OfGroup { group: None }).await,
        MeshVerb::Remove { host } => remove(session, &host).await,
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
    Ok(Exit::Done)
}

/// The key is read from its file and not from the agent: who may not read the
/// file shall not learn it from the socket.
async fn token(session: &Session, data_dir: Option<PathBuf>) -> anyhow::Result<Exit> {
    let status: StatusView = session.client.get("/v1/status").await?;
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(&status.data_dir));
    let key = MeshKey::read(&mesh_key_in(&data_dir)).context("there is no token to print")?;
    let addresses = status.addresses.iter().filter_map(|address| address.parse().ok());
    let token = JoinToken { key, addresses: addresses.take(TOKEN_ADDRESSES_MAX).collect() };
    let token = token.encode().context("there is no token to print")?;
    session.screen.result(&json!({ "token": token }), || token.clone())?;
    Ok(Exit::Done)
}

/// The command that starts the agent of this directory.
fn agent_in(data_dir: &Path) -> String {
    match data_dir == default_data_dir() {
        true => "skein agent".into(),
        false => format!("skein agent --data-dir {}", data_dir.display()),
    }
}

fn enter(session: &Session, token: &str, data_dir: PathBuf) -> anyhow::Result<Exit> {
    let token: JoinToken = token.parse().context("this host entered no mesh")?;
    let mesh = join::enter(&data_dir, &token).context("this host did not enter the mesh")?;
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
