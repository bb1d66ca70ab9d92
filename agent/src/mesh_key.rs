//! The mesh key: the mesh's id, and the secret that its members share.
//!
//! A host that has the key is a member. It is in a file on each host, and reaches a new host
//! inside a join token, which the operator carries.
//!
//! Members are trusted for now. Operators' signatures will replace this.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use libp2p::Multiaddr;
use proto::id::MeshId;

use crate::secret_file::{self, SecretFileError};

/// The first line of the file; a later format increases the number.
const FILE_HEADER: &str = "skein-mesh-key 1";
/// The beginning of a token; a later format increases the number.
const TOKEN_PREFIX: &str = "skein1.";
/// The longest token, in bytes: a key and sixteen long addresses.
pub(crate) const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// The most addresses in a token: a new host needs one that answers.
pub(crate) const TOKEN_ADDRESSES_MAX: usize = 16;
/// The length of the checksum, the start of the token's BLAKE3 hash; it reveals a truncated token.
const CHECK_BYTES: usize = 4;

/// A mesh's id and its members' shared secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MeshKey {
    pub(crate) id: MeshId,
    pub(crate) secret: [u8; 32],
}

/// The input of `skein mesh join`: the key, and addresses of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinToken {
    pub(crate) key: MeshKey,
    pub(crate) addresses: Vec<Multiaddr>,
}

/// The reason why the mesh key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeshKeyError {
    #[error(
        "this host is in no mesh: `skein mesh init` makes one, `skein mesh join -` enters one by a token"
    )]
    Missing(#[source] SecretFileError),
    #[error("no access to the mesh key")]
    File(#[source] SecretFileError),
    #[error("{} is not a mesh key (a first line `{FILE_HEADER}`, then `id HEX` and `secret BASE64URL`)", path.display())]
    Format { path: PathBuf },
}

/// The reason why a text is not a join token. It never quotes the text, which may be a mistyped secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAToken {
    #[error("a join token begins with `{TOKEN_PREFIX}`: `skein mesh token` prints one")]
    Prefix,
    #[error("a join token has at most {TOKEN_BYTES_MAX} characters and {TOKEN_ADDRESSES_MAX} addresses")]
    TooLong,
    #[error("the join token is damaged: was it copied whole?")]
    Damaged,
    #[error("the join token holds `{0}`, which is not an address")]
    Address(String),
}

impl MeshKey {
    /// Creates a new key of this mesh.
    pub(crate) fn of(id: MeshId) -> Self {
        MeshKey { id, secret: rand::random() }
    }

    /// The key of a mesh that cannot be recovered.
    #[cfg(test)]
    pub(crate) fn generate() -> Self {
        MeshKey::of(MeshId(rand::random()))
    }

    /// Reads the key from its file.
    pub(crate) fn read(path: &Path) -> Result<Self, MeshKeyError> {
        let text = secret_file::read(path).map_err(|cause| match cause {
            SecretFileError::Missing { .. } => MeshKeyError::Missing(cause),
            SecretFileError::Exists { .. }
            | SecretFileError::Exposed { .. }
            | SecretFileError::Damaged { .. }
            | SecretFileError::Read { .. }
            | SecretFileError::Write { .. } => MeshKeyError::File(cause),
        })?;
        Self::parse(&text).ok_or_else(|| MeshKeyError::Format { path: path.to_owned() })
    }

    /// Writes the key to a new file. Never overwrites an existing one, which may
    /// be the last copy of another mesh's key.
    pub(crate) fn create(&self, path: &Path) -> Result<(), MeshKeyError> {
        let (id, secret) = (HEXLOWER.encode(&self.id.0), BASE64URL_NOPAD.encode(&self.secret));
        secret_file::create(path, &format!("{FILE_HEADER}\nid {id}\nsecret {secret}\n"))
            .map_err(MeshKeyError::File)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != FILE_HEADER {
            return None;
        }
        let id = HEXLOWER.decode(lines.next()?.strip_prefix("id ")?.as_bytes()).ok()?;
        let secret = BASE64URL_NOPAD.decode(lines.next()?.strip_prefix("secret ")?.as_bytes()).ok()?;
        Some(MeshKey { id: MeshId(id.try_into().ok()?), secret: secret.try_into().ok()? })
    }
}

impl fmt::Debug for MeshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key of {:?}", self.id)
    }
}

impl JoinToken {
    /// Returns the text that an operator carries to the new host.
    /// # Errors
    /// If there are more addresses than a token can hold.
    pub(crate) fn encode(&self) -> Result<String, NotAToken> {
        let addresses: Vec<String> = self.addresses.iter().map(Multiaddr::to_string).collect();
        let mut bytes = [&self.key.id.0[..], &self.key.secret, addresses.join("\n").as_bytes()].concat();
        let check = blake3::hash(&bytes);
        bytes.extend_from_slice(&check.as_bytes()[..CHECK_BYTES]);
        let token = format!("{TOKEN_PREFIX}{}", BASE64URL_NOPAD.encode(&bytes));
        if addresses.len() > TOKEN_ADDRESSES_MAX || token.len() > TOKEN_BYTES_MAX {
            return Err(NotAToken::TooLong);
        }
        Ok(token)
    }
}

impl FromStr for JoinToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        if text.len() > TOKEN_BYTES_MAX {
            return Err(NotAToken::TooLong);
        }
        let encoded = text.strip_prefix(TOKEN_PREFIX).ok_or(NotAToken::Prefix)?;
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| NotAToken::Damaged)?;
        let (body, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(NotAToken::Damaged)?;
        if blake3::hash(body).as_bytes()[..CHECK_BYTES] != check[..] {
            return Err(NotAToken::Damaged);
        }
        let (id, rest) = body.split_first_chunk::<16>().ok_or(NotAToken::Damaged)?;
        let (secret, addresses) = rest.split_first_chunk::<32>().ok_or(NotAToken::Damaged)?;
        let addresses = std::str::from_utf8(addresses).map_err(|_| NotAToken::Damaged)?;
        let addresses: Vec<Multiaddr> = addresses
            .lines()
            .map(|address| address.parse().map_err(|_| NotAToken::Address(address.to_owned())))
            .collect::<Result<_, _>>()?;
        if addresses.len() > TOKEN_ADDRESSES_MAX {
            return Err(NotAToken::TooLong);
        }
        Ok(JoinToken { key: MeshKey { id: MeshId(*id), secret: *secret }, addresses })
    }
}

#[cfg(test)]
mod tests;
