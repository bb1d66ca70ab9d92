use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// Checks an AppSpec file beside `start.sh` and the directory `app`.
fn check_as(hosts: Hosts, head: &str, rest: &str, mistakes: &[&str], warnings: &[&str]) {
    let dir = TempDir::new().expect("a directory");
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("app")).expect("made");
    std::fs::write(path("start.sh"), "#!/bin/sh\n").expect("written");
    std::fs::set_permissions(path("start.sh"), std::fs::Permissions::from_mode(0o755)).expect("set");
    std::fs::write(path("windows.sh"), "#!/bin/sh\r\n").expect("written");
    std::fs::write(path("other.sh"), "#!/no/such/shell -e\n").expect("written");
    std::fs::write(path("plain"), "true\n").expect("written");
    std::fs::write(path("appspec.yml"), format!("{head}{rest}")).expect("written");
    let custom = CustomEvents::Only(&[]);
    let findings = super::check(dir.path(), "appspec.yml", custom, hosts).expect("looked at");
    let words = |found: &[Mistake]| found.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(words(&findings.mistakes), mistakes);
    assert_eq!(words(&findings.warnings), warnings);
}

const HEAD: &str = "version: 0.0\nos: linux\n";

fn check(rest: &str, mistakes: &[&str], warnings: &[&str]) {
    check_as(Hosts::This, HEAD, rest, mistakes, warnings);
}

#[test]
fn a_good_bundle_has_nothing_to_find() {
    let rest =
        "files:\n  - source: app\n    destination: /srv\nhooks:\n  AfterInstall:\n    - location: start.sh\n";
    check(rest, &[], &[]);
}

#[test]
fn what_is_named_and_not_there_is_found_at_once() {
    check(
        "files:\n  - source: build\n    destination: /srv\nhooks:\n  AfterInstall:\n    - location: app\n    \
         - location: start.sh -f\n    - location: Start.SH\n",
        &[
            "appspec.yml:4:1: files[0].source: there is no `build` in the bundle",
            "appspec.yml:8:1: hooks.AfterInstall[0].location: `app` is a directory, not a script",
            "appspec.yml:9:1: hooks.AfterInstall[1].location: there is no `start.sh -f` in the bundle; a \
             script gets no arguments, so none can stand here",
            "appspec.yml:10:1: hooks.AfterInstall[2].location: there is no `Start.SH` in the bundle; did you \
             mean `start.sh`?",
        ],
        &[],
    );
}

#[test]
fn a_destination_that_is_meant_as_a_file_is_warned_of() {
    let files = |source: &str, destination: &str| {
        format!("files:\n  - source: {source}\n    destination: {destination}\n")
    };
    let said = |destination: &str, above: &str| {
        format!(
            "appspec.yml:4:1: files[0].destination: `{destination}` becomes a directory with `start.sh` in it, \
             because a destination always is one: write `{above}`, and the file keeps its name"
        )
    };
    check(&files("start.sh", "/srv/start.sh"), &[], &[&said("/srv/start.sh", "/srv")]);
    check(&files("start.sh", "/srv/begin.sh"), &[], &[&said("/srv/begin.sh", "/srv")]);
    let relative =
        "`start.sh` is relative to wherever the agent was started: write a full path, such as `/srv/app`";
    check(
        &files("start.sh", "start.sh"),
        &[],
        &[
            "appspec.yml:4:1: files[0].destination: `start.sh` becomes a directory with `start.sh` in it, because a \
             destination always is one: write the full path of the directory that it is to lie in, such as \
             `/srv/app`, and the file keeps its name",
            &format!("appspec.yml:5:18: files[0].destination: {relative}"),
        ],
    );
    check(&files("start.sh", "/srv"), &[], &[]);
    check(&files("app", "/srv/app"), &[], &[]);
}

