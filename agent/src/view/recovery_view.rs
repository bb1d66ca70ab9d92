//! Shows what a recovery of the mesh would do, for the person who decides on it.

use data_encoding::BASE64;
use proto::id::HostId;
use proto::io::Refusal;
use proto::node::{Node, OutOfReach};
use proto::state::{Recovered, State};
use serde::{Deserialize, Serialize};

use super::names::{Named, Names};
use super::written;

/// A recovery from the host that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecoveryView {
    pub(crate) mesh: String,
    /// The host that answers, and would be the only voter.
    pub(crate) name: String,
    /// The number of the recovery, counted from 1.
    pub(crate) epoch: u64,
    /// The newest entry that this host has: all up to it are kept.
    pub(crate) entry: u64,
    /// The newest one that it knows to be committed.
    pub(crate) committed: u64,
    /// Voters that it does not hear, and would give up.
    pub(crate) out_of_reach: Vec<OutOfReachView>,
    /// Voters that it hears, itself included.
    pub(crate) in_reach: Vec<String>,
    /// The other hosts that it hears, which would follow.
    pub(crate) others: Vec<OtherView>,
    /// Running deployments, which continue or fail by the usual rules.
    pub(crate) running: Vec<String>,
    /// The bytes that the recovery key must sign, in base 64.
    pub(crate) to_sign: String,
}

/// A voter that the answering host does not hear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutOfReachView {
    #[serde(flatten)]
    pub(crate) who: Named,
    /// The time at which it was last heard; `None` if that was before the answering agent was
    /// started.
    pub(crate) last_heard: Option<String>,
}

/// A host that is not a voter and that the answering host hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OtherView {
    #[serde(flatten)]
    pub(crate) who: Named,
    /// The newest entry that it has.
    pub(crate) entry: u64,
}

/// A recovery of the mesh that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecoveredView {
    /// The number of the recovery, counted from 1.
    pub(crate) epoch: u64,
    /// The entry of the recovery; all entries before it were kept.
    pub(crate) entry: u64,
    pub(crate) at: String,
    /// The person who decided it.
    pub(crate) by: String,
    /// The host from whose ledger the mesh continued.
    pub(crate) from: String,
    /// The voters that were given up.
    pub(crate) gone: Vec<String>,
}

impl RecoveredView {
    /// Formats the recovery in one sentence.
    pub(crate) fn line(&self) -> String {
        let gone = if self.gone.is_empty() { "nobody".into() } else { self.gone.join(", ") };
        format!(
            "{} recovered the mesh at {} from {} as of entry {} (epoch {}), and gave up {gone}",
            self.by,
            self.at,
            self.from,
            self.entry - 1,
            self.epoch
        )
    }
}

/// Returns the mesh's recoveries, the newest last.
pub(super) fn recoveries(state: &State) -> Vec<RecoveredView> {
    let names = Names::of(state);
    let name = |host: &HostId| names.named(*host).label().to_string();
    let sorted = |gone: &[HostId]| {
        let mut gone: Vec<String> = gone.iter().map(name).collect();
        gone.sort();
        gone
    };
    let view = |recovered: &Recovered| RecoveredView {
        epoch: recovered.epoch,
        entry: recovered.index,
        at: written(recovered.at),
        by: recovered.by.clone(),
        from: name(&recovered.host),
        gone: sorted(&recovered.gone),
    };
    state.recoveries().map(view).collect()
}

/// Returns the recovery that this host offers.
/// # Errors
/// The reason why the mesh cannot be recovered from here.
pub(crate) fn recovery(node: &Node, by: &str) -> Result<RecoveryView, Refusal> {
    let offer = node.recovery_offer(by)?;
    let state = node.state();
    let names = Names::of(state);
    let mut out: Vec<OutOfReachView> =
        offer.out_of_reach.iter().map(|voter| out_of_reach(state, voter)).collect();
    out.sort_by(|a, b| a.who.order().cmp(&b.who.order()));
    let named = |host: &HostId| names.named(*host);
    Ok(RecoveryView {
        mesh: offer.recovery.mesh.to_string(),
        name: node.config().name.clone(),
        epoch: offer.recovery.epoch,
        entry: offer.recovery.base,
        committed: offer.recovery.committed,
        out_of_reach: out,
        in_reach: offer.in_reach.iter().map(|host| named(host).label().to_string()).collect(),
        others: offer
            .others
            .iter()
            .map(|(host, entry)| OtherView { who: named(host), entry: *entry })
            .collect(),
        running: state.running().map(|rollout| rollout.submission.deployment.to_string()).collect(),
        to_sign: BASE64.encode(&offer.recovery.to_bytes()),
    })
}

fn out_of_reach(state: &State, voter: &OutOfReach) -> OutOfReachView {
    let who = match voter.host {
        Some(host) => Names::of(state).named(host),
        // Its host dropped the number, with a new disk, just before.
        None => {
            let name = format!("voter-{}", voter.voter);
            Named { host: String::new(), label: name.clone(), name }
        }
    };
    OutOfReachView { who, last_heard: voter.heard_at.map(|at| written(at.to_ledger())) }
}
