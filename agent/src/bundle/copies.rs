//! Gives copies of a bundle to other hosts, so that it survives the loss of this one.

use futures::{StreamExt as _, stream};
use proto::node::COPIES;
use proto::revision::Revision;

use super::bundle_store::Bundles;
use crate::questions;

impl Bundles {
    /// Gives [`COPIES`] copies to the hosts that the node chooses, in their order. A host that is
    /// connected to no other has no host to give one to.
    pub(crate) async fn spread(&self, revision: &Revision) {
        let digest = revision.digest;
        // A node that does not answer has ended, and nothing is submitted.
        let keepers = self.node().read(move |node| node.keepers(digest)).await.unwrap_or_default();
        let ask = |host| async move { (host, questions::hold(self.transport(), host, revision).await) };
        // Ask as many hosts at once as copies are wanted, so that one that hangs does not delay the
        // others.
        let mut asked = stream::iter(keepers).map(ask).buffer_unordered(COPIES);
        let mut copies = 0;
        while copies < COPIES
            && let Some((host, held)) = asked.next().await
        {
            match held {
                Ok(()) => copies += 1,
                Err(error) => {
                    tracing::warn!(%host, error = error.message, "a host keeps no copy of the bundle")
                }
            }
        }
    }
}
