//! The names of things: hosts, meshes, voters, deployments, digests, groups.
//!
//! Each is parsed once, at the edge, and passed on as its type. All have one
//! text form, the one that users read and type.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not the name it should be. The message names the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct NotAName {
    /// What was given, cut to 100 characters.
    pub text: String,
    /// The rule that it breaks, as words that follow "is not".
    pub expected: &'static str,
}

impl NotAName {
    fn of(text: &str, expected: &'static str) -> Self {
        NotAName { text: text.chars().take(100).collect(), expected }
    }
}

fn refuse<T>(text: &str, expected: &'static str) -> Result<T, NotAName> {
    Err(NotAName::of(text, expected))
}

/// A host, by its public key. Its text form is the libp2p peer id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostId([u8; 32]);

/// What a libp2p peer id of an ed25519 key has before the key: an identity
/// multihash of 36 bytes, which hold a protobuf of key type and key.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl HostId {
    /// The host whose ed25519 public key is `key`.
    pub const fn from_public_key(key: [u8; 32]) -> Self {
        HostId(key)
    }

    /// The ed25519 public key.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The bytes of the libp2p peer id.
    pub fn to_peer_id_bytes(self) -> Vec<u8> {
        let mut bytes = PEER_ID_PREFIX.to_vec();
        bytes.extend_from_slice(&self.0);
        bytes
    }

    /// From the bytes of a libp2p peer id; `None` if its key is not ed25519.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        Some(HostId(key.try_into().ok()?))
    }

    /// The last eight characters, for a narrow table. Not unique, never parsed.
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len() - 8..].to_string()
    }
}

/// By the key's bytes. The first eight nearly always decide, as keys are random.
impl Ord for HostId {
    fn cmp(&self, other: &Self) -> Ordering {
        let [a, b] = [self, other].map(|host| host.0.first_chunk().map(|head| u64::from_be_bytes(*head)));
        a.cmp(&b).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for HostId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_peer_id_bytes()).into_string())
    }
}

impl fmt::Debug for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.short())
    }
}

impl FromStr for HostId {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        // Longer texts would only cost time: base 58 decodes in O(n²).
        if text.len() <= 64
            && let Ok(bytes) = bs58::decode(text).into_vec()
            && let Some(host) = HostId::from_peer_id_bytes(&bytes)
        {
            return Ok(host);
        }
        refuse(text, "a host id (a libp2p peer id like 12D3KooW…)")
    }
}

/// A mesh. Random, made once by `skein mesh init`, and in every frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MeshId(pub [u8; 16]);

impl fmt::Display for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mesh {self}")
    }
}

/// A voter's number in consensus: random, made anew for every wiped disk, so
/// that a host which forgot its promises is never taken for the one that made
/// them. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VoterId(pub u64);

impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "voter {self}")
    }
}

/// A deployment: `d-` and nine of A–Z and 0–9, as CodeDeploy's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u8; 9]")]
pub struct DeploymentId([u8; 9]);

impl DeploymentId {
    const RULE: &str = "a deployment id (d- and nine of A-Z and 0-9)";

    /// The id that belongs to `seed`: the same seed, the same id. A rollback
    /// is named after the deployment that it undoes, so that any number of
    /// hosts may submit it and it is still one deployment.
    pub fn derive(seed: &[u8]) -> Self {
        const ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let hash = blake3::hash(seed);
        let mut id = [b'A'; 9];
        for (at, letter) in id.iter_mut().enumerate() {
            // Two bytes a letter: the bias of 65,536 mod 36 is below 0.1 %.
            let pair = u16::from_le_bytes([hash.as_bytes()[2 * at], hash.as_bytes()[2 * at + 1]]);
            *letter = ALPHABET[usize::from(pair) % ALPHABET.len()];
        }
        DeploymentId(id)
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("d-")?;
        self.0.iter().try_for_each(|byte| write!(f, "{}", *byte as char))
    }
}

impl fmt::Debug for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for DeploymentId {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        let rest = text.strip_prefix("d-").and_then(|rest| <[u8; 9]>::try_from(rest.as_bytes()).ok());
        let id = rest.and_then(|id| DeploymentId::try_from(id).ok());
        id.ok_or_else(|| NotAName::of(text, DeploymentId::RULE))
    }
}

impl TryFrom<[u8; 9]> for DeploymentId {
    type Error = NotAName;
    fn try_from(id: [u8; 9]) -> Result<Self, NotAName> {
        if id.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) {
            return Ok(DeploymentId(id));
        }
        refuse(&String::from_utf8_lossy(&id), DeploymentId::RULE)
    }
}

/// The BLAKE3 digest of a bundle's archive. Text form: 64 hex digits, with or
/// without `blake3:` before them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The first twelve hex digits, for people. Not unique, never parsed.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..6])
    }

    /// The 64 hex digits alone, as file names need them.
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Digest {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        let hex = text.strip_prefix("blake3:").unwrap_or(text);
        if let Ok(bytes) = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes())
            && let Ok(digest) = bytes.try_into()
        {
            return Ok(Digest(digest));
        }
        refuse(text, "a digest (64 hex digits)")
    }
}

/// A group's name: `application/group`. Each part has 1–100 letters, digits or
/// any of `. _ + = , @ -` (CodeDeploy's limit on both), and is neither `.` nor
/// `..`, because both become parts of paths on the hosts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "GroupNameParts")]
pub struct GroupName {
    application: String,
    group: String,
}

/// A group's name as it comes, from the network or a file.
#[derive(Deserialize)]
struct GroupNameParts {
    application: String,
    group: String,
}

impl TryFrom<GroupNameParts> for GroupName {
    type Error = NotAName;
    fn try_from(parts: GroupNameParts) -> Result<Self, NotAName> {
        GroupName::new(&parts.application, &parts.group)
    }
}

impl GroupName {
    /// Joins an application's and a group's name.
    /// # Errors
    /// If either is no name.
    pub fn new(application: &str, group: &str) -> Result<Self, NotAName> {
        format!("{application}/{group}").parse()
    }

    /// The application's name: CodeDeploy's `APPLICATION_NAME`.
    pub fn application(&self) -> &str {
        &self.application
    }

    /// The group's own name: CodeDeploy's `DEPLOYMENT_GROUP_NAME`.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The name as one path component, unique per group: `DEPLOYMENT_GROUP_ID`.
    pub fn id(&self) -> String {
        // `~` is in neither part, so no two groups share an id.
        format!("{}~{}", self.application, self.group)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.application, self.group)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for GroupName {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        if let Some((application, group)) = text.split_once('/')
            && is_part(application)
            && is_part(group)
        {
            return Ok(GroupName { application: application.into(), group: group.into() });
        }
        refuse(text, "a group name (APPLICATION/GROUP, each 1-100 of letters, digits and . _ + = , @ -)")
    }
}

/// The name of a deployment configuration: 1–100 letters, digits or any of
/// `. _ + = , @ -` (CodeDeploy's limit).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ConfigName(String);

impl TryFrom<String> for ConfigName {
    type Error = NotAName;
    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl ConfigName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConfigName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConfigName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for ConfigName {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Self, NotAName> {
        if is_part(text) {
            return Ok(ConfigName(text.into()));
        }
        refuse(text, "a configuration's name (1-100 of letters, digits and . _ + = , @ -)")
    }
}

/// A name that may become a part of a path.
fn is_part(part: &str) -> bool {
    (1..=100).contains(&part.len())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+=,@-".contains(&byte))
        && part != "."
        && part != ".."
}

#[cfg(test)]
mod tests;
