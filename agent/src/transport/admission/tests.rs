use proto::id::MeshId;
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::*;

fn gate(own: HostId, mesh_key: MeshKey) -> Gate {
    Gate { own, mesh_key, door: Arc::new(Door::new()), start: 7 }
}

const DIALLER: HostId = HostId::from_public_key([1; 32]);
const LISTENER: HostId = HostId::from_public_key([2; 32]);
const MIDDLE: HostId = HostId::from_public_key([3; 32]);
const KEY: MeshKey = MeshKey { id: MeshId([4; 16]), secret: [5; 32] };

/// Runs the handshake between two ends. Each has its key, and the host that
/// encryption has shown it to be connected to.
async fn check(dialler: (MeshKey, HostId), listener: (MeshKey, HostId), expected: [&str; 2]) {
    let (near, far) = tokio::io::duplex(512);
    let (mut near, mut far) = (near.compat(), far.compat());
    let (dialler_gate, listener_gate) = (gate(DIALLER, dialler.0), gate(LISTENER, listener.0));
    let (by_dialler, by_listener) = (AtomicBool::new(false), AtomicBool::new(false));
    let (dialled, listened) = tokio::join!(
        dialler_gate.prove_as_dialler(dialler.1, &mut near, &by_dialler),
        listener_gate.prove_as_listener(listener.1, &mut far, &by_listener),
    );
    let text = |outcome: Result<End, Refusal>| match outcome {
        Ok(end) => format!("member since {}", end.start()),
        Err(refusal) => refusal.to_string(),
    };
    assert_eq!([text(dialled), text(listened)], expected);
}

#[tokio::test]
async fn members_are_admitted() {
    check((KEY, LISTENER), (KEY, DIALLER), ["member since 7", "member since 7"]).await;
}

#[tokio::test]
async fn another_secret_and_another_mesh_are_refused() {
    let refused = ["it does not have this mesh's key", "it says that we do not have its mesh's key"];
    check((MeshKey { secret: [6; 32], ..KEY }, LISTENER), (KEY, DIALLER), refused).await;
    check((KEY, LISTENER), (MeshKey { id: MeshId([6; 16]), ..KEY }, DIALLER), refused).await;
}

#[tokio::test]
async fn a_proof_that_somebody_in_the_middle_passes_on_is_refused() {
    let refused = ["it does not have this mesh's key", "it says that we do not have its mesh's key"];
    check((KEY, MIDDLE), (KEY, MIDDLE), refused).await;
    check((KEY, LISTENER), (KEY, MIDDLE), refused).await;
}

#[tokio::test]
async fn our_own_proof_sent_back_is_refused() {
    let (near, far) = tokio::io::duplex(512);
    let (mut near, mut far) = (near.compat(), far.compat());
    let mirror = async {
        let [_] = receive(&mut far).await.unwrap();
        let hello: [u8; HELLO_BYTES] = receive(&mut far).await.unwrap();
        // The best that a stranger can do: a proof of the other role, over nonces
        // of its choice, made by a member.
        let here = gate(LISTENER, KEY);
        let end = |host| End { host, hello };
        let challenge = Challenge { dialler: end(DIALLER), listener: end(LISTENER) };
        let proof = here.proof(&challenge, Role::Dialler);
        send(&mut far, &[&hello, proof.as_bytes()]).await.unwrap();
        let [verdict] = receive(&mut far).await.unwrap();
        assert_eq!(verdict, STRANGER);
    };
    let here = gate(DIALLER, KEY);
    let proven = AtomicBool::new(false);
    let (dialled, ()) = tokio::join!(here.prove_as_dialler(LISTENER, &mut near, &proven), mirror);
    assert!(matches!(dialled, Err(Refusal::Stranger)), "{dialled:?}");
}

#[tokio::test]
async fn another_version_and_a_hang_up_are_told_apart() {
    let here = gate(LISTENER, KEY);
    let (near, far) = tokio::io::duplex(512);
    let (mut near, mut far) = (near.compat(), far.compat());
    send(&mut near, &[&[9]]).await.unwrap();
    let refused = here.prove_as_listener(DIALLER, &mut far, &AtomicBool::new(false)).await;
    assert!(matches!(refused, Err(Refusal::Version(9))), "{refused:?}");
    drop(near);
    let refused = here.prove_as_listener(DIALLER, &mut far, &AtomicBool::new(false)).await;
    assert!(matches!(refused, Err(Refusal::HungUp(_))), "{refused:?}");
}
