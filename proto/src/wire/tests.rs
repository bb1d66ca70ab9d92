use super::*;

const MESH: MeshId = MeshId([3; 16]);

#[test]
fn a_frame_survives_a_round_trip() {
    let message = Message::Want { after: 300 };
    assert_eq!(unframe(MESH, &frame(MESH, &message)), Ok(message));
}

#[test]
fn the_wire_does_not_change_by_accident() {
    // The bytes are 16 of the mesh, version 4, variant 3, and 300 as a varint.
    let mut expected = vec![3; 16];
    expected.extend([0, 4, 3, 251, 44, 1]);
    assert_eq!(frame(MESH, &Message::Want { after: 300 }), expected);
}

#[test]
fn what_is_no_frame_of_ours_is_refused() {
    let good = frame(MESH, &Message::Want { after: 1 });
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
    let mut newer = frame(MESH, &Message::Want { after: 1 });
    newer[17] = 9;
    assert_eq!(unframe(MESH, &newer), Ok(Message::Want { after: 1 }));
    // This version does not know this variant.
    newer[18] = 200;
    assert_eq!(unframe(MESH, &newer), Err(WireError::Malformed));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let mut frame = vec![3; 16];
        frame.extend(WIRE.to_be_bytes());
        frame.extend(bytes);
        let _ = unframe(MESH, &frame);
    }
}
