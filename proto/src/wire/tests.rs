use super::*;

const MESH: MeshId = MeshId([3; 16]);
const HISTORY: History = History { epoch: 1, id: 258 };

#[test]
fn a_frame_survives_a_round_trip() {
    let message = Message::Want { after: 300 };
    assert_eq!(unframe(MESH, &frame(MESH, HISTORY, &message)), Ok((HISTORY, message)));
}

#[test]
fn the_wire_does_not_change_by_accident() {
    // 16 bytes of mesh, version 5, epoch 1, history 258, variant 3, 300 as a varint.
    let mut expected = vec![3; 16];
    expected.extend([0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 251, 44, 1]);
    assert_eq!(frame(MESH, HISTORY, &Message::Want { after: 300 }), expected);
}

#[test]
fn what_is_no_frame_of_ours_is_refused() {
    let good = frame(MESH, HISTORY, &Message::Want { after: 1 });
    assert_eq!(unframe(MESH, &[]), Err(WireError::Length));
    assert_eq!(unframe(MeshId([4; 16]), &good), Err(WireError::OtherMesh));
    let mut older = good.clone();
    older[17] = 3;
    assert_eq!(unframe(MESH, &older), Err(WireError::Version(3)));
    assert_eq!(unframe(MESH, &good[..good.len() - 1]), Err(WireError::Malformed));
    assert_eq!(unframe(MESH, &[good.as_slice(), &[0]].concat()), Err(WireError::Malformed));
}

#[test]
fn a_newer_agents_frame_is_read_as_far_as_it_can_be() {
    let mut newer = frame(MESH, HISTORY, &Message::Want { after: 1 });
    newer[17] = 9;
    assert_eq!(unframe(MESH, &newer), Ok((HISTORY, Message::Want { after: 1 })));
    // A variant that this version does not know.
    newer[34] = 200;
    assert_eq!(unframe(MESH, &newer), Err(WireError::Malformed));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let mut frame = vec![3; 16];
        frame.extend(WIRE.to_be_bytes());
        frame.extend([0; 16]);
        frame.extend(bytes);
        let _ = unframe(MESH, &frame);
    }
}
