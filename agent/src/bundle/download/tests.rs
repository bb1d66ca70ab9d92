use super::*;

fn busy(again: Again) -> Trouble {
    Trouble::Open(OpenError::Status { whom: "x".into(), status: "503".into(), advice: String::new(), again })
}

#[test]
fn each_pause_is_longer_than_the_last_until_it_is_enough() {
    let mut longest = Duration::ZERO;
    for (tries, most) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16)] {
        let pause = pause(tries, busy(Again::Later)).expect("another try");
        let most = Duration::from_secs(most);
        assert!(most / 2 <= pause.time && pause.time <= most, "{tries}: {:?}", pause.time);
        assert!(pause.said.contains(&format!("({tries} of {TRIES_MAX})")), "{}", pause.said);
        longest += most;
    }
    assert!(longest < Duration::from_secs(40));
    assert!(matches!(pause(6, busy(Again::Later)), Err(DownloadError::GaveUp { tries: 6, .. })));
}

#[test]
fn a_server_says_how_long_but_not_for_ever() {
    let seconds = |seconds| busy(Again::After(Duration::from_secs(seconds)));
    assert_eq!(pause(1, seconds(30)).expect("another try").time, Duration::from_secs(30));
    assert!(pause(1, seconds(0)).expect("another try").time >= WAIT_FIRST / 2);
    assert!(matches!(pause(1, seconds(121)), Err(DownloadError::TooPatient { .. })));
}
