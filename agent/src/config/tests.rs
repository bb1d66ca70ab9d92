use super::*;

fn parse(text: &str, flags: AgentFlags) -> Result<AgentConfig, ConfigError> {
    AgentConfig::new(toml_file::parse(Path::new("agent.toml"), text)?, flags, None)
}

fn check_refused(text: &str, message: &str) {
    let error = parse(text, AgentFlags::default()).expect_err("refused");
    assert!(error.to_string().contains(message), "{error} does not say: {message}");
}

#[test]
fn a_file_is_read_and_flags_override_it() {
    let text = r#"
        data_dir = "/srv/skein"
        listen = ["10.0.0.1:7717"]
        name = "web-1"
        tags = ["role=web", "env=prod"]
        http = "127.0.0.1:7718"
        log = "json"
        voters = 3
        [sources]
        s3_endpoint = "https://minio.example"
        s3_path_style = false
    "#;
    let flags = AgentFlags { name: Some("web-2".into()), ..AgentFlags::default() };
    let config = parse(text, flags).expect("valid");
    assert_eq!(config.name, "web-2");
    assert_eq!(config.deploy_root, Path::new("/srv/skein/deploy"));
    assert_eq!(config.voters, 3);
    assert_eq!(config.log, LogFormat::Json);
    assert_eq!(config.sources.s3_endpoint.as_deref(), Some("https://minio.example"));
    assert_eq!((config.sources.s3_path_style, config.sources.bytes_max), (Some(false), None));
    let listen: Vec<String> = config.listen.iter().map(Multiaddr::to_string).collect();
    assert_eq!(listen, ["/ip4/10.0.0.1/udp/7717/quic-v1", "/ip4/10.0.0.1/tcp/7717"]);
    assert_eq!(config.tags.len(), 2);
}

#[test]
fn nothing_told_is_enough() {
    let config = parse("", AgentFlags::default()).expect("valid");
    assert_eq!(config.voters, VOTERS_DEFAULT);
    assert_eq!(config.join, None);
    assert!(!config.name.is_empty() && config.api.is_absolute());
}

#[test]
fn mistakes_are_named_with_file_line_and_what_was_meant() {
    check_refused(
        "\nname = \"a\"\ndata_dri = \"/x\"\n",
        "agent.toml:3: unknown key `data_dri`; did you mean `data_dir`?",
    );
    check_refused("colour = 1", "unknown key `colour`; known here: data_dir, listen");
    check_refused("log = \"jsn\"", "unknown word `jsn`; did you mean `json`?");
    check_refused("listen = [\"nowhere\"]", "invalid listen address `nowhere`");
    check_refused("[sources]\ns3_endpont = \"x\"", "did you mean `s3_endpoint`?");
    check_refused("voters = 4", "invalid number of voters `4`");
    check_refused("tags = [\"web\"]", "tag");
    check_refused("name = 3", "agent.toml:1:");
}

#[test]
fn a_join_is_a_token_or_an_address() {
    let join = |text: &str| parse_join(text.into(), true).expect("a join");
    assert_eq!(join("skein1.abc"), Join::Token { text: "skein1.abc".into(), is_exposed: true });
    assert!(matches!(join("10.0.0.1:7717"), Join::Addresses(list) if list.len() == 2));
    assert!(matches!(join("/ip4/10.0.0.1/tcp/7717"), Join::Addresses(list) if list.len() == 1));
}

#[test]
fn a_token_in_a_file_goes_before_one_in_the_open_and_flags_before_the_settings() {
    let path = |text: &str| Some(PathBuf::from(text));
    let text = |text: &str| Some(text.to_string());
    let is =
        |found: Result<Option<Join>, ConfigError>, join: Join| assert_eq!(found.expect("a join"), Some(join));
    let told = |text: &str, is_exposed| Join::Token { text: text.into(), is_exposed };
    is(join_of(None, path("a"), text("skein1.b"), path("c")), Join::File("a".into()));
    is(join_of(text("skein1.a"), None, text("skein1.b"), path("c")), told("skein1.a", true));
    is(join_of(None, None, text("skein1.b"), path("c")), Join::File("c".into()));
    is(join_of(None, None, text("skein1.b"), None), told("skein1.b", false));
    assert_eq!(join_of(None, None, None, None).expect("none"), None);
}

/// Returns the keys that a section of the file may have, from the error about an unknown one.
fn keys_of(section: &str) -> Vec<String> {
    let text = format!("{section}\n\"0\" = 1\n");
    let error =
        toml_file::parse::<AgentFile>(Path::new("agent.toml"), &text).expect_err("unknown").to_string();
    let (_, known) = error.split_once("known here: ").unwrap_or_else(|| panic!("{error}"));
    known.split(", ").map(|key| key.trim().to_owned()).collect()
}

#[test]
fn the_example_has_every_setting() {
    let example = include_str!("../../../docs/examples/agent.toml");
    parse(example, AgentFlags::default()).expect("the example as it is");
    // The commented settings must be right, too.
    let is_setting = |line: &&str| {
        let mut words = line.trim_start_matches("# ").split(" = ");
        words
            .next()
            .is_some_and(|key| key.chars().all(|letter| letter.is_ascii_lowercase() || "_3".contains(letter)))
            && words.next().is_some()
    };
    let wanted = |line: &&str| line.starts_with('[') || is_setting(line);
    let lines: Vec<&str> = example.lines().filter(wanted).map(|line| line.trim_start_matches("# ")).collect();
    let all = lines.join("\n");
    toml_file::parse::<AgentFile>(Path::new("agent.toml"), &all).expect("with every line");
    for key in keys_of("").into_iter().chain(keys_of("[sources]")) {
        let is_there = |line: &&&str| line.starts_with(&format!("{key} = ")) || **line == format!("[{key}]");
        assert!(lines.iter().any(|line| is_there(&line)), "docs/examples/agent.toml says nothing of `{key}`");
    }
}

#[test]
fn the_sockets_group_is_a_group_of_this_host() {
    let group = |text: &str| parse(&format!("socket_group = \"{text}\""), AgentFlags::default());
    assert_eq!(group("1234").expect("a number").socket_group, Some(Gid::from_raw(1234)));
    assert_eq!(group("root").expect("a group").socket_group, Some(Gid::from_raw(0)));
    check_refused("socket_group = \"no-such-group\"", "this host has no group `no-such-group`");
}
