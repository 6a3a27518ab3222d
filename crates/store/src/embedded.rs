//! Opening and closing the store.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use roost_hub::storage::disk::Disk;
use roost_hub::storage::{Log as _, Store};

use crate::Damage;
use crate::disk::RealDisk;
use crate::log::{EmbeddedLog, lock, salt_of_segments};
use crate::segment::{FORMAT_VERSION, read_file};
use crate::stepped::Stepped;
use crate::tables::Tables;

const FORMAT_NAME: &str = "format";
const FORMAT_NEW_NAME: &str = "format.new";

/// Why a data directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made, or files in it cannot.
    #[error("{} cannot be written: {source}", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use by {}", path.display(), holder(*pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process, where that could be read.
        pid: Option<u32>,
    },
    /// A newer version of the program wrote it.
    #[error("the data has format {found}, and this version knows formats up to {known}: use a newer version")]
    NewerFormat {
        /// The data's format.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// The disk refused.
    #[error("opening the store: {0}")]
    Io(#[from] io::Error),
    /// What is on the disk cannot be the whole truth, and serving it could lose more.
    #[error("the data is damaged: {0}")]
    Damaged(String),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// What can be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The length of a log segment in bytes. No record can be longer.
    pub segment_bytes: usize,
    /// How much room is kept back for saving tables when the disk is full, in bytes.
    pub ballast_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 16 * 1024 * 1024, ballast_bytes: 8 * 1024 * 1024 }
    }
}

/// An open store. Closed when dropped.
#[derive(Debug)]
pub struct Embedded {
    log: Arc<EmbeddedLog>,
    tables: Arc<Tables>,
    threads: Mutex<Option<Threads>>,
}

#[derive(Debug)]
struct Threads {
    writer: JoinHandle<()>,
    room_keeper: JoinHandle<()>,
    tables: JoinHandle<()>,
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

impl Embedded {
    /// Opens the store in a directory, which is made if needed.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let disk = Arc::new(RealDisk::open(path)?);
        match Self::open_on(disk, options) {
            Err(OpenError::Io(source)) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(OpenError::NotWritable { path: path.to_owned(), source })
            }
            result => result,
        }
    }

    /// Opens the store on a disk that nobody else uses.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        let Stepped { log, tables, file } = Stepped::open(disk, options)?;
        let file = file.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (writer, keeper, saver) = (Arc::clone(&log), Arc::clone(&log), Arc::clone(&tables));
        let threads = Threads {
            writer: spawn("store-writer", move || writer.run_writer())?,
            room_keeper: spawn("store-room", move || keeper.run_room_keeper())?,
            tables: spawn("store-tables", move || saver.run(file))?,
        };
        Ok(Self { log, tables, threads: Mutex::new(Some(threads)) })
    }

    /// The log and the tables, as the hub wants them. They stop working when this is closed.
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

    /// Whether the disk has no room for more of the log.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.log.is_out_of_room()
    }

    /// Writes and saves everything, and stops. What comes later is refused. The directory stays
    /// locked until this and every [`Store`] that it gave out are dropped.
    pub fn close(&self) {
        let Some(threads) = lock(&self.threads).take() else { return };
        // In this order: each one may wait for the next.
        self.log.close_writer();
        let writer = threads.writer.join();
        self.tables.close();
        let tables = threads.tables.join();
        self.log.close_room();
        let room_keeper = threads.room_keeper.join();
        if writer.and(tables).and(room_keeper).is_err() {
            tracing::error!(end = self.log.end().0, "a thread of the store panicked");
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads the format file, or writes it for a new store; gives the salt.
pub(crate) fn read_format(disk: &dyn Disk) -> Result<u32, OpenError> {
    let text = match disk.open(FORMAT_NAME) {
        Ok(file) => String::from_utf8_lossy(&read_file(&*file)?).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return new_format(disk),
        Err(error) => return Err(error.into()),
    };
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let version = field("roost store ").and_then(|text| text.parse::<u32>().ok());
    let salt = field("salt ").and_then(|text| u32::from_str_radix(text, 16).ok());
    match (version, salt) {
        (Some(found), _) if found > FORMAT_VERSION => {
            Err(OpenError::NewerFormat { found, known: FORMAT_VERSION })
        }
        (Some(_), Some(salt)) => Ok(salt),
        _ => Err(OpenError::Damaged(format!("the file {FORMAT_NAME} is not what was written"))),
    }
}

fn new_format(disk: &dyn Disk) -> Result<u32, OpenError> {
    let salt = salt_of_segments(disk)?.unwrap_or_else(random);
    let file = disk.create(FORMAT_NEW_NAME)?;
    file.write_at(format!("roost store {FORMAT_VERSION}\nsalt {salt:08x}\n").as_bytes(), 0)?;
    file.sync()?;
    disk.rename(FORMAT_NEW_NAME, FORMAT_NAME)?;
    disk.sync_directory("")?;
    Ok(salt)
}

/// Something that no device can guess: the standard library seeds its hash maps from the system.
fn random() -> u32 {
    let [a, b, c, d, ..] = std::hash::RandomState::new().build_hasher().finish().to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
