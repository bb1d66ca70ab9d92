use super::*;
use crate::form::read_leaf;

fn round_trips<T: FromStr<Err = NotAName> + fmt::Display>(text: &str) {
    let parsed: T = text.parse().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parsed.to_string(), text);
}

fn is_refused<T: FromStr<Err = NotAName>>(texts: &[&str]) {
    for text in texts {
        assert!(text.parse::<T>().is_err(), "`{text}` was accepted");
    }
}

#[test]
fn names_survive_a_round_trip() {
    round_trips::<HostId>("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN");
    round_trips::<DeploymentId>("d-ABCDEF123");
    round_trips::<Digest>(&format!("blake3:{}", "0f".repeat(32)));
    round_trips::<GroupName>("hello/prod-eu.1");
}

#[test]
fn what_is_no_name_is_refused() {
    is_refused::<HostId>(&["", "12D3", "0OIl", &"1".repeat(10_000)]);
    is_refused::<DeploymentId>(&["", "d-", "d-abcdefghi", "d-ABCDEF12", "d-ABCDEF1234", "d-ABCDEF12é"]);
    is_refused::<Digest>(&["", "blake3:", "00", &"0f".repeat(33)]);
    is_refused::<GroupName>(&["", "web", "/", "a/", "a/b/c", "../b", "a/..", "a b/c", "a/b\n", "a~b/c"]);
}

#[test]
fn a_refusal_names_the_text_and_the_rule() {
    let error = "web".parse::<GroupName>().expect_err("no group name");
    assert_eq!(
        error.to_string(),
        "`web` is not a group name (APPLICATION/GROUP, each 1-100 of letters, digits and . _ + = , @ -)"
    );
}

#[test]
fn a_derived_deployment_id_is_a_deployment_id() {
    let id = DeploymentId::derive(b"seed");
    assert_eq!(id, DeploymentId::derive(b"seed"));
    assert_ne!(id, DeploymentId::derive(b"another"));
    round_trips::<DeploymentId>(&id.to_string());
}

/// Names from the network must keep the same rules as names that people type.
#[test]
fn a_name_that_is_none_is_not_decoded() {
    #[derive(Serialize)]
    struct Parts<'a> {
        application: &'a str,
        group: &'a str,
    }
    let check = |application, group, is_name| {
        let parts = Parts { application, group };
        assert_eq!(read_leaf::<GroupName>(&parts).is_ok(), is_name, "{application} {group}");
        let json = serde_json::to_string(&parts).expect("JSON");
        assert_eq!(serde_json::from_str::<GroupName>(&json).is_ok(), is_name, "{json}");
    };
    check("web", "prod", true);
    check("../../x", "y", false);
    check("web", "..", false);
    check("", "prod", false);
    check("web", "a/b", false);
    let config = |text: &str| read_leaf::<ConfigName>(&text).is_ok();
    assert!(config("Canary10") && !config("../x") && !config(""));
    let deployment = |id: &[u8; 9]| read_leaf::<DeploymentId>(id).is_ok();
    assert!(deployment(b"ABC123XYZ") && !deployment(b"../../etc") && !deployment(&[0; 9]));
}
