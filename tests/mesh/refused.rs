//! Bad input. Every error says what is wrong, where, why and what to do, has
//! its exit code, and leaves the agent unchanged.

use std::fs;
use std::path::Path;

use crate::agent::{Agent, skein};
use crate::bundle::{Bundle, Deed};
use crate::world::{Mesh, wait_until};

/// Writes a bundle with only an AppSpec, or without one.
fn bundle(mesh: &Mesh, name: &str, appspec: Option<&str>) -> String {
    let path = mesh.path().join(name);
    fs::create_dir_all(&path).expect("a directory");
    fs::write(path.join("some-file"), "").expect("a file");
    if let Some(text) = appspec {
        fs::write(path.join("appspec.yml"), text).expect("a file");
    }
    path.display().to_string()
}

#[test]
fn a_bundle_that_cannot_be_deployed_is_refused_before_any_host_is_touched() {
    let mesh = Mesh::of(1);
    mesh.group("config = \"OneAtATime\"");
    let deploy = |source: &str| mesh.agent("web-1").skein(&["deploy", "hello/prod", source]);

    let broken = "version: 0.0\nos: linux\nhooks:\n  AfterInstall:\n    - location: [a.sh\n";
    deploy(&bundle(&mesh, "broken", Some(broken))).expect(3, &["error: ", "appspec.yml:"]);
    let unknown = "version: 0.0\nos: linux\nhooks:\n  AfterInstal:\n    - location: a.sh\n";
    deploy(&bundle(&mesh, "unknown", Some(unknown)))
        .expect(3, &["appspec.yml:4:3", "AfterInstal: not a lifecycle event", "did you mean AfterInstall?"]);
    let missing = bundle(&mesh, "missing", None);
    deploy(&missing).expect(3, &["AppSpec", "appspec.yml", &missing]);
    deploy("no/such/directory").expect(1, &["there is no `no/such/directory`", "give a directory, a .zip"]);
    let file = format!("{missing}/some-file");
    deploy(&file).expect(1, &[&file, "neither a directory nor a zip, tar"]);

    let nobodys = format!("blake3:{}", "0".repeat(64));
    deploy(&nobodys).expect(1, &[&nobodys, "`skein push SOURCE`"]);
    deploy("blake3:12").expect(1, &["digest", "12"]);
    assert_eq!(mesh.agent("web-1").json(&["deployments"]), serde_json::json!([]));
    mesh.deploy("web-1", &Bundle::new("v1")).expect(0, &["Succeeded"]);
    mesh.check();
}

#[test]
fn what_is_odd_about_a_bundle_is_said_to_whoever_submits_it() {
    let mesh = Mesh::of(1);
    mesh.group("config = \"OneAtATime\"");
    let hook = "version: 0.0\nos: linux\nhook:\n  AfterInstall:\n    - location: some-file\n";
    let source = bundle(&mesh, "odd", Some(hook));
    let odd = ["warning: ", "appspec.yml:3", "did you mean hooks?"];
    mesh.agent("web-1").skein(&["plan", "hello/prod", &source]).expect(0, &odd);
    mesh.agent("web-1").skein(&["push", &source]).expect(0, &odd);
    mesh.agent("web-1").skein(&["deploy", "hello/prod", &source]).expect(0, &odd);
    mesh.check();
}

