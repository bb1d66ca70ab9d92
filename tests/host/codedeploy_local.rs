//! Called as `codedeploy-local`, skein behaves like that tool.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::world::{Host, SKEIN, expect};

/// Creates a link with that name, and a configuration file in the form of the
/// official agent.
fn codedeploy_local(host: &Host, args: &[&str]) -> Command {
    let link = host.path().join("codedeploy-local");
    if !link.exists() {
        std::os::unix::fs::symlink(SKEIN, &link).expect("linked");
        let config = format!("---\n:root_dir: {}\n:max_revisions: 5\n", host.root().display());
        fs::write(config_file(host), config).expect("written");
    }
    let mut command = Command::new(link);
    command.args(args).env("NO_COLOR", "1").current_dir(host.path());
    command
}

fn config_file(host: &Host) -> PathBuf {
    host.path().join("codedeployagent.yml")
}

#[test]
fn a_script_written_for_it_finds_what_it_expects() {
    let host = Host::new();
    host.bundle(
        "b",
        &[("page", "one")],
        &[("AfterInstall", "echo $DEPLOYMENT_GROUP_NAME $APPLICATION_NAME")],
    );
    let words = [
        "Starting to execute deployment from within folder ",
        "AppSpec file valid. Local deployment successful",
    ];
    let args = ["--bundle-location=b", "--type", "directory", "-g", "web", "-c", "codedeployagent.yml"];
    let said = expect(codedeploy_local(&host, &args), 0, &words);
    let log = said.split("See the deployment log at ").nth(1).expect("the log's path");
    let log = log.split(" for more details").next().expect("the log's path");
    assert!(log.starts_with(&host.root().join("web").display().to_string()), "{log}");
    let text = fs::read_to_string(log).expect("the log");
    assert!(text.ends_with("[stdout]LocalFleet b\n"), "{text}");
    assert_eq!(host.tree()["page"], "640 one");
}

#[test]
fn whatever_goes_wrong_ends_with_1() {
    let host = Host::new();
    let check = |args: &[&str], words: &[&str]| {
        expect(codedeploy_local(&host, args), 1, words);
    };
    host.bundle("b", &[], &[("BeforeInstall", "echo broken; exit 3")]);
    fs::create_dir(host.path().join("empty")).expect("made");
    fs::write(host.path().join("file"), "x").expect("written");
    let config = ["-c", "codedeployagent.yml"];
    let script = "Your local deployment failed while trying to execute your script at ";
    check(
        &[&["-l", "b"], &config[..]].concat(),
        &[script, "BeforeInstall.sh", "exit code 3", "[stdout]broken"],
    );
    check(&["-l", "empty"], &["there is no AppSpec file `appspec.yml`"]);
    check(&["-l", "missing"], &["there is no bundle at `missing`"]);
    check(&["-l", "file"], &["`file` is not a directory"]);
    check(&["-l", "b", "-c", "no-config.yml"], &["no-config.yml"]);
    check(&["-l", "b", "-e", "AfterInstall,DownloadBundle"], &["can stand before DownloadBundle"]);
    check(&["--no-such-option"], &["--no-such-option"]);
}

#[test]
fn it_says_what_it_is() {
    let host = Host::new();
    expect(codedeploy_local(&host, &["-v"]), 0, &["1.0"]);
    let said = expect(codedeploy_local(&host, &["-h"]), 0, &["--bundle-location", "--file-exists-behavior"]);
    assert!(!said.contains("--deploy-root"), "only its own options: {said}");
}
