//! Archives that are incomplete, or that differ from their own checksums.

use super::*;

#[test]
fn a_cut_archive_leaves_nothing() {
    let tar = Hostile::new().entry(tar::EntryType::Regular, "a", "", &[7; 4_000]).done();
    let zstd = zstd::encode_all(tar.as_slice(), 1).expect("compressed");
    assert!(matches!(unpacked(&tar[..2_000], Limits::default()), Err(UnpackError::Damaged(_))));
    assert!(matches!(unpacked(&zstd[..zstd.len() / 2], Limits::default()), Err(UnpackError::Damaged(_))));
}

/// Returns one archive of each kind with its own checksum, with some content that does not compress.
fn checked_archives() -> [(&'static str, Vec<u8>); 3] {
    let mut noise = vec![0; 20_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let tar = Hostile::new().entry(tar::EntryType::Regular, "a", "", &noise).done();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).expect("compressed");
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    zstd.include_checksum(true).expect("set");
    zstd.write_all(&tar).expect("compressed");
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file("a", zip::write::SimpleFileOptions::default()).expect("added");
    zip.write_all(&noise).expect("written");
    [
        ("gzip", gzip.finish().expect("compressed")),
        ("zstd", zstd.finish().expect("compressed")),
        ("zip", zip.finish().expect("finished").into_inner()),
    ]
}

#[test]
fn an_archive_that_its_own_checksum_contradicts_is_refused() {
    let refused = |archive: &[u8], what: &str| {
        if let Ok(listed) = unpacked_names(archive) {
            panic!("{what} is unpacked: {listed:?}");
        }
    };
    for (kind, archive) in checked_archives() {
        unpacked_names(&archive).unwrap_or_else(|error| panic!("a whole {kind}: {error}"));
        for at in [5_000, 10_000, 15_000] {
            let mut flipped = archive.clone();
            flipped[at..at + 3].iter_mut().for_each(|byte| *byte ^= 0x55);
            refused(&flipped, &format!("{kind} with other bytes at {at}"));
        }
        for cut in [1, 4, 8] {
            refused(&archive[..archive.len() - cut], &format!("{kind} without its last {cut} bytes"));
        }
    }
}

#[test]
fn what_may_follow_an_archive_is_no_damage() {
    let [(_, gzip), ..] = checked_archives();
    let padded = |archive: &[u8]| [archive, &[0; 1_000]].concat();
    unpacked_names(&padded(&gzip)).expect("gzip is padded with zeros on tapes");
    let tar = Hostile::new().file("a").done();
    unpacked_names(&padded(&tar)).expect("and so is tar");
    unpacked_names(&[&gzip[..], b"garbage"].concat()).expect_err("something else is not expected there");
    let mut more = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    more.write_all(&[0; 1_024]).expect("compressed");
    unpacked_names(&[gzip, more.finish().expect("compressed")].concat())
        .expect("members are one after the other");
}

#[test]
fn a_tar_without_its_end_is_cut_unless_a_checksum_says_otherwise() {
    let tar = Hostile::new().file("a").file("b").done();
    let headless = &tar[..tar.len() - 1_024];
    let error = unpacked_names(headless).expect_err("refused");
    assert!(
        matches!(&error, UnpackError::Damaged(cause) if cause.to_string().contains("the mark at a tar's end"))
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(headless).expect("compressed");
    let gzip = gzip.finish().expect("compressed");
    assert_eq!(unpacked_names(&gzip).expect("its checksum is right"), ["a", "b"]);
}

/// Returns the names at the top of the unpacked archive.
fn unpacked_names(archive: &[u8]) -> Result<Vec<String>, UnpackError> {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("archive"), archive).expect("written");
    unpack(&dir.path().join("archive"), &dir.path().join("out"), Limits::default())?;
    let names = fs::read_dir(dir.path().join("out")).expect("listed").flatten();
    let mut names: Vec<_> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