/// The judgement of a bundle on the command line.
enum Judged {
    Good,
    /// Accepted, with a warning that contains these words.
    Odd(&'static str),
    /// Refused, with an error that contains these words.
    Unfit(&'static str),
}

#[test]
fn four_commands_judge_a_bundle_alike() {
    let mesh = Mesh::of(1);
    mesh.group("config = \"OneAtATime\"");
    let source =
        format!("files:\n  - source: built\n    destination: {}\n", mesh.path().join("to").display());
    let twice = format!("{source}{}", source.trim_start_matches("files:\n")).replace("built", "some-file");
    let prepared = format!("{source}hooks:\n  BeforeInstall:\n    - location: build.sh\n");
    for (name, rest, judged) in [
        ("good", "hooks:\n  Install:\n  DownloadBundle: []\n", Judged::Good),
        ("built-in", "hooks:\n  Install:\n    - location: some-file\n", Judged::Odd("these will not run")),
        ("prepared", &prepared, Judged::Odd("unless a script of BeforeInstall makes it")),
        (
            "fraction",
            "hooks:\n  AfterInstall:\n    - location: build.sh\n      timeout: 1.5\n",
            Judged::Odd("1 second"),
        ),
        ("no source", &source, Judged::Unfit("there is no `built` in the bundle")),
        (
            "no hook",
            "hooks:\n  AfterInstall:\n    - location: gone.sh\n",
            Judged::Unfit("there is no `gone.sh`"),
        ),
        (
            "no event",
            "hooks:\n  AfterInstal:\n    - location: build.sh\n",
            Judged::Unfit("did you mean AfterInstall?"),
        ),
        ("twice", &twice, Judged::Unfit("are to be copied to")),
    ] {
        let source = bundle(&mesh, name, Some(&format!("version: 0.0\nos: linux\n{rest}")));
        fs::write(Path::new(&source).join("build.sh"), "#!/bin/sh\nmkdir -p built\n").expect("a file");
        let root = mesh.path().join("local").display().to_string();
        let agent = mesh.agent("web-1");
        let local: &[&str] =
            &["local", &source, "--deploy-root", &root, "--file-exists-behavior", "OVERWRITE"];
        let check: &[&str] = &[local, &["--check"]].concat();
        let deploy: &[&str] = &["deploy", "hello/prod", &source, "--override", "file_exists=OVERWRITE"];
        for (command, refused) in [(check, 1), (local, 1), (&["plan", "hello/prod", &source], 3), (deploy, 3)]
        {
            let ran = agent.skein(command);
            match judged {
                Judged::Good => assert!(!ran.stderr.contains("warning: "), "{name}: {}", ran.stderr),
                Judged::Odd(words) => ran.expect(0, &["warning: ", "appspec.yml:", words]),
                Judged::Unfit(words) => ran.expect(refused, &["appspec.yml:", words]),
            }
        }
    }
}

#[test]
fn a_digest_that_was_pushed_can_be_deployed_anywhere() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    let source = Bundle::new("v1").write(mesh.path()).display().to_string();
    let pushed = mesh.agent("web-1").json(&["push", &source]);
    let digest = pushed["digest"].as_str().expect("a digest");

    for host in mesh.names() {
        mesh.agent(&host).skein(&["deploy", "hello/prod", digest]).expect(0, &["Succeeded"]);
    }
    mesh.check();
}

#[test]
fn what_would_be_over_before_it_began_is_refused() {
    let mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"\n[rollback]\nenabled = false");
    mesh.begin_with(&Bundle::new("v1"));
    let bad = Bundle::new("v2").does(Deed::Fail, "ValidateService", "web-2");
    let failed = mesh.submit("web-1", &bad);
    mesh.wait_for(&failed, "Failed");
    // web-1 has v2 and web-2 failed. Only web-3 has the revision to restart, and it may not
    // leave service.
    let on = mesh.agent("web-2");
    let restart = &["hello/prod", "--restart"];
    on.skein(&[&["plan"][..], restart].concat()).expect(3, &["NOT POSSIBLE"]);
    let words =
        ["before any host had its turn", "2 of 3 hosts are healthy and 2 must stay so", "`skein plan`"];
    on.skein(&[&["deploy"][..], restart].concat()).expect(3, &words);
    mesh.check();
}

