use super::*;

fn recovery() -> Recovery {
    Recovery {
        mesh: RecoveryKey::from_secret(&[5; 32]).mesh(),
        epoch: 1,
        committed: 7,
        base: 9,
        hash: [9; 32],
        tail: vec![[8; 32], [9; 32]],
        host: HostId::from_public_key([1; 32]),
        voter: VoterId(77),
        gone: vec![HostId::from_public_key([2; 32])],
        at: LedgerTime::from_millis(1_000),
        by: "ops".into(),
    }
}

#[test]
fn what_is_signed_does_not_change_by_accident() {
    let message = signed_text::message(&recovery(), &[3; 32]);
    assert_eq!(message.len(), 2 + 16 + 32 + 3 * 8 + 32 + (4 + 64) + 32 + 8 + (4 + 32) + 8 + (4 + 3));
    assert_eq!(message[..2], [11, 1]);
    let signed = signed_text::signed(MeshId([1; 16]), &message);
    assert!(signed.starts_with(b"SSHSIG\0\0\0\x31skein-recovery-1@01010101010101010101010101010101\0\0\0\0"));
}

#[test]
fn a_ledger_is_held_against_the_recovered_one_entry_by_entry() {
    let signed = RecoveryKey::from_secret(&[5; 32]).sign(recovery());
    let check = |index, hash, expected| assert_eq!(signed.prefix(index, &[hash; 32]), expected, "at {index}");
    check(0, 0, Prefix::Yes);
    check(7, 99, Prefix::Yes);
    check(8, 8, Prefix::Yes);
    check(8, 1, Prefix::No);
    check(9, 9, Prefix::Yes);
    check(9, 8, Prefix::No);
    check(10, 9, Prefix::No);

    let base = 7 + TAIL_SIGNED_MAX as Index + 5;
    let long = Recovery { base, tail: vec![[8; 32]; TAIL_SIGNED_MAX], ..recovery() };
    let signed = RecoveryKey::from_secret(&[5; 32]).sign(long);
    assert_eq!(signed.verify(recovery().mesh), Ok(()));
    assert_eq!(signed.prefix(base - 1, &[8; 32]), Prefix::Unknown);
    assert_eq!(signed.prefix(base, &[9; 32]), Prefix::Yes);
}

#[test]
fn a_recovery_out_of_bounds_is_refused_though_it_is_signed() {
    let key = RecoveryKey::from_secret(&[5; 32]);
    let wrong = [
        Recovery { tail: vec![[8; 32]], ..recovery() },
        Recovery { committed: 10, ..recovery() },
        Recovery { voter: VoterId(0), ..recovery() },
        Recovery { by: "x".repeat(BY_BYTES_MAX + 1), ..recovery() },
        Recovery { gone: vec![HostId::from_public_key([2; 32]); GONE_MAX + 1], ..recovery() },
        Recovery { gone: [3, 2].map(|key| HostId::from_public_key([key; 32])).to_vec(), ..recovery() },
    ];
    for recovery in wrong {
        let mesh = recovery.mesh;
        assert_eq!(key.sign(recovery.clone()).verify(mesh), Err(NotRecovered::Malformed), "{recovery:?}");
    }
}
