//! The store without threads: its owner does, one piece at a time, what they would do. That is what
//! opening one with threads begins with, and what a simulation needs, which decides when a disk works.

use std::sync::{Arc, Mutex};

use roost_hub::storage::Store;
use roost_hub::storage::disk::Disk;

use crate::Damage;
use crate::embedded::{OpenError, Options, read_format};
use crate::log::{EmbeddedLog, Shape, lock, recover};
use crate::segment::LOG_DIRECTORY;
use crate::tables::{Tables, TablesFile};

/// An open store that does nothing by itself. What waits when it is dropped is lost, as in a crash.
#[derive(Debug)]
pub struct Stepped {
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) file: Mutex<TablesFile>,
}

impl Stepped {
    /// Opens the store on a disk that nobody else uses.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        disk.make_directory(LOG_DIRECTORY)?;
        let shape = Shape::new(options, read_format(&*disk)?);
        let mut recovered = recover(&*disk, shape)?;
        let ballast = Arc::clone(&recovered.ballast);
        let file = Tables::open_file(&disk, &ballast, recovered.first())?;
        recovered.skip_to(file.newest_position() + 1);
        let log = Arc::new(EmbeddedLog::new(disk, shape, recovered));
        let tables = Arc::new(Tables::new(Arc::clone(&log), &file));
        tables.catch_up()?;
        log.prepare_room();
        Ok(Self { log, tables, file: Mutex::new(file) })
    }

    /// The log and the tables, as the hub wants them.
    #[must_use]
    pub fn store(&self) -> Store {
        let (log, table) = (Arc::clone(&self.log), Arc::clone(&self.tables));
        Store { log, table }
    }

    /// What was found to be lost, at the start and since.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.log.damage()
    }

    /// Writes and syncs every record that waits, as the writer's thread does.
    pub fn write(&self) {
        self.log.write_waiting();
    }

    /// Makes or removes one segment or index, if one is due, as the room keeper's thread does.
    pub fn keep_room(&self) {
        self.log.keep_room();
    }

    /// Saves the durable changes of the tables, as the tables' thread does. Tells whether there was
    /// room; where the disk refused for another reason, the log is broken from now on.
    pub fn save_tables(&self) -> bool {
        self.tables.save_waiting(&mut lock(&self.file)) != crate::tables::Saved::NoRoom
    }
}