#[test]
fn groups_that_cannot_be_deployed_to_are_refused_with_advice() {
    let mesh = Mesh::of(3);
    let source = Bundle::new("v1").write(mesh.path()).display().to_string();
    let on = mesh.agent("web-2");
    on.skein(&["deploy", "hello/nowhere", &source])
        .expect(1, &["no group hello/nowhere", "`skein group list`", "`skein group set FILE`"]);
    on.skein(&["deploy", "nowhere", &source]).expect(2, &["nowhere"]);

    mesh.group("minimum_healthy = \"75%\"");
    let impossible = ["75 % of 3 hosts means 3 must stay healthy", "minimum"];
    on.skein(&["deploy", "hello/prod", &source]).expect(3, &impossible);
    on.skein(&["plan", "hello/prod", &source]).expect(
        3,
        &["NOT POSSIBLE as things are", "let 2 of 3 stay healthy", "--override minimum_healthy=2"],
    );
    // `plan` refuses what `deploy` refuses, with the same words and the same
    // exit code.
    for (overrides, words) in [
        (&["minimum_healthy=100%"][..], "0% to 99%"),
        (&["minimum_healthy=1", "config=AllAtOnce"], "keep one"),
        (&["minimum_healthy=1", "canary.hosts=3"], "make it smaller (at most 2)"),
        (&["minimum_healthy=1", "zones.order=nowhere"], "none of its 3 hosts says in which zone it is"),
        (&["minimum_healthy=1", "outdated_only=true", "mode=RESTART"], "contradict each other"),
    ] {
        let flags: Vec<&str> = overrides.iter().flat_map(|pair| ["--override", *pair]).collect();
        let of = |verb| [&[verb, "hello/prod", source.as_str()][..], &flags[..]].concat();
        on.skein(&of("deploy")).expect(3, &[words]);
        on.skein(&of("plan")).expect(3, &[words]);
    }
    // A value that cannot be parsed is a usage error; one that can be parsed is
    // refused.
    for (overrides, code, words) in [
        (&["minimum_healthy=-1"][..], 2, "invalid minimum `-1`"),
        (&["colour=red"], 2, "override `colour`: unknown key"),
        (&["turns_max=1", "turns_max=2"], 2, "override `turns_max` is given twice"),
        (&["config=Nope"], 3, "Nope"),
    ] {
        let flags: Vec<&str> = overrides.iter().flat_map(|pair| ["--override", *pair]).collect();
        for words_of in [&["deploy", "hello/prod", source.as_str()][..], &["plan", "hello/prod", &source]] {
            on.skein(&[words_of, &flags[..]].concat()).expect(code, &[words]);
        }
        on.skein(&[&["rollback", "hello/prod"][..], &flags[..]].concat()).expect(code, &[words]);
    }
    let document = on.json(&["deploy", "hello/prod", &source]);
    assert_eq!(document["error"]["code"], "HEALTH_CONSTRAINTS_INVALID");
    on.skein(&["deploy", "hello/prod", &source, "--override", "minimum_healthy=66%"])
        .expect(0, &["Succeeded"]);
    on.skein(&["freeze", "hello/prod", "--until", "1h"]).expect(0, &["is frozen until"]);
    let at_once = ["--override", "config=AllAtOnce"];
    let of = |verb| [&[verb, "hello/prod", source.as_str()][..], &at_once[..]].concat();
    on.skein(&of("deploy")).expect(3, &["is frozen until", "skein unfreeze hello/prod"]);
    let words = ["NOT NOW", "is frozen until", "it would go like this", "1. web-1, web-2, web-3"];
    on.skein(&of("plan")).expect(3, &words);
    on.skein(&["unfreeze", "hello/prod"]).expect(0, &["is not frozen"]);

    let nobody = mesh.path().join("nobody.toml");
    fs::write(&nobody, "application = \"hello\"\nname = \"nobody\"\ntags = [[\"role=db\"]]\n")
        .expect("a file");
    on.skein(&["group", "set", &nobody.display().to_string()]).expect(0, &["no host has its tags yet"]);
    on.skein(&["deploy", "hello/nobody", &source])
        .expect(3, &["no host matches the tags of group hello/nobody", "`skein hosts`"]);

    let wrong = mesh.path().join("wrong.toml");
    fs::write(
        &wrong,
        "application = \"hello\"\nname = \"x\"\ntags = []\n[deployment]\nconfg = \"AllAtOnce\"\n",
    )
    .expect("a file");
    on.skein(&["group", "set", &wrong.display().to_string()]).expect(1, &["wrong.toml:5", "confg", "config"]);
    mesh.check();
}

#[test]
fn an_agent_that_is_not_there_is_said_so_and_where_it_was_looked_for() {
    let nowhere = tempfile::tempdir().expect("a directory");
    let socket = nowhere.path().join("skein.sock").display().to_string();
    for verb in [&["status"][..], &["hosts"], &["deploy", "hello/prod", "/"]] {
        skein(&[&["--api", &socket], verb].concat())
            .expect(1, &["no agent answers at", &socket, "`skein agent`", "--api SOCKET"]);
    }
}

