use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;

use super::*;

/// Checks which connections of these ages are closed when the last and newest of
/// them comes in, or was dialled by us.
fn check(ages: &[u64], comes_in: bool, closed: &[usize]) {
    check_doubtful(false, ages, comes_in, closed);
}

/// Does the same after another connection has just ended.
fn check_doubtful(is_doubtful: bool, ages: &[u64], comes_in: bool, closed: &[usize]) {
    let now = Instant::now() + Duration::from_secs(1_000);
    let address = Multiaddr::empty();
    let endpoint = match comes_in {
        true => ConnectedPoint::Listener { local_addr: address.clone(), send_back_addr: address },
        false => {
            let (role_override, port_use) = (Endpoint::Dialer, PortUse::New);
            ConnectedPoint::Dialer { address, role_override, port_use }
        }
    };
    let open = |(id, age): (usize, &u64)| connection(id, now - Duration::from_secs(*age), 5);
    let host = Host { connections: ages.iter().enumerate().map(open).collect(), task: None, is_doubtful };
    let expected: Vec<_> = closed.iter().map(|id| ConnectionId::new_unchecked(*id)).collect();
    assert_eq!(host.stale(now, &endpoint), expected);
}

#[test]
fn dials_that_crossed_leave_two_connections() {
    check(&[0], true, &[]);
    check(&[1, 0], true, &[]);
    check(&[1, 0], false, &[]);
    check(&[2, 1, 0], true, &[0]);
}

#[test]
fn whoever_dials_us_anew_has_lost_his_old_connections() {
    check(&[100, 0], true, &[0]);
    check(&[200, 100, 0], true, &[0, 1]);
    check(&[100, 0], false, &[]);
}

#[test]
fn whoever_dials_us_after_one_connection_ended_has_lost_the_others_however_young() {
    check_doubtful(true, &[2, 0], true, &[0]);
    check_doubtful(true, &[2, 1, 0], true, &[0, 1]);
    check_doubtful(true, &[0], true, &[]);
    check_doubtful(true, &[2, 0], false, &[]);
}

fn connection(id: usize, since: Instant, start: u64) -> Connection {
    Connection { id: ConnectionId::new_unchecked(id), since, start }
}

#[test]
fn a_later_start_of_the_agent_wins_at_once_however_young_the_others_are() {
    let now = Instant::now();
    let closed = |starts: &[u64]| {
        let open = |(id, start): (usize, &u64)| connection(id, now, *start);
        let connections = starts.iter().enumerate().map(open).collect();
        let host = Host { connections, task: None, is_doubtful: false };
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::New);
        let endpoint = ConnectedPoint::Dialer { address: Multiaddr::empty(), role_override, port_use };
        host.stale(now, &endpoint).len()
    };
    assert_eq!(closed(&[1, 2]), 1);
    assert_eq!(closed(&[1, 1, 2]), 2);
    assert_eq!(closed(&[2, 2]), 0);
    assert_eq!(closed(&[3, 2]), 0, "an agent from before cannot come back: its clock went back");
}
