//! A segment of the log: a file of records, named by the position of its first one, and beside a
//! full segment an index file that can be made anew at any time.

use std::io;

use roost_hub::storage::disk::DiskFile;

use crate::record::{Found, Record, decode};

/// Where the log lives.
pub(crate) const LOG_DIRECTORY: &str = "log";
/// Bytes before the first record.
pub(crate) const SEGMENT_HEADER: usize = 64;
/// The version of everything under the data directory.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// A mark is set at the first record and then about every so many bytes.
pub(crate) const MARK_SPACING: u64 = 16 * 1024;

const SEGMENT_MAGIC: &[u8; 8] = b"ROOSTLOG";
const INDEX_MAGIC: &[u8; 8] = b"ROOSTIDX";

/// Where in a segment a record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) position: u64,
    pub(crate) offset: u64,
}

/// The first and the last position of some records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

pub(crate) fn segment_name(first: u64) -> String {
    format!("{LOG_DIRECTORY}/{first:020}.seg")
}

pub(crate) fn index_name(span: Span) -> String {
    format!("{LOG_DIRECTORY}/{:020}-{:020}.index", span.first, span.last)
}

pub(crate) fn quarantine_name(first: u64) -> String {
    format!("{LOG_DIRECTORY}/{first:020}.quarantine")
}

/// The first position of the segment in the file of this name (without directory).
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    name.strip_suffix(".seg")?.parse().ok()
}

pub(crate) fn parse_index_name(name: &str) -> Option<Span> {
    let (first, last) = name.strip_suffix(".index")?.split_once('-')?;
    Some(Span { first: first.parse().ok()?, last: last.parse().ok()? })
}