#[test]
fn an_agent_is_not_started_from_what_it_cannot_understand() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data").display().to_string();
    let file = dir.path().join("agent.toml");
    fs::write(&file, "name = \"web-1\"\ntag = [\"role=web\"]\n").expect("a file");
    let agent = |flags: &[&str]| {
        let socket = dir.path().join("a.sock").display().to_string();
        skein(&[&["agent", "--data-dir", &data, "--api", &socket, "--listen", "127.0.0.1:0"], flags].concat())
    };

    agent(&["--config", &file.display().to_string()]).expect(1, &["agent.toml:2", "`tag`", "`tags`"]);
    agent(&["--tag", "role"]).expect(1, &["role", "write key=value"]);
    agent(&["--listen", "here"]).expect(1, &["invalid listen address `here`", "IP:PORT"]);
    agent(&["--join", "skein1.nonsense"]).expect(1, &["--join"]);
    agent(&[]).expect(1, &["is in no mesh", "`skein mesh init`", "`skein mesh join -`"]);
}

#[test]
fn a_second_agent_of_one_host_is_refused_and_the_first_lives_on() {
    let mesh = Mesh::of(1);
    let first = mesh.agent("web-1");
    let (data, socket) = (first.data.display().to_string(), first.socket.display().to_string());

    let ran = skein(&["agent", "--data-dir", &data, "--api", &socket, "--listen", "127.0.0.1:0"]);
    ran.expect(1, &[&socket]);
    let another = mesh.path().join("another.sock").display().to_string();
    let ran = skein(&["agent", "--data-dir", &data, "--api", &another, "--listen", "127.0.0.1:0"]);
    ran.expect(1, &["store", "is an agent running already?"]);

    first.skein(&["status"]).expect(0, &["web-1"]);
}

#[test]
fn a_host_whose_store_is_damaged_keeps_it_aside_and_rejoins_as_a_new_voter() {
    let mut mesh = Mesh::of(3);
    mesh.group("config = \"OneAtATime\"");
    let first = mesh.begin_with(&Bundle::new("v1"));
    mesh.kill("web-3");
    let data = mesh.agent("web-3").data.clone();
    fs::write(data.join("store/db"), garbage()).expect("a file");

    mesh.start("web-3");

    mesh.wait_until_whole();
    assert!(mesh.agent("web-3").log_text().contains("joins its mesh as a new voter"));
    let kept = fs::read_dir(&data).expect("a directory").filter_map(Result::ok);
    let kept = kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("store.damaged-"));
    assert_eq!(kept.count(), 1, "the damaged store is kept");
    wait_until("web-3 knows what was before it", || mesh.agent("web-3").deployment(&first).is_some());
    mesh.deploy("web-3", &Bundle::new("v2")).expect(0, &["Succeeded", "on 3 of 3 hosts"]);
    mesh.check();
}

fn garbage() -> Vec<u8> {
    (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

#[test]
fn a_stranger_with_another_meshs_key_is_not_let_in() {
    let mesh = Mesh::of(1);
    let other = Mesh::of(1);
    let data = mesh.agent("web-1").data.display().to_string();
    skein(&["mesh", "join", other.token(), "--data-dir", &data])
        .expect(1, &["did not enter the mesh", "is in mesh", "another data directory"]);

    // The stranger has its own mesh's key and dials this mesh.
    let mut stranger = stranger(&other, mesh.agent("web-1").listen());
    stranger.start();
    wait_until("the stranger is refused", || {
        stranger.log_text().contains("it does not have this mesh's key")
    });
    let status = mesh.agent("web-1").json(&["status"]);
    assert_eq!(status["hosts"]["total"], 1);
    assert_eq!(status["hosts"]["connected"], 0);
    stranger.kill();
    mesh.check();
}

/// Returns a host of the mesh `of` that tries to join at another mesh's address.
fn stranger(of: &Mesh, join: &str) -> Agent {
    let mut path = of.path().join("stranger");
    let data = path.display().to_string();
    skein(&["mesh", "join", of.token(), "--data-dir", &data]).expect(0, &["belongs to mesh"]);
    path.pop();
    let mut agent = Agent::new(Path::new(&path), "stranger", of.free_address(), &[]);
    agent.flags.extend(["--join".to_string(), join.to_string()]);
    agent
}
