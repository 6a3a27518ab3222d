//! The store on a local disk: the log is the truth, the tables are views of it that are saved now
//! and then. What is promised is written at the traits in `roost_hub::storage`; how the files look
//! is in `docs/decisions/0002-log.md` and `0003-tables.md`.

pub mod disk;
mod embedded;
mod log;
mod record;
mod segment;
mod stepped;
mod tables;

use std::io;
use std::ops::Range;

use roost_hub::storage::Position;
use roost_hub::storage::disk::DiskFile;

pub use embedded::{Embedded, OpenError, Options};
pub use stepped::Stepped;

/// Records that were durable once and cannot be read any more. Everything else is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first lost position.
    pub first: Position,
    /// The last lost position. Reading after it works.
    pub last: Position,
    /// Where they were; a copy of a damaged segment is kept beside it as `*.quarantine`.
    pub file: String,
}

/// How many zeros are written at once.
const ZEROS: &[u8] = &[0; 256 * 1024];

/// Writes zeros over a part of a file.
fn write_zeros(file: &dyn DiskFile, part: Range<u64>) -> io::Result<()> {
    let mut offset = part.start;
    while offset < part.end {
        let count = segment::size(part.end - offset).min(ZEROS.len());
        file.write_at(ZEROS.get(..count).unwrap_or_default(), offset)?;
        offset += count as u64;
    }
    Ok(())
}

/// Whether an error says that there is no room: the one kind of error that goes away by itself.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
