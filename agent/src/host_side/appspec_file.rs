//! The AppSpec file of an unpacked bundle.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use proto::appspec::{self, APPSPEC_BYTES_MAX, AppSpec, CustomEvents};

use super::deployment::EventError;
use super::{APPSPEC_NAME, lookalikes};
use crate::bundle::unpack::inside;
use crate::regular_file;

/// The AppSpec files that a deployment has read: its own, and that of the revision before it. A
/// script may change the file, so every event reads it; but it is parsed again only if its content
/// has changed, because parsing takes longer than all else that an event without scripts does.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppSpecs {
    own: Arc<Mutex<Option<Last>>>,
    older: Arc<Mutex<Option<Last>>>,
}

#[derive(Debug)]
struct Last {
    name: String,
    content: Vec<u8>,
    appspec: Arc<AppSpec>,
}

impl AppSpecs {
    /// Reads the AppSpec file of an unpacked bundle: the given name first, then each of CodeDeploy's
    /// own. `custom` must be the same for all files that are the deployment's own.
    pub(super) fn read(
        &self,
        archive: &Path,
        name: &str,
        custom: CustomEvents<'_>,
    ) -> Result<(String, Arc<AppSpec>), EventError> {
        let (name, content) = find_appspec(archive, name)?;
        let last = match custom {
            CustomEvents::Only(_) => &self.own,
            CustomEvents::Any => &self.older,
        };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref()
            && last.name == name
            && last.content == content
        {
            return Ok((name, last.appspec.clone()));
        }
        let parsed = appspec::parse_with(&name, &content, custom).map_err(EventError::AppSpec)?;
        for warning in &parsed.warnings {
            tracing::debug!(%warning, "AppSpec");
        }
        let appspec = Arc::new(parsed.appspec);
        *last = Some(Last { name: name.clone(), content, appspec: appspec.clone() });
        Ok((name, appspec))
    }
}

/// Finds the AppSpec file; returns its name and content.
pub(crate) fn find_appspec(archive: &Path, name: &str) -> Result<(String, Vec<u8>), EventError> {
    for name in [name, "appspec.yaml", APPSPEC_NAME] {
        let path = archive.join(name);
        // Do not follow a link in the bundle that leads elsewhere on the host.
        let read = inside(archive, Path::new(name));
        match read.and_then(|real| regular_file::read_start(&archive.join(real), APPSPEC_BYTES_MAX)) {
            Ok(bytes) => return Ok((name.to_owned(), bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(EventError::Disk { path, cause }),
        }
    }
    let near = lookalikes::find(archive);
    Err(EventError::NoAppSpec { archive: archive.to_owned(), name: name.to_owned(), near })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_file_that_a_script_has_changed_is_parsed_again() {
        let dir = TempDir::new().expect("a directory");
        let (specs, own) = (AppSpecs::default(), CustomEvents::Only(&[]));
        let write = |name: &str, source: &str| {
            let text =
                format!("version: 0.0\nos: linux\nfiles:\n  - source: {source}\n    destination: /srv\n");
            std::fs::write(dir.path().join(name), text).expect("written");
        };
        let read = |custom| {
            let (name, appspec) = specs.read(dir.path(), APPSPEC_NAME, custom).expect("read");
            (name, appspec.files[0].source.clone())
        };
        let found = |name: &str, source: &str| (name.to_owned(), source.to_owned());
        write("appspec.yaml", "a");
        assert_eq!(read(own), found("appspec.yaml", "a"));
        assert_eq!(read(own), found("appspec.yaml", "a"));
        // Same length, and perhaps the same time.
        write("appspec.yaml", "b");
        assert_eq!(read(CustomEvents::Any), found("appspec.yaml", "b"));
        assert_eq!(read(own), found("appspec.yaml", "b"));
        write(APPSPEC_NAME, "b");
        assert_eq!(read(own), found(APPSPEC_NAME, "b"));
        std::fs::write(dir.path().join(APPSPEC_NAME), "version: 1\n").expect("written");
        for _ in 0..2 {
            let refused = specs.read(dir.path(), APPSPEC_NAME, own);
            assert!(matches!(refused, Err(EventError::AppSpec(_))), "{refused:?}");
        }
    }
}
