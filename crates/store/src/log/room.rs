//! The room keeper: makes the next segments before they are needed, gives up the ballast when the
//! disk is full, tries again by itself, writes the indexes of full segments and removes trimmed ones.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use roost_hub::storage::StorageError;
use roost_hub::storage::disk::DiskFile;

use super::ballast::Ballast;
use super::{EmbeddedLog, lock};
use crate::segment::{LOG_DIRECTORY, Mark, Span, encode_index, index_name, segment_name};
use crate::{is_full, write_zeros};

/// Segments to have ready. Two, so that a burst does not catch up with the one that is being made.
const SPARES: usize = 2;
/// Zeros written at a time: the writer waits for no more than this.
const ZEROS_STEP: u64 = 1024 * 1024;
/// How long to wait before trying again to find room.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// A segment without a position.
#[derive(Clone, Debug)]
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Zeros are written up to here; all of them are synced when this is the segment's length.
    zeroed: u64,
    /// The room keeper is writing zeros just now.
    is_busy: bool,
}

/// The work of the room keeper.
#[derive(Debug)]
pub(crate) struct Room {
    spares: VecDeque<Spare>,
    count: u64,
    indexes: Vec<(Span, Vec<Mark>)>,
    /// Positions before this are wanted by no reader.
    trimmed: u64,
    /// From this position on, what no reader wants is kept while there is room.
    kept: u64,
    /// Positions up to this are in the saved tables.
    tabled: u64,
    /// Positions behind this are needed by a view of which a newer state is not saved yet.
    viewed: u64,
    pub(crate) is_full: bool,
    is_closing: bool,
    pub(crate) ballast: Arc<Ballast>,
}

impl Room {
    pub(crate) fn new(ballast: Arc<Ballast>) -> Self {
        Self {
            spares: VecDeque::new(),
            count: 0,
            indexes: Vec::new(),
            trimmed: 0,
            kept: u64::MAX,
            tabled: 0,
            viewed: u64::MAX,
            is_full: false,
            is_closing: false,
            ballast,
        }
    }
}

impl Room {
    /// Segments before this position can go, of those that are needed no more.
    fn removable(&self) -> u64 {
        self.unneeded().min(self.kept)
    }

    /// Segments before this position are needed by nobody.
    fn unneeded(&self) -> u64 {
        self.trimmed.min(self.tabled.min(self.viewed).saturating_add(1))
    }
}

/// Whether a full disk was left alone for a while: only then is it worth another attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Fresh,
    Waited,
}

enum Work {
    Index(Span, Vec<Mark>),
    Remove(Vec<Span>),
    Spare(String),
    Zeros(Spare),
}

impl EmbeddedLog {
    /// Works until the log is closed.
    pub(crate) fn run_room_keeper(&self) {
        while let Some(work) = self.next_work() {
            self.do_work(work);
        }
    }

    /// Does one piece of the room keeper's work, if there is any: for who has no thread for it.
    pub(crate) fn keep_room(&self) {
        let work = self.find_work(&mut lock(&self.room), Patience::Waited);
        if let Some(work) = work {
            self.do_work(work);
        }
    }

    fn do_work(&self, work: Work) {
        match work {
            Work::Index(span, marks) => self.write_index(span, &marks),
            Work::Remove(spans) => self.remove_segments(&spans),
            Work::Spare(name) => self.make_spare(name),
            Work::Zeros(spare) => self.write_zeros(&spare),
        }
    }

    fn find_work(&self, room: &mut Room, patience: Patience) -> Option<Work> {
        if let Some((span, marks)) = room.indexes.pop() {
            return Some(Work::Index(span, marks));
        }
        if room.is_closing {
            return None;
        }
        let spans = self.trimmed_segments(room.removable());
        if !spans.is_empty() {
            return Some(Work::Remove(spans));
        }
        if room.is_full
            && let Some(oldest) = self.trimmed_segments(room.unneeded()).first()
        {
            // Kept for people only; what comes in has the better right to the room.
            return Some(Work::Remove(vec![*oldest]));
        }
        if room.spares.len() < SPARES && (patience == Patience::Waited || !room.is_full) {
            room.count += 1;
            return Some(Work::Spare(format!("{LOG_DIRECTORY}/spare-{}", room.count)));
        }
        let length = self.shape.segment_bytes as u64;
        let spare = room.spares.iter_mut().find(|spare| spare.zeroed < length)?;
        spare.is_busy = true;
        Some(Work::Zeros(spare.clone()))
    }

