//! A disk, as small as a store needs it: the port that simulation replaces.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// A directory on a disk. Names are relative to it, with `/` between levels.
///
/// What was written survives a power cut only after [`DiskFile::sync`]; what was created, renamed
/// or removed only after [`Disk::sync_directory`].
pub trait Disk: Send + Sync + Debug {
    /// Makes a directory; fine when it is there already.
    ///
    /// # Errors
    /// What the system says.
    fn make_directory(&self, name: &str) -> io::Result<()>;

    /// Makes an empty file, in place of the one of that name if there is one.
    ///
    /// # Errors
    /// What the system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it does not exist, and what else the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, in place of what had that name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when it does not exist, and what else the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of the files in a directory (`""` is the root), without that of the directory,
    /// in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Makes what was created, renamed and removed in a directory survive a power cut.
    ///
    /// # Errors
    /// What the system says. Not to be tried again.
    fn sync_directory(&self, directory: &str) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync + Debug {
    /// The length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn length(&self) -> io::Result<u64>;

    /// Reads from `offset` on until the buffer or the file ends; gives how many bytes.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes at `offset`, making the file longer where needed.
    ///
    /// # Errors
    /// What the system says; some of the bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file `length` bytes long at least and reserves room for all of them; new bytes
    /// are zero.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] and others when there is no room.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts the file, or makes it longer with zeros for which no room is reserved.
    ///
    /// # Errors
    /// What the system says.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Makes everything written so far survive a power cut.
    ///
    /// # Errors
    /// What the system says. Not to be tried again: a second sync may say yes for data that is lost.
    fn sync(&self) -> io::Result<()>;
}
