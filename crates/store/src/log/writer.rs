//! The writer: takes everything that waits, writes it, syncs it, says that it is durable; the next
//! batch gathers meanwhile. A failed write or sync of a segment ends it for good: after a failed
//! sync, a second one may succeed although the data is lost.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;

use roost_hub::storage::StorageError;

use super::append::{Chunk, Queue};
use super::{Active, EmbeddedLog, lock};
use crate::segment::{LOG_DIRECTORY, Mark, Span, mark, segment_name};

/// How often the writer lets others append before it syncs what there is.
const GATHER_ROUNDS_MAX: u32 = 16;

impl EmbeddedLog {
    /// Works until the log is closed and everything is written, or until the disk refuses.
    pub(crate) fn run_writer(&self) {
        while let Some(chunks) = self.next_chunks() {
            if let Err(error) = self.write_chunks(chunks) {
                self.fail(error);
                return;
            }
        }
    }

    /// Writes and syncs what waits, without waiting for more: for who has no thread for it.
    pub(crate) fn write_waiting(&self) {
        let mut queue = lock(&self.queue);
        if queue.broken.is_some() {
            return;
        }
        let chunks = queue.take_chunks();
        drop(queue);
        if let Err(error) = self.write_chunks(chunks) {
            self.fail(error);
        }
    }

    fn write_chunks(&self, chunks: Vec<Arc<Chunk>>) -> Result<(), StorageError> {
        for chunk in chunks {
            self.write_chunk(&chunk)
                .map_err(|error| StorageError::Broken(format!("writing the log: {error}").into()))?;
            lock(&self.queue).finish(chunk);
        }
        Ok(())
    }

    fn next_chunks(&self) -> Option<Vec<Arc<Chunk>>> {
        let mut queue = lock(&self.queue);
        while queue.chunks.is_empty() {
            if queue.is_closing || queue.broken.is_some() {
                return None;
            }
            queue.is_writer_idle = true;
            queue = self.queued.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.is_writer_idle = false;
        Some(self.gather(queue).take_chunks())
    }

    /// Where cores are few, whoever appends next cannot while the writer runs: lets them, as long as more
    /// comes, so that one sync serves all. With a core to spare this takes no time.
    fn gather<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        for _ in 0..GATHER_ROUNDS_MAX {
            let (next, is_closing) = (queue.next, queue.is_closing);
            if is_closing {
                break;
            }
            drop(queue);
            thread::yield_now();
            queue = lock(&self.queue);
            if queue.next == next {
                break;
            }
        }
        queue
    }

    fn write_chunk(&self, chunk: &Chunk) -> io::Result<()> {
        if chunk.is_fresh() {
            self.begin_segment(chunk.segment)?;
        }
        let file = lock(&self.segments).active.as_ref().map(|active| Arc::clone(&active.file));
        let file = file.ok_or_else(|| io::Error::other("there is no segment to write to"))?;
        file.write_at(&chunk.bytes, chunk.offset as u64)?;
        file.sync()?;
        if let Some(active) = &mut lock(&self.segments).active {
            for Mark { position, offset } in &chunk.marks {
                mark(&mut active.marks, *position, *offset);
            }
            active.last = chunk.last;
        }
        self.progress.send_modify(|progress| progress.durable.0 = chunk.last);
        Ok(())
    }

    /// Puts a spare segment in the place of the full one. The full one was synced with its last
    /// chunk, so nothing in the new one can be durable before it.
    fn begin_segment(&self, first: u64) -> io::Result<()> {
        let spare = self.take_spare()?;
        self.disk.rename(&spare.name, &segment_name(first))?;
        self.disk.sync_directory(LOG_DIRECTORY)?;
        let active = Active { first, file: spare.file, marks: Vec::new(), last: first - 1 };
        let mut segments = lock(&self.segments);
        let full = segments.active.replace(active);
        if let Some(full) = &full {
            segments.sealed.insert(full.first, full.last);
        }
        drop(segments);
        if let Some(full) = full {
            self.keep_index(Span { first: full.first, last: full.last }, full.marks);
        }
        Ok(())
    }

    /// Appends nothing more; the writer ends when everything is written.
    pub(crate) fn close_writer(&self) {
        lock(&self.queue).is_closing = true;
        self.queued.notify_all();
    }
}
