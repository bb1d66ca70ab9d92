use super::*;

const MESH: MeshId = MeshId([3; 16]);
const HISTORY: History = History { epoch: 1, id: 258 };

#[test]
fn a_frame_survives_a_round_trip() {
    let message = Message::Want { after: 300 };
    assert_eq!(unframe(MESH, &frame(MESH, HISTORY, &message), Version::NEWEST), Ok((HISTORY, message)));
}

#[test]
fn the_wire_does_not_change_by_accident() {
    // 16 bytes of mesh, version 4, epoch 1, history 258, variant 3, 300 as a varint.
    let mut expected = vec![3; 16];
    expected.extend([0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 251, 44, 1]);
    assert_eq!(frame(MESH, HISTORY, &Message::Want { after: 300 }), expected);
}

#[test]
fn what_is_no_frame_of_ours_is_refused() {
    let good = frame(MESH, HISTORY, &Message::Want { after: 1 });
    assert_eq!(unframe(MESH, &[], Version::NEWEST), Err(WireError::Length));
    assert_eq!(unframe(MeshId([4; 16]), &good, Version::NEWEST), Err(WireError::OtherMesh));
    let mut older = good.clone();
    older[17] = 3;
    assert_eq!(
        unframe(MESH, &older, Version::NEWEST),
        Err(WireError::Unreadable(Version::of(3).expect_err("too old")))
    );
    assert_eq!(
        unframe(MESH, &good[..good.len() - 1], Version::NEWEST),
        Err(WireError::Unreadable(Unreadable::Malformed))
    );
    assert_eq!(
        unframe(MESH, &[good.as_slice(), &[0]].concat(), Version::NEWEST),
        Err(WireError::Unreadable(Unreadable::Malformed))
    );
}

#[test]
fn a_newer_agents_frame_is_refused_with_the_version_that_it_needs() {
    let mut newer = frame(MESH, HISTORY, &Message::Want { after: 1 });
    newer[17] = 7;
    let refused = unframe(MESH, &newer, Version::NEWEST).expect_err("newer");
    assert_eq!(refused.to_string(), "the frame needs version 7, this agent reads up to 6");
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let mut frame = vec![3; 16];
        frame.extend(WIRE.to_be_bytes());
        frame.extend([0; 16]);
        frame.extend(bytes);
        let _ = unframe(MESH, &frame, Version::NEWEST);
    }
}
