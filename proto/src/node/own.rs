//! What a node knows of this start of its own agent.

use rand_chacha::ChaCha8Rng;

use super::recovering::Recoveries;
use super::{Halt, Meta};
use crate::io::Refusal;
use crate::time::LedgerTime;

/// This start of this host's agent.
pub(super) struct OwnAgent {
    pub(super) meta: Meta,
    pub(super) rng: ChaCha8Rng,
    /// A random number: see [`HostRecord::start`](crate::entry::HostRecord::start).
    pub(super) start: u64,
    /// True if nothing was promised under the voter's number yet, as far as is
    /// known.
    pub(super) is_fresh: bool,
    /// The [`Twin::since`](crate::state::Twin::since) of the last twin that was
    /// logged.
    pub(super) twin_logged: Option<LedgerTime>,
    /// The reason why the mesh would not let this host in, as it was logged last.
    pub(super) not_let_in: Option<Refusal>,
    pub(super) leaving: bool,
    pub(super) halted: Option<Halt>,
    pub(super) recoveries: Recoveries,
}

impl OwnAgent {
    pub(super) fn new(
        meta: Meta,
        rng: ChaCha8Rng,
        start: u64,
        is_fresh: bool,
        recoveries: Recoveries,
    ) -> Self {
        OwnAgent {
            meta,
            rng,
            start,
            is_fresh,
            twin_logged: None,
            not_let_in: None,
            leaving: false,
            halted: None,
            recoveries,
        }
    }
}
