//! Compares a file on the host with the file that would replace it.

use std::fs::{self, Metadata};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::regular_file;

/// Returns true if both are files with equal content, or links with equal targets.
pub(super) fn is_same(one: &Path, other: &Path, of_one: &Metadata, of_other: &Metadata) -> bool {
    if of_one.is_symlink() && of_other.is_symlink() {
        return fs::read_link(one).is_ok_and(|target| fs::read_link(other).is_ok_and(|same| same == target));
    }
    of_one.is_file()
        && of_other.is_file()
        && of_one.len() == of_other.len()
        && have_equal_content(one, other).unwrap_or(false)
}

fn have_equal_content(one: &Path, other: &Path) -> io::Result<bool> {
    let mut one = BufReader::new(regular_file::open_no_link(one)?);
    let mut other = BufReader::new(regular_file::open_no_link(other)?);
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let common = left.len().min(right.len());
        if common == 0 {
            return Ok(left.len() == right.len());
        }
        if left[..common] != right[..common] {
            return Ok(false);
        }
        one.consume(common);
        other.consume(common);
    }
}
