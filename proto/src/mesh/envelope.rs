//! The envelope of frames that other hosts relay.
//!
//! The connection proves which host sent a frame, but not which host wrote a relayed one.
//! So the author in the envelope is believed only as far as every host on the way is: a host
//! that relays could write frames in another's name, even proposals and votes. Until frames
//! are signed, an overlay of bounded degree must not be used where a member may lie. The
//! simulator alone uses it.
//!
//! The envelope is no versioned form yet: its mark stands where other frames have their
//! version, so an agent that does not relay refuses it.

use crate::id::{HostId, MeshId};
use crate::wire::FRAME_BYTES_MAX;

/// Stands in place of the version. No version has this number.
const MARK: [u8; 2] = [0xff, 0xff];
/// Mesh, mark, author, destination and hops.
const HEAD: usize = 16 + 2 + 32 + 32 + 1;

/// The most hops of a frame. With degree 20, a thousand hosts are three hops apart; the
/// others are for ways around hosts that are down.
pub(crate) const HOPS_MAX: u8 = 8;

/// A frame that is relayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) author: HostId,
    pub(crate) to: HostId,
    /// The number of hops that are left.
    pub(crate) hops: u8,
    pub(crate) frame: Vec<u8>,
}

impl Relayed {
    pub(crate) fn to_bytes(&self, mesh: MeshId) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.frame.len());
        bytes.extend_from_slice(&mesh.0);
        bytes.extend_from_slice(&MARK);
        bytes.extend_from_slice(self.author.public_key());
        bytes.extend_from_slice(self.to.public_key());
        bytes.push(self.hops);
        bytes.extend_from_slice(&self.frame);
        bytes
    }

    /// Reads an envelope; `None` if the frame has none, or is of another mesh.
    pub(crate) fn read(mesh: MeshId, bytes: &[u8]) -> Option<Relayed> {
        let is_one = bytes.len() >= HEAD && bytes.len() <= FRAME_BYTES_MAX + HEAD;
        if !is_one || bytes[..16] != mesh.0 || bytes[16..18] != MARK {
            return None;
        }
        let key = |at: usize| {
            let mut key = [0; 32];
            key.copy_from_slice(&bytes[at..at + 32]);
            HostId::from_public_key(key)
        };
        Some(Relayed { author: key(18), to: key(50), hops: bytes[HEAD - 1], frame: bytes[HEAD..].to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::form::Version;

    #[test]
    fn an_envelope_is_read_as_it_was_written_and_nothing_else_is_one() {
        let host = |number: u8| HostId::from_public_key([number; 32]);
        let mesh = MeshId([7; 16]);
        let relayed = Relayed { author: host(1), to: host(2), hops: 3, frame: vec![9, 9] };
        let bytes = relayed.to_bytes(mesh);
        let golden = [&[7; 16][..], &[0xff, 0xff], &[1; 32], &[2; 32], &[3], &[9, 9]].concat();
        assert_eq!(bytes, golden);
        assert_eq!(Relayed::read(mesh, &bytes), Some(relayed));
        assert_eq!(Relayed::read(MeshId([8; 16]), &bytes), None);
        assert_eq!(Relayed::read(mesh, &bytes[..HEAD - 1]), None);
        assert!(
            crate::wire::unframe(mesh, &bytes, Version::NEWEST).is_err(),
            "an agent that does not relay refuses it"
        );
        let beacon = crate::wire::frame(mesh, Default::default(), &crate::wire::Message::Want { after: 1 });
        assert_eq!(Relayed::read(mesh, &beacon), None);
    }
}
