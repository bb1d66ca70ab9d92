//! Checks that no AppSpec file can stop the agent, and that a valid file is read the same a
//! second time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::appspec::{CustomEvents, parse_with};

fuzz_target!(|bytes: &[u8]| {
    for custom in [CustomEvents::Only(&[]), CustomEvents::Any] {
        match parse_with("appspec.yml", bytes, custom) {
            Ok(parsed) => {
                for mapping in &parsed.appspec.files {
                    assert!(mapping.source.split('/').all(|part| part != ".."), "a source leaves the bundle");
                }
                assert_eq!(parse_with("appspec.yml", bytes, custom), Ok(parsed));
            }
            Err(mistakes) => assert!(!mistakes.is_empty(), "refused without a reason"),
        }
    }
});
