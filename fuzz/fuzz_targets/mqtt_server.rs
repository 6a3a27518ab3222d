//! Whole connections: several clients of two tenants, over streams in memory, with a gateway and a
//! hub behind them. The input is a script of packets good and bad, raw bytes, lost connections and
//! time; it runs twice, its bytes cut differently. With `ROOST_FUZZ_SHOW` set, what each connection
//! got is shown.
#![no_main]

#[path = "mqtt_server/packets.rs"]
mod packets;
#[path = "mqtt_server/peer.rs"]
mod peer;
#[path = "mqtt_server/script.rs"]
mod script;
#[path = "mqtt_server/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a script may hold in memory: a world, and so much for each of its bytes.
const MEMORY_MAX: usize = 8 * 1024 * 1024;
const MEMORY_MAX_PER_BYTE: usize = 4 * 1024;
/// Longer scripts find nothing that shorter ones do not, and take longer.
const SCRIPT_LENGTH_MAX: usize = 2_048;

libfuzzer_sys::fuzz_target!(init: world::check(), |bytes: &[u8]| {
    let bytes = bytes.get(..SCRIPT_LENGTH_MAX).unwrap_or(bytes);
    let Some((cut, script)) = bytes.split_first() else { return };
    let before = ALLOCATED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let whole = world::run(script, usize::MAX);
    let cut = world::run(script, usize::from(*cut % 16) + 1);
    if std::env::var_os("ROOST_FUZZ_SHOW").is_some() {
        eprintln!("{whole:#?}");
    }
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    assert!(peak <= MEMORY_MAX + MEMORY_MAX_PER_BYTE * bytes.len(), "{peak} bytes of memory");
    assert_eq!(whole, cut, "the answers depend on how the bytes are cut");
});

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Counts what is allocated.
struct Counting;

// SAFETY: everything is the system's allocator's; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
