//! A bundle whose hook writes down its environment.

/// The hook. It appends to `TRACE` where the bundle came from and the peak
/// memory of its parent, the process that deploys.
pub(crate) const HOOK: &str = "#!/bin/sh\n{ env | grep -E '^(BUNDLE|APPLICATION|GITHUB)_' | sort\n\
                    cat content 2>/dev/null\ngrep VmHWM /proc/$PPID/status; } >> \"$TRACE\"\n";
pub(crate) const APPSPEC: &str =
    "version: 0.0\nos: linux\nhooks:\n  BeforeInstall:\n    - location: hook.sh\n";

/// Returns a tar with a word in it. If `top` is not empty, the files are below
/// that directory, as in GitHub's archives.
pub(crate) fn tar(top: &str, word: &str, filler: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, mode, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, format!("{top}{name}"), bytes).expect("appended");
    };
    add("appspec.yml", 0o644, APPSPEC.as_bytes());
    add("hook.sh", 0o755, HOOK.as_bytes());
    add("content", 0o644, format!("content={word}\n").as_bytes());
    if filler > 0 {
        // Bytes without repetitions, so that no piece has the checksum of
        // another one.
        let bytes: Vec<u8> = (0..filler as u64).map(|at| (at.wrapping_mul(at) >> 5) as u8).collect();
        add("filler", 0o644, &bytes);
    }
    tar.into_inner().expect("finished")
}
