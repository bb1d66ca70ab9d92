//! Measures how fast a bundle is downloaded from S3: `cargo bench -p
//! skein-agent --bench sources [-- MIB]`. It prints a table and judges nothing.
//!
//! It downloads 1 GiB, or the given number of MiB, from an S3 server on
//! loopback, by `skein local` and by `curl` in turn, on the same cores as the
//! server. The archive is a small tar followed by zeros, which a tar may have,
//! so that unpacking costs nothing: the measurement covers the way onto the
//! disk, with hashing and sync.

#[path = "sources/bundle.rs"]
mod bundle;
#[path = "sources/object_store.rs"]
mod object_store;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use object_store::ObjectStore;

const MIB: u64 = 1024 * 1024;
const ROUNDS: usize = 3;

fn main() {
    // `cargo test --benches` only checks that the program starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let size: u64 = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(1024);
    let (store, dir) = (ObjectStore::start(None), tempfile::tempdir().expect("a directory"));
    let file = dir.path().join("app.tar");
    let mut archive = File::create(&file).expect("a file");
    archive.write_all(&bundle::tar("", "bench", 0)).expect("written");
    archive.set_len(size * MIB).expect("padded");
    store.put("releases", "small.tar", &bundle::tar("", "bench", 0));
    let url = format!("{}/releases/app.tar", store.endpoint());
    // The upload goes through the protocol, so that the server knows the ETag
    // and need not read the whole file.
    curl(&["-T", &file.display().to_string(), &url]);

    let small = local(&store, dir.path(), "small");
    let out = dir.path().join("out").display().to_string();
    let (mut by_curl, mut by_skein, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        curl(&["-o", &out, &url]);
        by_curl.push(size as f64 / began.elapsed().as_secs_f64());
        std::fs::remove_file(&out).expect("removed");
        let began = Instant::now();
        memory = local(&store, dir.path(), "app").max(memory);
        by_skein.push(size as f64 / began.elapsed().as_secs_f64());
    }
    let (curl, skein) = (median(&mut by_curl), median(&mut by_skein));
    let row = |what: &str, value: String| println!("{what:<58} {value}");
    row(&format!("{size} MiB from S3 on loopback by curl, median"), format!("{curl:.0} MiB/s (of {ROUNDS})"));
    row(
        "the same by `skein local`, whole command",
        format!("{skein:.0} MiB/s, {:.0} %", skein / curl * 100.0),
    );
    row(&format!("most memory of `skein local`, {size} MiB"), format!("{} MiB", memory / MIB));
    row("most memory of `skein local`, 10 KiB", format!("{} MiB", small / MIB));
}

/// Deploys the bundle, and returns the peak memory in bytes.
fn local(store: &ObjectStore, dir: &Path, key: &str) -> u64 {
    let trace = dir.join("trace");
    let mut command = Command::new(env!("CARGO_BIN_EXE_skein"));
    command.args(["local", &format!("s3://releases/{key}.tar?anonymous=true"), "--deploy-root"]);
    command.arg(dir.join("root")).env("AWS_ENDPOINT_URL", store.endpoint()).env("TRACE", &trace);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = std::fs::read_to_string(&trace).expect("the hook's trace");
    std::fs::remove_file(trace).expect("removed");
    let memory = told.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    memory.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

fn curl(args: &[&str]) {
    let status = Command::new("curl").args(["-sSf"]).args(args).status().expect("curl runs");
    assert!(status.success(), "curl {args:?}");
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
