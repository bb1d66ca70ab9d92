//! Golden bytes: what earlier releases wrote is read for good, and what they know is still
//! written in the same form, byte for byte.
//!
//! `v4/golden/` holds one file for each kind of thing of version 4, in hex. A file never
//! changes: what a later version adds gets files in that version's directory. To get the
//! text of a new file, add an empty one and run the test: it fails and prints what the file
//! should hold.

use std::fmt::Debug;

mod golden_bodies;
mod golden_frames;
mod golden_records;
mod golden_state;
mod history;
mod samples;

/// One kind of thing: the name of its file, what the file holds, and the thing itself.
struct Golden<T> {
    file: &'static str,
    hex: &'static str,
    value: T,
}

/// Declares the samples of one enum, each with the pattern of its variant, and the name of
/// its file. A variant without a sample does not compile.
macro_rules! golden {
    ($of:ty { $($file:literal, $pattern:pat => $sample:expr;)* }) => {{
        let file_of = |value: &$of| match value { $($pattern => $file,)* };
        let all: Vec<$crate::form::tests::Golden<$of>> = vec![$($crate::form::tests::Golden {
            file: $file,
            hex: include_str!(concat!("../", $file, ".hex")),
            value: $sample,
        },)*];
        for golden in &all {
            assert_eq!(file_of(&golden.value), golden.file, "the sample is of another variant");
        }
        all
    }};
}
use golden;

/// Encodes the sample and compares it with its file, and decodes the file.
fn check<T: Debug + PartialEq, E: Debug>(
    all: &[Golden<T>],
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, E>,
) {
    let hex = &data_encoding::HEXLOWER;
    let lines = |bytes: &[u8]| {
        let lines: Vec<String> = bytes.chunks(48).map(|line| hex.encode(line)).collect();
        lines.join("\n")
    };
    let wrong: Vec<String> = all
        .iter()
        .map(|golden| (golden, lines(&encode(&golden.value))))
        .filter(|(golden, encoded)| golden.hex.trim_end() != encoded)
        .map(|(golden, encoded)| format!("== {}.hex\n{encoded}\n", golden.file))
        .collect();
    assert!(wrong.is_empty(), "these files should be:\n{}", wrong.concat());
    for golden in all {
        let digits: String = golden.hex.split_whitespace().collect();
        let bytes = hex.decode(digits.as_bytes()).expect("hex digits");
        assert_eq!(&decode(&bytes).expect(golden.file), &golden.value, "{}", golden.file);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{} cut to {length} bytes", golden.file);
        }
    }
}
