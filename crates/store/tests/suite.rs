//! The suite that every store must pass, for the one in memory and the one on disk.

use roost_hub::storage::memory::MemoryStore;
use roost_store::{Embedded, Options};
use roost_testkit::store_suite;

#[test]
fn the_store_in_memory_passes_the_suite() {
    store_suite::check_all(&mut MemoryStore::store);
}

#[test]
fn the_store_on_disk_passes_the_suite() {
    let mut open = Vec::new();
    store_suite::check_all(&mut || {
        let directory = tempfile::tempdir().unwrap();
        // Small, so that the suite crosses from segment to segment.
        let options = Options { segment_bytes: 128 * 1024, ballast_bytes: 4096 };
        let embedded = Embedded::open(directory.path(), options).unwrap();
        let store = embedded.store();
        open.push((embedded, directory));
        store
    });
}
