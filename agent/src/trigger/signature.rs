//! Signatures of webhooks: `sha256=`, and the HMAC-SHA256, in hexadecimal, of the
//! timestamp's digits, a dot, and the body as sent.
//!
//! A receiver computes the same with the shared secret, compares in constant time, and refuses
//! timestamps that are more than a few minutes off, so that an old message cannot be replayed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Returns the value of `x-skein-signature`.
pub(super) fn of(secret: &[u8], timestamp: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("sha256={}", data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of `printf '1700000000.{}' | openssl dgst -sha256 -hmac key`.
    #[test]
    fn the_signature_is_what_others_work_out() {
        let expected = "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        assert_eq!(of(b"key", 1_700_000_000, b"{}"), expected);
    }
}