#[test]
fn owners_that_this_host_lacks_are_warned_of() {
    let rest = "files:\n  - source: app\n    destination: /srv\npermissions:\n  - object: /srv\n    owner: nobody-here\n    \
                group: none-here\n";
    check_as(Hosts::Others, HEAD, rest, &[], &[]);
    check(
        rest,
        &[],
        &[
            "appspec.yml:7:1: permissions[0].owner: there is no user `nobody-here` on this host",
            "appspec.yml:7:1: permissions[0].group: there is no group `none-here` on this host",
        ],
    );
}

#[test]
fn mistakes_inside_and_outside_of_the_file_are_found_together() {
    check_as(
        Hosts::This,
        "version: 0.0\nos: Linux\n",
        "files:\n  - source: build\n    destination: /srv\nhooks:\n  AfterInstal:\n    - location: gone.sh\n",
        &[
            "appspec.yml:2:5: os: `Linux` is not a system: upper and lower case count; did you mean linux?",
            "appspec.yml:4:1: files[0].source: there is no `build` in the bundle",
            "appspec.yml:7:3: hooks.AfterInstal: not a lifecycle event; did you mean AfterInstall?",
            "appspec.yml:8:1: hooks.AfterInstal[0].location: there is no `gone.sh` in the bundle",
        ],
        &[],
    );
}

#[test]
fn scripts_that_will_not_start_are_warned_of() {
    let rest = "hooks:\n  AfterInstall:\n    - location: windows.sh\n    - location: /other.sh\n      runas: nobody-here\n    \
                - location: plain\n";
    let windows = "appspec.yml:5:1: hooks.AfterInstall[0].location: its lines end as on Windows (CR LF), so its \
                   interpreter will not be found: save it with Unix line ends";
    let plain = "appspec.yml:8:1: hooks.AfterInstall[2].location: it has no `#!` line, so /bin/sh runs it: begin it with \
                 `#!/bin/bash`, if it is one of bash";
    check_as(Hosts::Others, HEAD, rest, &[], &[windows, plain]);
    let second = "appspec.yml:6:1: hooks.AfterInstall[1]";
    let here = [
        windows,
        &format!("{second}.location: its first line names `/no/such/shell`, which is not on this host"),
        &format!(
            "{second}.runas: there is no user `nobody-here` on this host: make it, or change `runas` in the AppSpec file"
        ),
        plain,
    ];
    check(rest, &[], &here);
}

#[test]
fn what_before_install_may_make_is_warned_of() {
    let source = "files:\n  - source: build\n    destination: /srv\n";
    let missing = "appspec.yml:4:1: files[0].source: there is no `build` in the bundle";
    for hosts in [Hosts::This, Hosts::Others] {
        let prepared = format!("{source}hooks:\n  BeforeInstall:\n    - location: start.sh\n");
        let warned = format!("{missing}; unless a script of BeforeInstall makes it, Install will fail");
        check_as(hosts, HEAD, &prepared, &[], &[&warned]);
        let after = format!("{source}hooks:\n  AfterInstall:\n    - location: start.sh\n");
        check_as(hosts, HEAD, &after, &[missing], &[]);
    }
}

#[test]
fn paths_that_are_no_paths_in_the_bundle_are_explained() {
    let source = |source: &str| format!("files:\n  - source: \"{source}\"\n    destination: /srv\n");
    let said = |source: &str, advice: &str| {
        format!(
            "appspec.yml:4:1: files[0].source: there is no `{source}` in the bundle; a source is one file or directory, \
             not a pattern: {advice}"
        )
    };
    check(&source("*.sh"), &[&said("*.sh", "name the directory that they lie in")], &[]);
    check(&source("sta*.sh"), &[&said("sta*.sh", "write `start.sh`")], &[]);
    check(
        "hooks:\n  AfterInstall:\n    - location: /opt/x.sh\n",
        &[
            "appspec.yml:5:1: hooks.AfterInstall[0].location: there is no `opt/x.sh` in the bundle; a location is a path \
             in the bundle, also with a `/` before it: a script that lies on the host is started by one of the bundle",
        ],
        &[],
    );
}

