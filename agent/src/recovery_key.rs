//! The mesh's recovery key in its file: made by `skein mesh init`, read by `skein mesh
//! recover`, and by no agent.

use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use proto::recovery::RecoveryKey;

use crate::secret_file::{self, SecretFileError};

/// The first bytes of the file; a later format counts up.
const FILE_HEADER: &str = "skein-recovery-key 1";

/// The reason why the recovery key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryKeyError {
    #[error("no access to the recovery key")]
    File(#[source] SecretFileError),
    #[error(
        "{} is not a recovery key (a first line `{FILE_HEADER}`, then `mesh HEX` and `secret BASE64URL`)",
        path.display()
    )]
    Format { path: PathBuf },
}

/// Reads the key from its file.
pub(crate) fn read(path: &Path) -> Result<RecoveryKey, RecoveryKeyError> {
    let text = secret_file::read(path).map_err(RecoveryKeyError::File)?;
    parse(&text).ok_or_else(|| RecoveryKeyError::Format { path: path.to_owned() })
}

/// Reads the key, or makes a new one. One that is there is left from an `init` that
/// did not come to its end.
pub(crate) fn load_or_create(path: &Path) -> Result<RecoveryKey, RecoveryKeyError> {
    if path.exists() {
        return read(path);
    }
    let secret: [u8; 32] = rand::random();
    let key = RecoveryKey::from_secret(&secret);
    let text = format!("{FILE_HEADER}\nmesh {}\nsecret {}\n", key.mesh(), BASE64URL_NOPAD.encode(&secret));
    secret_file::create(path, &text).map_err(RecoveryKeyError::File)?;
    Ok(key)
}

/// Parses the file's text; returns `None` unless the secret belongs to the mesh that the file
/// names. The mesh's id is there so that people can tell keys apart, and shows that the secret
/// was copied completely.
fn parse(text: &str) -> Option<RecoveryKey> {
    let mut lines = text.lines();
    if lines.next()? != FILE_HEADER {
        return None;
    }
    let mesh = lines.next()?.strip_prefix("mesh ")?;
    let secret = BASE64URL_NOPAD.decode(lines.next()?.strip_prefix("secret ")?.trim_end().as_bytes()).ok()?;
    let key = RecoveryKey::from_secret(&secret.try_into().ok()?);
    (key.mesh().to_string() == mesh).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made_and_a_damaged_one_is_told_apart() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("recovery.key");
        let made = load_or_create(&path).expect("a key");
        assert_eq!(load_or_create(&path).expect("the same").mesh(), made.mesh());
        let text = std::fs::read_to_string(&path).expect("the file");
        assert!(parse(&text).is_some() && parse(&text[..text.len() - 3]).is_none());
        assert!(parse(&text.replace("mesh ", "mesh 0")).is_none());
        let other = parse("skein-mesh-key 1\nid 00\nsecret AA\n");
        assert!(other.is_none());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("recovery.key");
        load_or_create(&path).expect("a key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
        let refused = read(&path).expect_err("exposed");
        assert!(crate::telemetry::chain(&refused).contains("chmod 600"), "{refused:?}");
    }
}
