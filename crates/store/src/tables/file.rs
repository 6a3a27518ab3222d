//! The tables' file: redb on a file of the `Disk`. One table of entries (revision, then value) and
//! one of positions: up to where the log is in here, and each reader's view.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase as _, StorageBackend, TableDefinition, TableError,
};
use roost_hub::storage::disk::{Disk, DiskFile};
use roost_hub::storage::{Entry, Position, Revision, StorageError};

use super::Queued;
use crate::log::Ballast;
use crate::{OpenError, is_full};

const FILE_NAME: &str = "tables.redb";
const FILE_NEW_NAME: &str = "tables.new";
const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
const POSITIONS: TableDefinition<'_, &str, u64> = TableDefinition::new("positions");
/// The name in `POSITIONS` of how far the log is in here; readers' names come after `VIEW`.
const LOG: &str = "log";
const VIEW: &str = "view/";
/// The system's page cache holds the file too.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// A moment of the file, to read from.
pub(crate) type Snapshot = Arc<ReadOnlyTable<&'static str, &'static [u8]>>;

/// A set of changes for one transaction.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) queued: Vec<Queued>,
    /// The file then holds the log up to here.
    pub(crate) position: u64,
}

/// The open file.
pub(crate) struct TablesFile {
    database: Database,
    pub(crate) snapshot: Snapshot,
    /// The log is in here up to this position.
    pub(crate) position: u64,
    pub(crate) views: HashMap<String, Position>,
}

impl fmt::Debug for TablesFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TablesFile").field("position", &self.position).finish_non_exhaustive()
    }
}

impl TablesFile {
    /// Opens the file, or makes a new one where the log, which begins with `log_first`, still has
    /// everything that was ever put.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        ballast: &Arc<Ballast>,
        log_first: u64,
    ) -> Result<Self, OpenError> {
        match disk.open(FILE_NAME) {
            Ok(file) => match Self::open_in(disk, file, ballast) {
                Ok(tables) => return Ok(tables),
                Err(redb::Error::Io(error)) if !is_damage(&error) => return Err(error.into()),
                Err(error) if log_first > 1 => {
                    return Err(OpenError::Damaged(format!("{FILE_NAME}: {error}")));
                }
                Err(error) => {
                    let kept = format!("{FILE_NAME}.quarantine");
                    tracing::error!(%error, kept, "the tables are damaged and made anew from the log");
                    disk.rename(FILE_NAME, &kept)?;
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && log_first > 1 => {
                let text = format!("{FILE_NAME} is gone, and the log only begins at position {log_first}");
                return Err(OpenError::Damaged(text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let made = Self::open_in(disk, disk.create(FILE_NEW_NAME)?, ballast).and_then(|tables| {
            // Under its name it is always a whole one.
            disk.rename(FILE_NEW_NAME, FILE_NAME)?;
            disk.sync_directory("")?;
            Ok(tables)
        });
        made.map_err(|error| match error {
            redb::Error::Io(error) => error.into(),
            error => OpenError::Damaged(format!("{FILE_NEW_NAME}: {error}")),
        })
    }

    /// Opens the file again after a transaction failed for want of room.
    pub(crate) fn reopen(disk: &Arc<dyn Disk>, ballast: &Arc<Ballast>) -> Result<Self, redb::Error> {
        let file = disk.open(FILE_NAME)?;
        Self::open_in(disk, file, ballast)
    }

    fn open_in(
        disk: &Arc<dyn Disk>,
        file: Arc<dyn DiskFile>,
        ballast: &Arc<Ballast>,
    ) -> Result<Self, redb::Error> {
        let backend = Backend { disk: Arc::clone(disk), file, ballast: Arc::clone(ballast) };
        // redb says that opening an altered file may panic.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let database = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
            Self::read(database)
        }));
        opened.unwrap_or_else(|_panic| Err(redb::Error::Corrupted("opening it panicked".to_owned())))
    }

    fn read(database: Database) -> Result<Self, redb::Error> {
        if matches!(database.begin_read()?.open_table(POSITIONS), Err(TableError::TableDoesNotExist(_))) {
            let write = database.begin_write()?;
            drop((write.open_table(ENTRIES)?, write.open_table(POSITIONS)?));
            write.commit()?;
        }
        let mut position = 0;
        let mut views = HashMap::new();
        let read = database.begin_read()?;
        for row in read.open_table(POSITIONS)?.range::<&str>(..)? {
            let (name, value) = row?;
            match name.value().strip_prefix(VIEW) {
                Some(reader) => drop(views.insert(reader.to_owned(), Position(value.value()))),
                None => position = value.value(),
            }
        }
        let snapshot = Arc::new(read.open_table(ENTRIES)?);
        Ok(Self { database, snapshot, position, views })
    }

    /// The latest position of the log that is known here.
    pub(crate) fn newest_position(&self) -> u64 {
        self.views.values().map(|position| position.0).fold(self.position, u64::max)
    }

    /// Saves changes in one transaction, durably.
    pub(crate) fn save(&mut self, changes: &Changes) -> Result<(), redb::Error> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        // Otherwise opening after a kill reads the whole file.
        write.set_quick_repair(true);
        {
            let mut entries = write.open_table(ENTRIES)?;
            let mut positions = write.open_table(POSITIONS)?;
            for (key, value, revision) in changes.queued.iter().flat_map(Queued::rows) {
                match value {
                    Some(value) => {
                        let row = [&revision.0.to_le_bytes()[..], value].concat();
                        entries.insert(key, &*row)?;
                    }
                    None => drop(entries.remove(key)?),
                }
            }
            for (reader, position) in changes.queued.iter().filter_map(Queued::view) {
                positions.insert(&*format!("{VIEW}{reader}"), position.0)?;
            }
            positions.insert(LOG, changes.position)?;
        }
        write.commit()?;
        self.snapshot = Arc::new(self.database.begin_read()?.open_table(ENTRIES)?);
        self.position = changes.position;
        let saved = changes.queued.iter().filter_map(Queued::view);
        self.views.extend(saved.map(|(reader, position)| (reader.to_owned(), position)));
        Ok(())
    }
}

/// How redb says that a file is none of its own, or too short.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// A row of the entries as an entry.
pub(crate) fn entry_of_row(row: &[u8]) -> Result<Entry, StorageError> {
    let (revision, value) =
        row.split_first_chunk().ok_or_else(|| StorageError::Damaged("an entry without a revision".into()))?;
    let revision = Revision(u64::from_le_bytes(*revision));
    Ok(Entry { value: Bytes::copy_from_slice(value), revision })
}

/// What redb stands on. Locking is the directory's matter.
#[derive(Debug)]
struct Backend {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    ballast: Arc<Ballast>,
}

impl Backend {
    /// Does it; where there is no room, gives up the ballast and does it again.
    fn with_ballast(&self, operation: impl Fn() -> io::Result<()>) -> io::Result<()> {
        operation().or_else(|error| {
            if is_full(&error) && self.ballast.release(&*self.disk) { operation() } else { Err(error) }
        })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let count = self.file.read_at(out, offset)?;
        if count < out.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if length <= self.file.length()? {
            return self.file.set_length(length);
        }
        self.with_ballast(|| self.file.allocate(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with_ballast(|| self.file.write_at(data, offset))
    }
}
