//! The readings of one series from all the places where they are, in the order of time, one for
//! each time: the one that stands last in the log.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::errors::ParquetError;

use crate::columns::Row;
use crate::file::{Footers, HistoryFile, SeriesRows, Wanted};

enum Source {
    Memory(std::vec::IntoIter<Row>),
    File(PathBuf, Box<SeriesRows>),
}

/// A source and the row it stands at; the greatest is the one to take next.
struct Head {
    row: Row,
    source: Source,
}

impl Head {
    fn rank(&self) -> (std::cmp::Reverse<i64>, u64) {
        (std::cmp::Reverse(self.row.ts.0), self.row.position.0)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// A file that cannot be read.
pub(crate) type Unreadable = (PathBuf, ParquetError);

pub(crate) struct Merged {
    footers: Arc<Footers>,
    wanted: Wanted,
    /// Files not opened yet, the one that begins first at the end.
    files: Vec<Arc<HistoryFile>>,
    heads: BinaryHeap<Head>,
}

impl Merged {
    /// Merges the files and rows in memory, each list of rows in the order of the log.
    pub(crate) fn new(
        footers: Arc<Footers>,
        wanted: Wanted,
        mut files: Vec<Arc<HistoryFile>>,
        memory: Vec<Vec<Row>>,
    ) -> Self {
        files.sort_by_key(|file| std::cmp::Reverse(file.ts_min));
        let heads = memory.into_iter().filter_map(|mut rows| {
            // Stable: of one time, the last in the log stays last, and is the one that is kept.
            rows.sort_by_key(|row| std::cmp::Reverse(row.ts));
            let mut latest: Vec<Row> = Vec::with_capacity(rows.len());
            for row in rows {
                match latest.last_mut().filter(|last| last.ts == row.ts) {
                    Some(last) => *last = row,
                    None => latest.push(row),
                }
            }
            latest.reverse();
            let mut rows = latest.into_iter();
            let row = rows.next()?;
            Some(Head { row, source: Source::Memory(rows) })
        });
        let heads = heads.collect();
        Self { footers, wanted, files, heads }
    }

    fn advance(&mut self, mut source: Source) -> Result<(), Unreadable> {
        let row = match &mut source {
            Source::Memory(rows) => rows.next(),
            Source::File(path, rows) => rows.next().transpose().map_err(|error| (path.clone(), error))?,
        };
        if let Some(row) = row {
            self.heads.push(Head { row, source });
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Row>, Unreadable> {
        loop {
            let now = self.heads.peek().map(|head| head.row.ts);
            let due = |file: &mut Arc<HistoryFile>| now.is_none_or(|now| file.ts_min <= now);
            let Some(file) = self.files.pop_if(due) else { break };
            let rows = self.footers.read(&file.path, &self.wanted);
            let rows = rows.map_err(|error| (file.path.clone(), error))?;
            self.advance(Source::File(file.path.clone(), Box::new(rows)))?;
        }
        let Some(Head { row, source }) = self.heads.pop() else { return Ok(None) };
        self.advance(source)?;
        while self.heads.peek().is_some_and(|head| head.row.ts == row.ts) {
            let Some(Head { source, .. }) = self.heads.pop() else { break };
            self.advance(source)?;
        }
        Ok(Some(row))
    }
}

impl Iterator for Merged {
    type Item = Result<Row, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take().transpose()
    }
}
