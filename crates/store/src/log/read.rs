//! Reading: by way of the marks to the right place of the right segment, then record by record.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use roost_hub::storage::disk::DiskFile;
use roost_hub::storage::{Batch, Position, StorageError};

use super::recover::quarantine;
use super::{EmbeddedLog, Segments, lock};
use crate::record::{Found, Kind, Record, decode};
use crate::segment::{Mark, Span, decode_index, index_name, mark_before, read_file, scan, segment_name};

/// Sealed segments that are held open with their indexes.
const LOADED_MAX: usize = 16;
/// The least and the most that is read from a file at once.
const READ_BYTES_MIN: usize = 32 * 1024;
const READ_BYTES_MAX: usize = 1024 * 1024;

/// A sealed segment, ready to be read.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) first: u64,
    file: Arc<dyn DiskFile>,
    marks: Vec<Mark>,
}

/// A segment, as far as it is durable.
#[derive(Clone, Copy)]
struct Part {
    span: Span,
    is_active: bool,
}

/// Where to look for a position.
enum Place {
    /// Here.
    Segment(Part),
    /// It was lost, as everything up to this position.
    Damaged(Span, String),
    /// Before the first segment, which begins here.
    Trimmed(u64),
    /// Nowhere: nothing that is durable has this position.
    Nowhere,
}

impl Segments {
    fn place(&self, position: u64) -> Place {
        let damaged = self.damaged.iter().find(|range| (range.first.0..=range.last.0).contains(&position));
        if let Some(damage) = damaged {
            let span = Span { first: damage.first.0, last: damage.last.0 };
            return Place::Damaged(span, damage.file.clone());
        }
        let active = self.active.as_ref().map(|active| Span { first: active.first, last: active.last });
        if let Some(span) = active.filter(|span| span.first <= position) {
            let is_there = position <= span.last;
            return if is_there { Place::Segment(Part { span, is_active: true }) } else { Place::Nowhere };
        }
        match self.sealed.range(..=position).next_back() {
            Some((first, last)) if position <= *last => {
                Place::Segment(Part { span: Span { first: *first, last: *last }, is_active: false })
            }
            Some(_) => Place::Nowhere,
            None => {
                let first = self.sealed.keys().next().copied().or(active.map(|span| span.first));
                first.map_or(Place::Nowhere, Place::Trimmed)
            }
        }
    }
}

fn damaged(span: Span, file: &str) -> StorageError {
    StorageError::Damaged(format!("positions {} to {} of {file} are lost", span.first, span.last).into())
}

fn unreadable(error: &io::Error) -> StorageError {
    StorageError::Damaged(format!("reading the log: {error}").into())
}

impl EmbeddedLog {
    /// The durable records of one kind after a position.
    pub(crate) fn read_kind_after(
        &self,
        kind: Kind,
        after: Position,
        bytes_max: usize,
    ) -> Result<Batch, StorageError> {
        let durable = self.durable();
        let mut batch = Batch { records: Vec::new(), next: after };
        let mut room = bytes_max.max(1);
        while batch.next.0 < durable && room > 0 {
            let wanted = batch.next.0 + 1;
            let place = lock(&self.segments).place(wanted);
            match place {
                Place::Segment(part) => {
                    let before = batch.next;
                    let walked = self.walk(part, wanted, room, |record| {
                        let position = Position(record.head.position);
                        if record.head.kind == kind {
                            batch.records.push((position, Bytes::copy_from_slice(record.payload)));
                            room = room.saturating_sub(record.payload.len().max(1));
                        }
                        batch.next = position;
                        room > 0
                    });
                    // Trimmed in the meantime: the next look tells.
                    let is_gone = || lock(&self.segments).sealed.range(..=wanted).next_back().is_none();
                    match walked {
                        Ok(()) => {}
                        Err(_) if batch.next > before || !part.is_active && is_gone() => {}
                        Err(error) => return Err(error),
                    }
                }
                Place::Damaged(span, file) if batch.next == after => return Err(damaged(span, &file)),
                Place::Damaged(..) => break,
                Place::Trimmed(first) => batch.next = Position(first - 1),
                Place::Nowhere => {
                    let text = format!("position {wanted} is in no segment");
                    return Err(StorageError::Damaged(text.into()));
                }
            }
        }
        Ok(batch)
    }

    /// The message at a position, durable or not.
    pub(crate) fn read_one(&self, position: u64) -> Result<Option<Bytes>, StorageError> {
        if position > self.durable()
            && let Some(found) = lock(&self.queue).find(position, self.shape)
        {
            return Ok(found);
        }
        let place = lock(&self.segments).place(position);
        let part = match place {
            Place::Segment(part) => part,
            Place::Damaged(span, file) => return Err(damaged(span, &file)),
            Place::Trimmed(_) | Place::Nowhere => return Ok(None),
        };
        let mut found = None;
        self.walk(part, position, 1, |record| {
            let is_message = record.head.kind == Kind::Message;
            found = is_message.then(|| Bytes::copy_from_slice(record.payload));
            false
        })?;
        Ok(found)
    }

