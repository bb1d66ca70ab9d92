use super::*;

fn trigger(name: &str) -> Trigger {
    let url = "https://hooks.example/skein".into();
    let target = Target::Webhook { url, secret_file: Some("/etc/skein/hook.key".into()) };
    Trigger { name: name.into(), on: BTreeSet::from([TriggerEvent::DeploymentFailure]), target }
}

fn check(change: impl FnOnce(&mut Trigger), says: Option<&str>) {
    let mut changed = trigger("chat");
    change(&mut changed);
    let result = check_triggers(&[changed]).map_err(|error| error.to_string());
    match says {
        None => assert_eq!(result, Ok(())),
        Some(says) => assert!(result.as_ref().is_err_and(|error| error.contains(says)), "{result:?}"),
    }
}

#[test]
fn a_trigger_keeps_its_limits() {
    check(|_| {}, None);
    check(|trigger| trigger.on.clear(), Some("names no event"));
    check(|trigger| trigger.name = "a b".into(), Some("invalid name of a trigger"));
    check(|trigger| trigger.target = Target::Exec { command: String::new() }, Some("of exec"));
    let many: Vec<Trigger> = (0..11).map(|number| trigger(&format!("t{number}"))).collect();
    assert_eq!(check_triggers(&many), Err(InvalidWatch::TooMany(11, "trigger")));
    assert_eq!(check_triggers(&many[..10]), Ok(()));
    assert!(check_triggers(&[trigger("t"), trigger("t")]).is_err());
}

#[test]
fn an_id_is_one_happenings_alone() {
    let happening = |event, index, host: Option<u8>| Happening {
        number: 1,
        index,
        at: LedgerTime::from_millis(1),
        event,
        deployment: DeploymentId::derive(b"d"),
        host: host.map(|host| HostId::from_public_key([host; 32])),
    };
    let one = happening(TriggerEvent::InstanceFailure, 7, Some(1));
    assert_eq!(one.id(), Happening { number: 9, ..one.clone() }.id(), "wherever it stands in the queue");
    let others = [
        happening(TriggerEvent::InstanceSuccess, 7, Some(1)),
        happening(TriggerEvent::InstanceFailure, 8, Some(1)),
        happening(TriggerEvent::InstanceFailure, 7, Some(2)),
        happening(TriggerEvent::InstanceFailure, 7, None),
    ];
    let ids: BTreeSet<String> = others.iter().chain([&one]).map(Happening::id).collect();
    assert_eq!(ids.len(), 5);
}
