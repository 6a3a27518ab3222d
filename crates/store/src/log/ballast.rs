//! The ballast: a file that only takes room, to be given up when there is none.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use roost_hub::storage::disk::Disk;

const BALLAST_NAME: &str = "ballast";

/// Room that is kept back, so that the tables can be saved on a full disk.
#[derive(Debug, Default)]
pub(crate) struct Ballast {
    is_there: AtomicBool,
}

impl Ballast {
    /// Gives the room up. Tells whether there was any.
    pub(crate) fn release(&self, disk: &dyn Disk) -> bool {
        let released = self.is_there.swap(false, Ordering::Relaxed) && disk.remove(BALLAST_NAME).is_ok();
        if released {
            tracing::warn!("the disk is full: the ballast file was given up");
        }
        released
    }

    /// Takes the room (again).
    pub(crate) fn restore(&self, disk: &dyn Disk, bytes: usize) -> io::Result<()> {
        if bytes == 0 || self.is_there.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let made = disk.create(BALLAST_NAME).and_then(|file| file.allocate(bytes as u64));
        if made.is_err() {
            self.is_there.store(false, Ordering::Relaxed);
            // Half a ballast is no use, and if it cannot be removed it does no harm.
            drop(disk.remove(BALLAST_NAME));
        }
        made
    }
}
