use super::event_list::EventsError;
use super::*;

fn names(events: &[Event]) -> String {
    events.iter().map(Event::name).collect::<Vec<_>>().join(" ")
}

fn check(list: &str, expected: Result<&str, EventsError>) {
    let parsed = event_list::parse(list).map(|events| names(&events));
    assert_eq!(parsed.as_deref().map_err(Clone::clone), expected, "{list}");
}

#[test]
fn what_nothing_runs_without_comes_first() {
    check("ApplicationStop", Ok("DownloadBundle Install ApplicationStop"));
    check("ApplicationStop,DownloadBundle", Ok("ApplicationStop DownloadBundle Install"));
    check(
        "ApplicationStop,DownloadBundle,BeforeInstall,Install,Smoke",
        Ok("ApplicationStop DownloadBundle BeforeInstall Install Smoke"),
    );
}

#[test]
fn events_out_of_order_are_refused() {
    let refused = event_list::parse("AfterInstall,DownloadBundle,Install").expect_err("refused");
    assert_eq!(
        refused.to_string(),
        "only BeforeBlockTraffic, AfterBlockTraffic, ApplicationStop can stand before DownloadBundle: \
         `AfterInstall` does; change the order of --events"
    );
    check("afterInstall", Err(EventsError::NotPascalCase("afterInstall".into())));
    check("BlockTraffic", Err(EventsError::NoLoadBalancer(LifecycleEvent::BlockTraffic)));
}
