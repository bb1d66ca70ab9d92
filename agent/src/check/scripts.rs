//! What can be seen of a script without running it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proto::appspec::Script;

use crate::regular_file;

/// Linux reads so much of a first line.
const FIRST_LINE_MAX: u64 = 256;

/// Why the script cannot run at all.
pub(super) fn problem_of(top: &Path, script: &Script) -> Option<String> {
    let location = script.location.trim_start_matches('/');
    match top.join(location).metadata() {
        Ok(metadata) if metadata.is_file() => None,
        Ok(metadata) => {
            let what = regular_file::kind_in_words(metadata.file_type());
            Some(format!("`{location}` is a {what}, not a script"))
        }
        Err(_) if location.contains(' ') => Some(format!(
            "there is no `{location}` in the bundle; a script gets no arguments, so none can stand here"
        )),
        Err(_) => Some(format!("there is no `{location}` in the bundle{}", near(top, location))),
    }
}

/// What may go wrong with it: some of it only `is_here`, on the host that will
/// run it.
pub(super) fn odd_about(top: &Path, script: &Script, is_here: bool) -> Vec<String> {
    let path = top.join(script.location.trim_start_matches('/'));
    let mut odd = Vec::new();
    // Bundles come from zips and from Windows: who submits one need not hear it.
    if is_here && path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 == 0) {
        odd.push("not executable: it is made so on the host before it runs".to_owned());
    }
    odd.extend(first_line(&path).ok().and_then(|line| odd_interpreter(&line, is_here)));
    odd
}

fn first_line(path: &Path) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(regular_file::open(path)?.take(FIRST_LINE_MAX)).read_until(b'\n', &mut line)?;
    Ok(line)
}

fn odd_interpreter(line: &[u8], is_here: bool) -> Option<String> {
    let line = String::from_utf8_lossy(line.strip_prefix(b"#!")?).into_owned();
    if line.ends_with("\r\n") {
        let problem = "its lines end as on Windows (CR LF), so its interpreter will not be found: save it \
                       with Unix line ends";
        return Some(problem.to_owned());
    }
    let interpreter = line.split_whitespace().next()?;
    (is_here && !Path::new(interpreter).exists())
        .then(|| format!("its first line names `{interpreter}`, which is not on this host"))
}

/// A name in the bundle that differs in its letters' case or in its ending
/// only, as an advice.
pub(super) fn near(top: &Path, location: &str) -> String {
    let path = Path::new(location);
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase());
    let dir = path.parent().unwrap_or(Path::new(""));
    let names = fs::read_dir(top.join(dir)).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut near: Vec<_> = names.filter(|name| stem(Path::new(name)) == stem(path)).collect();
    near.sort();
    match near.first() {
        Some(name) => format!("; did you mean `{}`?", dir.join(name).display()),
        None => String::new(),
    }
}
