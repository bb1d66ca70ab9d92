//! Reads gzip to the end, and verifies the checksum of each member.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

/// The first byte of each member of a gzip file.
const MAGIC: u8 = 0x1f;

/// The content of all members in sequence. Zeros after the last one are padding,
/// as for gzip itself; anything else there is damage.
pub(super) struct Members<R> {
    now: Now<BufReader<R>>,
}

enum Now<R> {
    Inside(Box<GzDecoder<R>>),
    Between(R),
    /// A read failed; all later reads fail, too.
    Failed,
}

impl<R: Read> Members<R> {
    pub(super) fn new(archive: R) -> Members<R> {
        Members { now: Now::Inside(Box::new(GzDecoder::new(BufReader::new(archive)))) }
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.now, Now::Failed) {
                Now::Inside(mut decoder) => match decoder.read(buffer)? {
                    0 if !buffer.is_empty() => self.now = Now::Between(decoder.into_inner()),
                    read => {
                        self.now = Now::Inside(decoder);
                        return Ok(read);
                    }
                },
                Now::Between(mut archive) => match archive.fill_buf()?.first() {
                    None => {
                        self.now = Now::Between(archive);
                        return Ok(0);
                    }
                    Some(&MAGIC) => self.now = Now::Inside(Box::new(GzDecoder::new(archive))),
                    Some(0) => {
                        archive.consume(1);
                        self.now = Now::Between(archive);
                    }
                    Some(_) => return Err(io::Error::other("something follows the end of the gzip data")),
                },
                Now::Failed => return Err(io::Error::other("the gzip data is damaged")),
            }
        }
    }
}