/// The first bytes of a segment: magic, version, salt, first position, checksum.
pub(crate) fn segment_header(first: u64, salt: u32) -> [u8; SEGMENT_HEADER] {
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
    bytes.extend_from_slice(SEGMENT_MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&salt.to_le_bytes());
    bytes.extend_from_slice(&first.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    let mut header = [0; SEGMENT_HEADER];
    for (to, from) in header.iter_mut().zip(bytes) {
        *to = from;
    }
    header
}

/// The salt in a segment's header, if the header is whole.
pub(crate) fn salt_in_header(bytes: &[u8]) -> Option<u32> {
    let (covered, rest) = bytes.split_at_checked(24)?;
    let crc = u32::from_le_bytes(*rest.first_chunk()?);
    let salt = u32::from_le_bytes(*covered.get(12..)?.first_chunk()?);
    (covered.starts_with(SEGMENT_MAGIC) && crc == crc32c::crc32c(covered)).then_some(salt)
}

/// The bytes of an index file.
pub(crate) fn encode_index(marks: &[Mark]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + marks.len() * 16);
    bytes.extend_from_slice(INDEX_MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    for mark in marks {
        bytes.extend_from_slice(&mark.position.to_le_bytes());
        bytes.extend_from_slice(&mark.offset.to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads an index file; `None` when it is not whole.
pub(crate) fn decode_index(bytes: &[u8]) -> Option<Vec<Mark>> {
    let (covered, crc) = bytes.split_last_chunk::<4>()?;
    let rest = covered.strip_prefix(INDEX_MAGIC)?.strip_prefix(&FORMAT_VERSION.to_le_bytes())?;
    if u32::from_le_bytes(*crc) != crc32c::crc32c(covered) {
        return None;
    }
    let mut marks = Vec::with_capacity(rest.len() / 16);
    let mut rest = rest;
    while let Some((position, after)) = rest.split_first_chunk::<8>() {
        let (offset, after) = after.split_first_chunk::<8>()?;
        marks.push(Mark { position: u64::from_le_bytes(*position), offset: u64::from_le_bytes(*offset) });
        rest = after;
    }
    Some(marks)
}

/// Adds a mark for a record at `offset` where one is due.
pub(crate) fn mark(marks: &mut Vec<Mark>, position: u64, offset: u64) {
    if marks.last().is_none_or(|last| offset >= last.offset + MARK_SPACING) {
        marks.push(Mark { position, offset });
    }
}

/// The place to begin looking for `position`.
pub(crate) fn mark_before(marks: &[Mark], position: u64) -> Option<Mark> {
    let after = marks.partition_point(|mark| mark.position <= position);
    marks.get(after.checked_sub(1)?).copied()
}

/// Reads a whole file.
pub(crate) fn read_file(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size(file.length()?)];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// A file offset as a length in memory.
pub(crate) fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// What a walk through a whole segment found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) marks: Vec<Mark>,
    /// The last whole record's position; the one before the first when there is none.
    pub(crate) last: u64,
    /// The offset behind the last whole record.
    pub(crate) end: usize,
    /// Positions that were once on disk and cannot be read any more.
    pub(crate) damaged: Vec<Span>,
    /// How many bytes behind `end` are not zero: the rest of a batch that nobody was told about.
    pub(crate) torn: usize,
}

/// Walks through the bytes of the segment that begins with position `first`. `next` is the first
/// position that was certainly written elsewhere: everything before it must be here. Without it, a
/// bad record is damage only if a later record proves that it was once on disk.
pub(crate) fn scan(bytes: &[u8], salt: u32, first: u64, next: Option<u64>) -> Scan {
    let mut scan = Scan { last: first - 1, end: SEGMENT_HEADER, ..Scan::default() };
    let found_at =
        |offset: usize| bytes.get(offset..).map_or(Found::Nothing, |rest| decode(rest, salt, rest.len()));
    loop {
        let expected = scan.last + 1;
        if next.is_some_and(|next| expected >= next) {
            return scan;
        }
        match found_at(scan.end) {
            Found::Record(record) if record.head.position == expected => {
                mark(&mut scan.marks, expected, scan.end as u64);
                scan.last = expected;
                scan.end += record.length();
                continue;
            }
            _ => {}
        }
        let behind = bytes.get(scan.end..).unwrap_or_default();
        if next.is_none() && is_zero(behind) {
            return scan;
        }
        let mut later = Later { bytes, salt, offset: scan.end + 1, above: expected };
        let resume = later.next().filter(|(_, record)| next.is_none_or(|next| record.head.position < next));
        let proven = next.is_some()
            || resume.is_some_and(|(_, record)| record.head.batch > expected)
            || later.any(|(_, record)| record.head.batch > expected);
        match resume {
            Some((offset, record)) if proven => {
                scan.damaged.push(Span { first: expected, last: record.head.position - 1 });
                // A mark right here, so that nobody has to walk across the damage.
                scan.marks.push(Mark { position: record.head.position, offset: offset as u64 });
                scan.last = record.head.position;
                scan.end = offset + record.length();
            }
            _ => {
                if let Some(next) = next {
                    scan.damaged.push(Span { first: expected, last: next - 1 });
                } else {
                    scan.torn = behind.iter().filter(|byte| **byte != 0).count();
                }
                return scan;
            }
        }
    }
}

/// Whether nothing was ever written there. Most of a young segment is so.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.starts_with(chunk))
}

/// Where a record has its position.
fn position_at(bytes: &[u8]) -> Option<u64> {
    bytes.get(8..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Every whole record of a position above `above` from `offset` on, wherever it begins.
struct Later<'a> {
    bytes: &'a [u8],
    salt: u32,
    offset: usize,
    above: u64,
}

impl<'a> Iterator for Later<'a> {
    type Item = (usize, Record<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let bound = self.above.saturating_add(self.bytes.len() as u64);
        while let Some(rest) = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty()) {
            let offset = self.offset;
            // Zeros are most of what there is to look through.
            let zeros = rest.iter().take_while(|byte| **byte == 0).count();
            // The position rules out nearly every place without a checksum.
            if position_at(rest).is_some_and(|position| position > self.above && position < bound)
                && let Found::Record(record) = decode(rest, self.salt, rest.len())
            {
                self.offset += record.length();
                return Some((offset, record));
            }
            // A record has at most 15 zeros in a row before its kind byte.
            self.offset += zeros.saturating_sub(crate::record::RECORD_HEADER).max(1);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Head, Kind, encode};

    const SALT: u32 = 77;

    /// A segment that begins at position 1 with batches of these numbers of records.
    fn segment(batches: &[u64]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = segment_header(1, SALT).to_vec();
        let (mut position, mut offsets) = (1, Vec::new());
        for count in batches {
            let batch = position;
            for _ in 0..*count {
                offsets.push(bytes.len());
                encode(&mut bytes, SALT, Head { position, batch, kind: Kind::Message }, &[0xab; 30]);
                position += 1;
            }
        }
        bytes.resize(bytes.len() + 4096, 0);
        (bytes, offsets)
    }

    #[test]
    fn a_whole_segment_is_read_to_its_end() {
        let (bytes, _) = segment(&[2, 3]);
        let scan = scan(&bytes, SALT, 1, None);
        assert_eq!((scan.last, scan.end, scan.torn), (5, bytes.len() - 4096, 0));
        assert!(scan.damaged.is_empty());
    }

    #[test]
    fn a_bad_record_of_the_last_batch_is_a_torn_tail() {
        let (mut bytes, offsets) = segment(&[2, 3]);
        bytes[offsets[2] + 25] ^= 1;
        let scan = scan(&bytes, SALT, 1, None);
        assert_eq!((scan.last, scan.end), (2, offsets[2]));
        assert!(scan.torn > 0 && scan.damaged.is_empty());
    }

    #[test]
    fn a_bad_record_before_the_last_batch_is_damage_and_the_rest_is_kept() {
        let (mut bytes, offsets) = segment(&[2, 2, 1]);
        bytes[offsets[1]..offsets[3]].fill(0);
        let scan = scan(&bytes, SALT, 1, None);
        assert_eq!((scan.last, scan.damaged), (5, vec![Span { first: 2, last: 3 }]));
    }

    #[test]
    fn nothing_is_a_torn_tail_where_another_segment_follows() {
        let (mut bytes, offsets) = segment(&[2, 3]);
        bytes[offsets[4] + 3] ^= 1;
        assert_eq!(scan(&bytes, SALT, 1, Some(6)).damaged, [Span { first: 5, last: 5 }]);
        bytes[0..offsets[4]].fill(0);
        assert_eq!(scan(&bytes, SALT, 1, Some(6)).damaged, [Span { first: 1, last: 5 }]);
    }

    #[test]
    fn an_index_comes_back_or_is_refused() {
        let marks = [Mark { position: 1, offset: 64 }, Mark { position: 90, offset: 20_000 }];
        let mut bytes = encode_index(&marks);
        assert_eq!(decode_index(&bytes).unwrap(), marks);
        bytes[20] ^= 1;
        assert_eq!(decode_index(&bytes), None);
        assert_eq!(decode_index(&[]), None);
    }
}
