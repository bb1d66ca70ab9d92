//! The forms of everything that is stored, put into an entry or sent to another host.
//!
//! Golden files hold bytes of each version: `form/v4/golden/` those of the last release.

#[cfg(test)]
mod tests;
