//! Identifiers and names of hosts, meshes, voters, deployments, digests and groups.
//!
//! Each is parsed once, at the edge, and then passed on as its own type. Each has
//! one text form, which users read and type.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An error from parsing an identifier or a name. Its message gives the rule that
/// is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct NotAName {
    /// The text that was given, cut to 100 characters.
    pub text: String,
    /// The rule that it breaks, in words that follow "is not".
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

/// The id of a host: its ed25519 public key. Its text form is the libp2p peer id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostId([u8; 32]);

/// The bytes that precede the key in the libp2p peer id of an ed25519 key: an
/// identity multihash of 36 bytes, which hold a protobuf message of key type and
/// key.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl HostId {
    /// Makes the id of the host with this ed25519 public key.
    pub const fn from_public_key(key: [u8; 32]) -> Self {
        HostId(key)
    }

    /// Returns the ed25519 public key.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the bytes of the libp2p peer id.
    pub fn to_peer_id_bytes(self) -> Vec<u8> {
        let mut bytes = PEER_ID_PREFIX.to_vec();
        bytes.extend_from_slice(&self.0);
        bytes
    }

    /// Reads the bytes of a libp2p peer id. Returns `None` if its key is not
    /// ed25519.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        Some(HostId(key.try_into().ok()?))
    }

    /// Returns the last eight characters, for narrow tables. They are not unique,
    /// and are never parsed.
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len() - 8..].to_string()
    }
}

/// Orders hosts by the bytes of their keys. The first eight bytes nearly always
/// decide, because keys are random.
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
        // Decoding base 58 takes O(n²), so longer texts would only cost time.
        if text.len() <= 64
            && let Ok(bytes) = bs58::decode(text).into_vec()
            && let Some(host) = HostId::from_peer_id_bytes(&bytes)
        {
            return Ok(host);
        }
        refuse(text, "a host id (a libp2p peer id like 12D3KooW…)")
    }
}

/// A mesh. The hash of its recovery key, made once by `skein mesh init`, and in every
/// frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MeshId(pub [u8; 16]);

impl MeshId {
    /// Returns the mesh that the key with this public half can recover. 128 bits:
    /// another key of the same mesh cannot be found.
    pub fn of_recovery_key(public: &[u8; 32]) -> Self {
        let hash = blake3::derive_key("skein 2026-11-30 mesh id of a recovery key", public);
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        MeshId(id)
    }
}

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

/// The number of a voter in consensus. It is random and never zero. A host whose
/// disk was wiped draws a new one, so it is never mistaken for the voter whose
/// promises it has forgotten.
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

/// The id of a deployment: `d-` and nine characters from A–Z and 0–9, as in
/// CodeDeploy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u8; 9]")]
pub struct DeploymentId([u8; 9]);

impl DeploymentId {
    const RULE: &str = "a deployment id (d- and nine of A-Z and 0-9)";

    /// Derives an id from `seed`: the same seed gives the same id. The id of a
    /// rollback is derived from the deployment that it undoes, so any number of
    /// hosts may submit it and it is still one deployment.
    pub fn derive(seed: &[u8]) -> Self {
        const ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let hash = blake3::hash(seed);
        let mut id = [b'A'; 9];
        for (at, letter) in id.iter_mut().enumerate() {
            // Each letter uses two bytes: the bias of 65,536 mod 36 is below 0.1 %.
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

/// The BLAKE3 digest of a bundle's archive. Its text form is 64 hex digits, with or
/// without a leading `blake3:`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Computes the digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// Returns the first twelve hex digits, for people. They are not unique, and
    /// are never parsed.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..6])
    }

    /// Returns the 64 hex digits without a prefix, for file names.
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

/// The name of a group: `application/group`. Each part has 1–100 letters, digits or
/// any of `. _ + = , @ -` (CodeDeploy's limit on both). Neither may be `.` or `..`,
/// because both become parts of paths on the hosts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "GroupNameParts")]
pub struct GroupName {
    application: String,
    group: String,
}

/// A group's name as read from the network or a file, not yet checked.
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
    /// Joins the names of an application and a group.
    /// # Errors
    /// If either is not a valid name.
    pub fn new(application: &str, group: &str) -> Result<Self, NotAName> {
        format!("{application}/{group}").parse()
    }

    /// Returns the application's name: CodeDeploy's `APPLICATION_NAME`.
    pub fn application(&self) -> &str {
        &self.application
    }

    /// Returns the group's own name: CodeDeploy's `DEPLOYMENT_GROUP_NAME`.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Returns the name as one path component, unique to the group:
    /// `DEPLOYMENT_GROUP_ID`.
    pub fn id(&self) -> String {
        // Neither part may contain `~`, so no two groups share an id.
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

/// The name of a deployment configuration: 1–100 letters, digits or any of `. _ + =
/// , @ -` (CodeDeploy's limit).
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
    /// Returns the name as text.
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

/// Returns true if the text may be a part of a name, and so of a path.
fn is_part(part: &str) -> bool {
    (1..=100).contains(&part.len())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+=,@-".contains(&byte))
        && part != "."
        && part != ".."
}

#[cfg(test)]
mod tests;
