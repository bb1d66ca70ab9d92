use proto::id::DeploymentId;
use proto::io::{First, Refusal};
use proto::recovery::NotRecovered;

use super::in_full;

#[test]
fn a_refusal_and_its_advice_read_as_one_sentence() {
    let group = || "hello/prod".parse().expect("a name of a group");
    let busy: DeploymentId = "d-2Y7XQK3M9".parse().expect("an id of a deployment");
    let cases = [
        (
            Refusal::UnknownGroup(group()),
            "no group hello/prod: `skein group list` shows the groups, `skein group set FILE` defines one".to_string(),
        ),
        (
            Refusal::StopFirst { group: group(), busy, first: First::StopAndGoBack },
            format!(
                "deployment {busy} of hello/prod is still running: stop it with a rollback, which goes back there (`skein \
                 stop {busy} --rollback`)"
            ),
        ),
        (
            Refusal::NotCommitted { seconds: 5, voters_up: 2, voters: 3 },
            "the mesh did not commit this within 5 s (2 of 3 voters are connected): it may still happen; look with \
             `skein status` before you try again"
                .into(),
        ),
        (
            Refusal::NotCommitted { seconds: 5, voters_up: 1, voters: 3 },
            "the mesh did not commit this within 5 s (1 of 3 voters are connected): it may still happen; nothing can \
             be committed without most of them; look with `skein status` before you try again. If they are gone for \
             good, `skein mesh recover` goes on without them"
                .into(),
        ),
        (
            Refusal::Recovery(NotRecovered::OtherKey),
            "the recovery is signed by another key than this mesh's recovery key, which `skein mesh init` wrote to \
             recovery.key"
                .into(),
        ),
        (
            Refusal::ImpossibleCanary { group: group(), config: "4 hosts".into(), canary: 4, total: 4 },
            "a canary of 4 hosts takes in every host of hello/prod (4), so none would follow it: make it smaller (at most \
             3), or leave it out (--override canary.enabled=false)"
                .into(),
        ),
        (
            Refusal::BakesTooLong { bakes: 3_600, timeout: 3_600 },
            "the bakes of this deployment take 3600 s in all and its timeout is 3600 s, so it could never succeed: \
             make the bakes shorter, or the timeout longer (--override timeout=7200s)"
                .into(),
        ),
        (Refusal::Leaving, "this agent is stopping".into()),
    ];
    for (refusal, text) in cases {
        assert_eq!(in_full(&refusal), text);
    }
}