    fn next_work(&self) -> Option<Work> {
        let mut room = lock(&self.room);
        let mut patience = Patience::Fresh;
        loop {
            if let Some(work) = self.find_work(&mut room, patience) {
                return Some(work);
            }
            if room.is_closing {
                return None;
            }
            let changed = &self.room_changed;
            room = if room.is_full {
                let (room, timeout) =
                    changed.wait_timeout(room, RETRY_INTERVAL).unwrap_or_else(PoisonError::into_inner);
                if timeout.timed_out() {
                    patience = Patience::Waited;
                }
                room
            } else {
                changed.wait(room).unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Makes the first spare before anybody appends, where the last segment has little room; where
    /// the disk has none, the log opens all the same.
    pub(crate) fn prepare_room(&self) {
        if lock(&self.queue).needs_spare(self.shape) {
            self.make_spare(format!("{LOG_DIRECTORY}/spare-0"));
        }
        let ballast = self.ballast();
        if let Err(error) = ballast.restore(&*self.disk, self.shape.ballast_bytes) {
            tracing::warn!(%error, "there is no room for the ballast file");
        }
    }

    fn make_spare(&self, name: String) {
        let length = self.shape.segment_bytes;
        let made = self.disk.create(&name).and_then(|file| {
            file.allocate(length as u64)?;
            Ok(file)
        });
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                // It may not even have been made.
                drop(self.disk.remove(&name));
                let mut room = lock(&self.room);
                if !std::mem::replace(&mut room.is_full, true) {
                    tracing::warn!(%error, "there is no room for another segment of the log");
                }
                return;
            }
        };
        let mut room = lock(&self.room);
        if std::mem::take(&mut room.is_full) {
            tracing::warn!("there is room for the log again");
        }
        room.spares.push_back(Spare { name, file, zeroed: 0, is_busy: false });
        let ballast = Arc::clone(&room.ballast);
        drop(room);
        // The room is reserved: appenders need not wait for the zeros.
        lock(&self.queue).spares += 1;
        self.room_changed.notify_all();
        if ballast.restore(&*self.disk, self.shape.ballast_bytes).is_err() {
            tracing::debug!("there is no room for the ballast file yet");
        }
    }

    /// Writes some zeros ahead, or syncs them at the end: the syncs of records then take half the
    /// time.
    fn write_zeros(&self, spare: &Spare) {
        let length = self.shape.segment_bytes as u64;
        let end = length.min(spare.zeroed + ZEROS_STEP);
        let result = write_zeros(&*spare.file, spare.zeroed..end)
            .and_then(|()| if end == length { spare.file.sync() } else { Ok(()) });
        // Where a reservation does not hold, the segment is just slower.
        if let Err(error) = result.or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) }) {
            self.fail(StorageError::Broken(format!("preparing a segment: {error}").into()));
        }
        let mut room = lock(&self.room);
        for known in room.spares.iter_mut().filter(|known| known.name == spare.name) {
            known.zeroed = end;
            known.is_busy = false;
        }
        drop(room);
        self.room_changed.notify_all();
    }

    /// The next spare, with as many zeros as there are.
    pub(crate) fn take_spare(&self) -> io::Result<Spare> {
        let mut room = lock(&self.room);
        loop {
            if let Some(spare) = room.spares.pop_front_if(|spare| !spare.is_busy) {
                drop(room);
                self.room_changed.notify_all();
                return Ok(spare);
            }
            if lock(&self.queue).broken.is_some() {
                return Err(io::Error::other("no segment could be prepared"));
            }
            room = self.room_changed.wait(room).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has an index written, which a later start reads in place of the whole segment.
    pub(crate) fn keep_index(&self, span: Span, marks: Vec<Mark>) {
        let damaged = lock(&self.segments)
            .damaged
            .iter()
            .any(|damage| damage.last.0 >= span.first && damage.first.0 <= span.last);
        // Without an index the next start looks at the damage again.
        if !damaged {
            lock(&self.room).indexes.push((span, marks));
            self.room_changed.notify_all();
        }
    }

    fn write_index(&self, span: Span, marks: &[Mark]) {
        let written =
            self.disk.create(&index_name(span)).and_then(|file| file.write_at(&encode_index(marks), 0));
        if let Err(error) = written {
            tracing::debug!(%error, "an index was not written; it is made anew when it is needed");
        }
    }

    pub(crate) fn trim_before(&self, position: u64) {
        let mut room = lock(&self.room);
        room.trimmed = room.trimmed.max(position);
        self.wake_to_remove(&room);
    }

    /// What stands from `position` on is kept while there is room.
    pub(crate) fn keep_from(&self, position: u64) {
        let mut room = lock(&self.room);
        room.kept = position;
        self.wake_to_remove(&room);
    }

    /// The saved tables hold everything up to `position`: the log need not keep it for them, but for
    /// the views that wait to be saved it keeps what stands behind `viewed`.
    pub(crate) fn set_tabled(&self, position: u64, viewed: u64) {
        let mut room = lock(&self.room);
        room.tabled = room.tabled.max(position);
        room.viewed = viewed;
        self.wake_to_remove(&room);
    }

    /// A view waits to be saved: until it is, a crash has its reader go on from `position`.
    pub(crate) fn keep_for_view(&self, position: u64) {
        let mut room = lock(&self.room);
        room.viewed = room.viewed.min(position);
    }

    /// Only when there is something to do: waking puts off the next attempt to find room.
    fn wake_to_remove(&self, room: &Room) {
        if !self.trimmed_segments(room.removable()).is_empty() {
            self.room_changed.notify_all();
        }
    }

    fn trimmed_segments(&self, before: u64) -> Vec<Span> {
        let segments = lock(&self.segments);
        let sealed = segments.sealed.iter().take_while(|(_, last)| **last < before);
        sealed.map(|(first, last)| Span { first: *first, last: *last }).collect()
    }

    fn remove_segments(&self, spans: &[Span]) {
        for span in spans {
            lock(&self.segments).sealed.remove(&span.first);
            lock(&self.loaded).retain(|loaded| loaded.first != span.first);
            if let Err(error) = self.disk.remove(&segment_name(span.first)) {
                tracing::warn!(%error, first = span.first, "a trimmed segment cannot be removed");
            }
            // It may never have been written.
            drop(self.disk.remove(&index_name(*span)));
        }
        // There may be room now.
        lock(&self.room).is_full = false;
    }

    /// Whether messages are refused for want of room.
    pub(crate) fn is_out_of_room(&self) -> bool {
        lock(&self.room).is_full
    }

    /// Ends the room keeper. Comes after the writer's end: the writer may be waiting for a segment.
    pub(crate) fn close_room(&self) {
        lock(&self.room).is_closing = true;
        self.room_changed.notify_all();
    }
}
