//! Finding out what is in the log's directory when it is opened. Only the last segment, and full
//! ones without an index, are read. A torn tail is cut; nothing else is ever removed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use roost_hub::storage::disk::{Disk, DiskFile};

use super::ballast::Ballast;
use super::{Active, Segments, Shape};
use crate::segment::{
    LOG_DIRECTORY, SEGMENT_HEADER, Scan, Span, encode_index, index_name, parse_index_name,
    parse_segment_name, quarantine_name, read_file, salt_in_header, scan, segment_header, segment_name,
};
use crate::write_zeros;

/// Where the log goes on.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) segments: Segments,
    /// The position of the next record.
    pub(crate) next: u64,
    /// Where it goes in the active segment, if there is one.
    pub(crate) end: usize,
    pub(crate) ballast: Arc<Ballast>,
}

impl Recovered {
    /// The position of the oldest record that is still there, or is to come.
    pub(crate) fn first(&self) -> u64 {
        let active = self.segments.active.as_ref().map(|active| active.first);
        self.segments.sealed.keys().next().copied().or(active).unwrap_or(self.next)
    }

    /// The tables know of later positions than the log has: they must not be given out again.
    pub(crate) fn skip_to(&mut self, next: u64) {
        if next <= self.next {
            return;
        }
        self.segments.add_damage(Span { first: self.next, last: next - 1 }, LOG_DIRECTORY);
        if let Some(active) = self.segments.active.take() {
            self.segments.sealed.insert(active.first, active.last);
        }
        self.next = next;
    }
}

/// The salt from the header of any segment, if there is one.
pub(crate) fn salt_of_segments(disk: &dyn Disk) -> io::Result<Option<u32>> {
    for name in disk.list(LOG_DIRECTORY)?.iter().filter(|name| parse_segment_name(name).is_some()) {
        let mut header = [0; SEGMENT_HEADER];
        disk.open(&format!("{LOG_DIRECTORY}/{name}"))?.read_at(&mut header, 0)?;
        if let Some(salt) = salt_in_header(&header) {
            return Ok(Some(salt));
        }
    }
    Ok(None)
}

/// Reads the log's directory.
pub(crate) fn recover(disk: &dyn Disk, shape: Shape) -> io::Result<Recovered> {
    let mut firsts = Vec::new();
    let mut indexed = BTreeMap::new();
    for name in disk.list(LOG_DIRECTORY)? {
        if let Some(first) = parse_segment_name(&name).filter(|first| *first > 0) {
            firsts.push(first);
        } else if let Some(span) = parse_index_name(&name) {
            indexed.insert(span.first, span.last);
        } else if name.starts_with("spare-") {
            disk.remove(&format!("{LOG_DIRECTORY}/{name}"))?;
        }
    }
    firsts.sort_unstable();
    let mut recovered = Recovered { segments: Segments::default(), next: 1, end: 0, ballast: Arc::default() };
    let nexts = firsts.iter().skip(1).copied().map(Some).chain([None]);
    for (first, next) in firsts.iter().copied().zip(nexts) {
        match (next, indexed.get(&first)) {
            (Some(next), Some(last)) if *last < next => {
                seal(&mut recovered, Span { first, last: *last }, next)
            }
            (Some(next), _) => recover_sealed(disk, shape, &mut recovered, (first, next))?,
            (None, _) => recover_last(disk, shape, &mut recovered, first)?,
        }
    }
    // What is read now must still be there after the next power cut.
    disk.sync_directory(LOG_DIRECTORY)?;
    Ok(recovered)
}

fn seal(recovered: &mut Recovered, span: Span, next: u64) {
    recovered.segments.sealed.insert(span.first, span.last);
    if span.last + 1 < next {
        recovered.segments.add_damage(Span { first: span.last + 1, last: next - 1 }, LOG_DIRECTORY);
    }
}

fn recover_sealed(
    disk: &dyn Disk,
    shape: Shape,
    recovered: &mut Recovered,
    (first, next): (u64, u64),
) -> io::Result<()> {
    let bytes = read_file(&*disk.open(&segment_name(first))?)?;
    let scan = scan(&bytes, shape.salt, first, Some(next));
    let span = Span { first, last: scan.last };
    if scan.damaged.is_empty() {
        let index = disk.create(&index_name(span))?;
        if let Err(error) = index.write_at(&encode_index(&scan.marks), 0) {
            tracing::debug!(%error, "an index was not written; it is made anew when it is needed");
        }
    } else {
        note_damage(disk, recovered, &scan, (first, &bytes));
    }
    recovered.segments.sealed.insert(span.first, span.last);
    Ok(())
}

fn note_damage(disk: &dyn Disk, recovered: &mut Recovered, scan: &Scan, (first, bytes): (u64, &[u8])) {
    quarantine(disk, first, bytes);
    for span in &scan.damaged {
        recovered.segments.add_damage(*span, &segment_name(first));
    }
}

fn recover_last(disk: &dyn Disk, shape: Shape, recovered: &mut Recovered, first: u64) -> io::Result<()> {
    let file = disk.open(&segment_name(first))?;
    let bytes = read_file(&*file)?;
    let scan = scan(&bytes, shape.salt, first, None);
    recovered.next = scan.last + 1;
    if !scan.damaged.is_empty() {
        note_damage(disk, recovered, &scan, (first, &bytes));
        // Nothing more is written into a damaged segment.
        recovered.segments.sealed.insert(first, scan.last);
        return file.sync();
    }
    if scan.torn > 0 {
        tracing::warn!(
            bytes = scan.torn,
            after = scan.last,
            "the log ended in a record that was not whole; nobody was told that it is durable; it is cut"
        );
        // Zeros, so that nothing of it can ever be taken for a record.
        write_zeros(&*file, scan.end as u64..bytes.len() as u64)?;
    }
    if salt_in_header(&bytes).is_none() {
        file.write_at(&segment_header(first, shape.salt), 0)?;
    }
    let active = Active { first, file: Arc::clone(&file), marks: scan.marks, last: scan.last };
    recovered.segments.active = Some(active);
    recovered.end = scan.end;
    if bytes.len() < shape.segment_bytes {
        reserve(&*file, shape, recovered, bytes.len());
    }
    // Found does not mean synced: after a kill it may be in the page cache only.
    file.sync()
}

/// The last segment is shorter than segments are now: makes it longer, or goes on in another one.
fn reserve(file: &dyn DiskFile, shape: Shape, recovered: &mut Recovered, length: usize) {
    if let Err(error) = file.allocate(shape.segment_bytes as u64) {
        tracing::debug!(%error, length, "the last segment stays as short as it is");
        // The end of the segment: the next record takes a new one.
        recovered.end = shape.segment_bytes;
    }
}

/// Keeps a copy of a damaged segment, which trimming does not remove.
pub(crate) fn quarantine(disk: &dyn Disk, first: u64, bytes: &[u8]) {
    let name = quarantine_name(first);
    let copied = match disk.open(&name) {
        Ok(_there_already) => return,
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk
            .create(&name)
            .and_then(|file| file.write_at(bytes, 0))
            .and_then(|()| disk.sync_directory(LOG_DIRECTORY)),
        Err(error) => Err(error),
    };
    match copied {
        Ok(()) => tracing::error!(segment = first, copy = name, "a segment of the log is damaged"),
        Err(error) => {
            tracing::error!(segment = first, %error, "a segment of the log is damaged; it was not copied")
        }
    }
}
