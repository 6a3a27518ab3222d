//! The real disk: one directory of the file system, held by one process at a time.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use roost_hub::storage::disk::{Disk, DiskFile};
use rustix::fs::{FallocateFlags, FlockOperation};

use crate::OpenError;

const LOCK_NAME: &str = "lock";

/// A directory, locked until this is dropped. Directories are made with mode 0700, files with 0600.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Kept open, so that they can be synced when the program has no file descriptors left.
    directories: Mutex<HashMap<String, Arc<File>>>,
    // Held for its lock.
    _lock: File,
}

impl RealDisk {
    /// Makes the directory if needed and locks it.
    ///
    /// # Errors
    /// [`OpenError::NotWritable`] and [`OpenError::Locked`].
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let not_writable = |source| OpenError::NotWritable { path: root.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(not_writable)?;
        // Else the whole directory may be gone after a power cut, and everything in it.
        if let Err(error) = File::open(root.join("..")).and_then(|parent| parent.sync_all()) {
            tracing::debug!(%error, "the directory above the data cannot be synced");
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(root.join(LOCK_NAME))
            .map_err(not_writable)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The holder may be about to write it: then nobody knows the id.
                let pid = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(OpenError::Locked { path: root.to_owned(), pid });
            }
            Err(error) => return Err(not_writable(error.into())),
        }
        lock.set_len(0).map_err(not_writable)?;
        writeln!(lock, "{}", std::process::id()).map_err(not_writable)?;
        Ok(Self { root: root.to_owned(), directories: Mutex::default(), _lock: lock })
    }

    fn directory(&self, name: &str) -> io::Result<Arc<File>> {
        let mut directories = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = directories.get(name) {
            return Ok(Arc::clone(directory));
        }
        let directory = Arc::new(File::open(self.path(name))?);
        directories.insert(name.to_owned(), Arc::clone(&directory));
        Ok(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl Disk for RealDisk {
    fn make_directory(&self, name: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.path(name))?;
        self.directory(name).map(drop)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(RealFile(options.open(self.path(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path(directory))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        self.directory(directory)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            // Some network and FUSE file systems cannot: the zeros themselves then take the room.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                crate::write_zeros(self, self.length()?..length)
            }
            result => Ok(result?),
        }
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