    /// Shows the records of a segment from position `from` on, until the answer is no.
    fn walk(
        &self,
        part: Part,
        from: u64,
        bytes: usize,
        mut show: impl FnMut(Record<'_>) -> bool,
    ) -> Result<(), StorageError> {
        let (file, start) = self.place_in_file(part, from)?;
        let window = bytes.saturating_mul(2).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        let mut buffer = vec![0; window];
        let (mut offset, mut expected) = (start.offset, start.position);
        loop {
            let count = file.read_at(&mut buffer, offset).map_err(|error| unreadable(&error))?;
            let mut rest = buffer.get(..count).unwrap_or_default();
            let needed = loop {
                match decode(rest, self.shape.salt, self.shape.payload_max()) {
                    Found::Record(record) if record.head.position == expected => {
                        let is_wanted = expected >= from;
                        if is_wanted && !show(record) || expected >= part.span.last {
                            return Ok(());
                        }
                        expected += 1;
                        offset += record.length() as u64;
                        rest = rest.get(record.length()..).unwrap_or_default();
                    }
                    Found::Short(length) if count == buffer.len() => break length,
                    Found::Nothing if count == buffer.len() && rest.len() < crate::record::RECORD_HEADER => {
                        break crate::record::RECORD_HEADER;
                    }
                    _ => return Err(self.inspect(part, expected)),
                }
            };
            if needed > buffer.len() {
                buffer.resize(needed, 0);
            }
        }
    }

    /// The file of a segment, and the nearest mark before a position.
    fn place_in_file(
        &self,
        Part { span, is_active }: Part,
        position: u64,
    ) -> Result<(Arc<dyn DiskFile>, Mark), StorageError> {
        let lost = || damaged(Span { first: position, last: position }, &segment_name(span.first));
        if is_active {
            let segments = lock(&self.segments);
            if let Some(active) = segments.active.as_ref().filter(|active| active.first == span.first) {
                let mark = mark_before(&active.marks, position).ok_or_else(lost)?;
                return Ok((Arc::clone(&active.file), mark));
            }
        }
        let held = lock(&self.loaded).iter().find(|loaded| loaded.first == span.first).cloned();
        let loaded = match held {
            Some(loaded) => loaded,
            None => self.load(span)?,
        };
        let mark = mark_before(&loaded.marks, position).ok_or_else(lost)?;
        Ok((Arc::clone(&loaded.file), mark))
    }

    fn load(&self, span: Span) -> Result<Arc<Loaded>, StorageError> {
        let file = self.disk.open(&segment_name(span.first)).map_err(|error| unreadable(&error))?;
        let index = self.disk.open(&index_name(span)).and_then(|index| read_file(&*index));
        let marks = match index.ok().and_then(|bytes| decode_index(&bytes)) {
            Some(marks) => marks,
            None => self.scan_sealed(span, &*file)?,
        };
        let loaded = Arc::new(Loaded { first: span.first, file, marks });
        let mut all = lock(&self.loaded);
        all.push_front(Arc::clone(&loaded));
        all.truncate(LOADED_MAX);
        Ok(loaded)
    }

    /// Walks through a whole segment: gives its marks and notes what is damaged.
    fn scan_sealed(&self, span: Span, file: &dyn DiskFile) -> Result<Vec<Mark>, StorageError> {
        let bytes = read_file(file).map_err(|error| unreadable(&error))?;
        let scan = scan(&bytes, self.shape.salt, span.first, Some(span.last + 1));
        if scan.damaged.is_empty() {
            self.keep_index(span, scan.marks.clone());
        } else {
            quarantine(&*self.disk, span.first, &bytes);
        }
        let mut segments = lock(&self.segments);
        for damaged in scan.damaged {
            segments.add_damage(damaged, &segment_name(span.first));
        }
        Ok(scan.marks)
    }

    /// A record is bad: finds out how far the damage goes, keeps a copy of the evidence and gives
    /// the error. Where the segment is sound after all, there was damage to what said where to look.
    fn inspect(&self, Part { span, is_active }: Part, position: u64) -> StorageError {
        let file = match self.disk.open(&segment_name(span.first)) {
            Ok(file) => file,
            Err(error) => return unreadable(&error),
        };
        match self.scan_sealed(span, &*file) {
            Err(error) => error,
            Ok(marks) => {
                if is_active {
                    self.replace_marks(span, marks);
                } else {
                    lock(&self.loaded).retain(|loaded| loaded.first != span.first);
                    // It would lead here again.
                    drop(self.disk.remove(&index_name(span)));
                }
                let place = lock(&self.segments).place(position);
                match place {
                    Place::Damaged(span, file) => damaged(span, &file),
                    _ => damaged(Span { first: position, last: position }, &segment_name(span.first)),
                }
            }
        }
    }

    /// Puts better marks in the place of those of the records up to the end of `span`.
    fn replace_marks(&self, span: Span, marks: Vec<Mark>) {
        let mut segments = lock(&self.segments);
        if let Some(active) = segments.active.as_mut().filter(|active| active.first == span.first) {
            let newer = active.marks.iter().filter(|mark| mark.position > span.last).copied();
            active.marks = marks.into_iter().chain(newer).collect();
        }
    }
}
