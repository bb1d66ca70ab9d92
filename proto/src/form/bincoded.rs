//! The codec of all forms: bincode, with numbers of variable length.
//!
//! Decoding never allocates more than the bytes that came, and never panics.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Unreadable;

/// The longest form that is read, in bytes. It is far longer than a frame, whose length is
/// checked before: a host must never mistake its own data for damaged because it has
/// grown.
const BYTES_MAX: usize = 1024 * 1024 * 1024;

fn codec() -> impl bincode::config::Config {
    // The codec checks the lengths inside against the bytes that are left.
    bincode::config::standard().with_limit::<BYTES_MAX>()
}

pub(super) fn encode<T: Serialize>(form: &T) -> Vec<u8> {
    // Forms have no map keys or lengths that serde could refuse.
    bincode::serde::encode_to_vec(form, codec()).expect("a form can be encoded")
}

/// Decodes a form; fails if any bytes are left over.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    match bincode::serde::decode_from_slice(bytes, codec()) {
        Ok((form, read)) if read == bytes.len() => Ok(form),
        Ok(_) | Err(_) => Err(Unreadable::Malformed),
    }
}