#[test]
fn modes_that_close_directories_are_warned_of() {
    let check = |object: &str, rest: &str, warned: Option<(&str, &str, &str)>| {
        let body = format!(
            "files:\n  - source: /\n    destination: /srv\npermissions:\n  - object: {object}\n{rest}"
        );
        let said = warned.map(|(mode, directory, open)| {
            format!(
                "appspec.yml:7:1: permissions[0].mode: mode {mode} is given to directories too, such as `{directory}`, \
                 and whoever may read a directory but not execute it cannot reach what lies in it: write `type: [file]` \
                 here, and another entry for `type: [directory]` with mode {open}"
            )
        });
        check(&body, &[], &said.iter().map(String::as_str).collect::<Vec<_>>());
    };
    check("/srv", "    mode: 644\n", Some(("644", "/srv/app", "755")));
    check("/srv", "    pattern: \"**\"\n    mode: 0640\n", Some(("640", "/srv/app", "750")));
    check("/", "    mode: 644\n", Some(("644", "/srv", "755")));
    check("/srv", "    mode: 744\n", Some(("744", "/srv/app", "755")));
    check("/srv", "    mode: 644\n    type: [file]\n", None);
    check("/srv", "    mode: 644\n    pattern: \"*.sh\"\n", None);
    check("/srv", "    mode: 755\n", None);
    check("/srv", "    mode: 711\n", None);
    check("/srv/start.sh", "    mode: 644\n", None);
    check("/srv/app", "    mode: 644\n", None);
}

#[test]
fn timeouts_that_add_up_to_more_than_an_hour_are_warned_of() {
    let script = |seconds: u32| format!("    - location: start.sh\n      timeout: {seconds}\n");
    let rest = format!("hooks:\n  AfterInstall:\n{}{}", script(3_600), script(400));
    let said = "appspec.yml:5:1: hooks.AfterInstall: the timeouts of this event's scripts add up to 4000 seconds, and \
                CodeDeploy's service allows 3600: lower them if the bundle is to be deployed there too";
    check_as(Hosts::Others, HEAD, &rest, &[], &[said]);
    check(&rest, &[], &[said]);
    check("hooks:\n  AfterInstall:\n    - location: start.sh\n    - location: start.sh\n", &[], &[]);
}

#[test]
fn what_cannot_be_part_of_a_bundle_is_found() {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("appspec.yml"), HEAD).expect("written");
    std::fs::create_dir(dir.path().join("app")).expect("made");
    nix::unistd::mkfifo(&dir.path().join("app/pipe"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    std::os::unix::fs::symlink("../../x", dir.path().join("app/out")).expect("linked");
    std::fs::write(dir.path().join("a\nb"), "x").expect("written");
    let findings = super::check(dir.path(), "appspec.yml", CustomEvents::Only(&[]), Hosts::This);
    let mut said: Vec<String> =
        findings.expect("looked at").mistakes.iter().map(ToString::to_string).collect();
    said.sort();
    assert_eq!(
        said,
        [
            "a\\nb: its name has a newline or another control character in it, or none at all",
            "app/pipe: it is a named pipe: a bundle holds files, directories and links only",
        ]
    );
}

#[test]
fn an_archive_is_checked_like_a_directory() {
    let dir = TempDir::new().expect("a directory");
    let archive = dir.path().join("b.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&archive).expect("made"));
    let mut header = tar::Header::new_gnu();
    let text = "version: 0.0\nos: linux\nhooks:\n  AfterInstall:\n    - location: gone.sh\n";
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, "appspec.yml", text.as_bytes()).expect("added");
    tar.finish().expect("finished");
    let check = |name| super::check(&archive, name, CustomEvents::Only(&[]), Hosts::This);
    assert_eq!(check("appspec.yml").expect("looked at").mistakes.len(), 1);
}

#[test]
fn the_sample_bundle_has_nothing_to_find() {
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/hello");
    for hosts in [Hosts::This, Hosts::Others] {
        let findings =
            super::check(&bundle, "appspec.yml", CustomEvents::Only(&[]), hosts).expect("looked at");
        assert!(findings.mistakes.is_empty() && findings.warnings.is_empty(), "{findings:?}");
    }
}
