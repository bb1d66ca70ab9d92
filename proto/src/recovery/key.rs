//! The key that can recover a mesh, and the verification of its signatures.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use super::signed_text::{message, signed};
use super::{BY_BYTES_MAX, GONE_MAX, NotRecovered, Recovery, SignedRecovery, TAIL_SIGNED_MAX};
use crate::id::MeshId;

/// The private half of a mesh's recovery key.
#[derive(Clone)]
pub struct RecoveryKey(SigningKey);

impl RecoveryKey {
    /// Makes the key with this secret, which must be random.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        RecoveryKey(SigningKey::from_bytes(secret))
    }

    /// Returns the only mesh that this key can recover.
    pub fn mesh(&self) -> MeshId {
        MeshId::of_recovery_key(self.0.verifying_key().as_bytes())
    }

    /// Signs a recovery. The signature is valid only for this key's mesh.
    pub fn sign(&self, recovery: Recovery) -> SignedRecovery {
        let key = *self.0.verifying_key().as_bytes();
        let bytes = signed(recovery.mesh, &message(&recovery, &key));
        let signature = self.0.sign(&bytes);
        SignedRecovery { recovery, key, signature: [*signature.r_bytes(), *signature.s_bytes()] }
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "recovery key of {:?}", self.mesh())
    }
}

impl SignedRecovery {
    /// Verifies that this is a recovery of `mesh`, signed by that mesh's recovery key.
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, mesh: MeshId) -> Result<(), NotRecovered> {
        let Recovery { mesh: of, epoch, committed, base, tail, voter, gone, by, .. } = &self.recovery;
        if *of != mesh {
            return Err(NotRecovered::OtherMesh { of: *of, mesh });
        }
        if MeshId::of_recovery_key(&self.key) != mesh {
            return Err(NotRecovered::OtherKey);
        }
        let signed_heads = usize::try_from(base.saturating_sub(*committed)).unwrap_or(usize::MAX);
        let is_sound = *epoch > 0
            && voter.0 != 0
            && committed <= base
            && tail.len() == signed_heads.min(TAIL_SIGNED_MAX)
            && gone.len() <= GONE_MAX
            && gone.is_sorted()
            && by.len() <= BY_BYTES_MAX;
        if !is_sound {
            return Err(NotRecovered::Malformed);
        }
        let bytes = signed(*of, &message(&self.recovery, &self.key));
        let [r, s] = self.signature;
        let key = VerifyingKey::from_bytes(&self.key).map_err(|_| NotRecovered::OtherKey)?;
        let signature = Signature::from_components(r, s);
        // Strict, because all hosts must agree about unusual keys and signatures.
        key.verify_strict(&bytes, &signature).map_err(|_| NotRecovered::Signature)
    }
}
