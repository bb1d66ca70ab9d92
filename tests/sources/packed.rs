//! The bundle in the archive formats that releases have.

use std::io::Write;

use crate::bundle::{self, APPSPEC, HOOK};

/// Returns the bundle as a tgz.
pub(crate) fn tgz(top: &str, word: &str) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&bundle::tar(top, word, 0)).expect("written");
    gz.finish().expect("finished")
}

/// Returns the bundle as a zip.
pub(crate) fn zip(top: &str, word: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let content = format!("content={word}\n");
    for (name, mode, text) in
        [("appspec.yml", 0o644, APPSPEC), ("hook.sh", 0o755, HOOK), ("content", 0o644, content.as_str())]
    {
        zip.start_file(format!("{top}{name}"), options.unix_permissions(mode)).expect("begun");
        zip.write_all(text.as_bytes()).expect("written");
    }
    zip.finish().expect("finished").into_inner()
}
