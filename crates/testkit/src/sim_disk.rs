//! A disk in memory that can lose power: what was not synced is dropped, kept or torn then, as a
//! seed decides. It can also fail at a chosen operation, and be full.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_hub::storage::disk::{Disk, DiskFile};

/// What a disk writes whole or not at all.
const SECTOR_LENGTH: usize = 512;

/// What goes wrong at the chosen operation. Operations are everything that changes something or
/// syncs, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power goes: this operation and all later ones fail.
    PowerCut,
    /// This one operation fails with an input/output error.
    Error,
    /// This one operation finds the disk full.
    Full,
}

#[derive(Clone, Debug)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// As the program sees it.
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum Renaming {
    Link(String, Arc<SimFile>),
    Unlink(String),
    Move(String, String),
}

fn apply(names: &mut BTreeMap<String, Arc<SimFile>>, renaming: Renaming) {
    match renaming {
        Renaming::Link(name, file) => drop(names.insert(name, file)),
        Renaming::Unlink(name) => drop(names.remove(&name)),
        Renaming::Move(from, to) => {
            if let Some(file) = names.remove(&from) {
                names.insert(to, file);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Names {
    seen: BTreeMap<String, Arc<SimFile>>,
    durable: BTreeMap<String, Arc<SimFile>>,
    pending: Vec<Renaming>,
}

/// What went wrong on a disk so far, over all its power cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wear {
    /// Writes that a power cut undid.
    pub lost_writes: u64,
    /// Writes of which a power cut left some sectors.
    pub torn_writes: u64,
    /// Operations that were refused with an input/output error.
    pub errors: u64,
    /// Those among them that were syncs of a file or a directory.
    pub refused_syncs: u64,
    /// Operations for which there was no room.
    pub full: u64,
}

#[derive(Debug, Default)]
struct Power {
    wear: Wear,
    operations: u64,
    fault: Option<(u64, Fault)>,
    is_off: bool,
    /// Syncs of files whose names begin so say yes and do nothing.
    lie: Option<String>,
    capacity: Option<usize>,
    allocated: usize,
}

impl Power {
    fn operation(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.is_off {
            return Err(io::Error::other("the power is off"));
        }
        match self.fault.filter(|(at, _)| *at == self.operations) {
            None => Ok(()),
            Some((_, Fault::Error)) => {
                self.wear.errors += 1;
                Err(io::Error::other("a planted error"))
            }
            Some((_, Fault::Full)) => {
                self.wear.full += 1;
                Err(io::ErrorKind::StorageFull.into())
            }
            Some((_, Fault::PowerCut)) => {
                self.is_off = true;
                Err(io::Error::other("the power went"))
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let errors = self.wear.errors;
        let result = self.operation();
        self.wear.refused_syncs += self.wear.errors - errors;
        result
    }

    fn lies_about(&self, name: &str) -> bool {
        self.lie.as_ref().is_some_and(|prefix| name.starts_with(prefix))
    }

    fn grow(&mut self, bytes: usize) -> io::Result<()> {
        if self.capacity.is_some_and(|capacity| bytes > 0 && self.allocated + bytes > capacity) {
            self.wear.full += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.allocated += bytes;
        Ok(())
    }
}

/// The disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    names: Arc<Mutex<Names>>,
    power: Arc<Mutex<Power>>,
}

/// A file of a [`SimDisk`].
#[derive(Debug)]
struct SimFile {
    /// As it was made; it may have got another one in the same directory.
    name: String,
    content: Mutex<Content>,
    power: Arc<Mutex<Power>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

impl SimDisk {
    /// An empty disk on which nothing fails.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has something go wrong at the operation of this number, counted from now on.
    pub fn plan(&self, operation: u64, fault: Fault) {
        let mut power = lock(&self.power);
        power.fault = Some((power.operations + operation, fault));
    }

    /// What was planned and has not happened will not.
    pub fn forget_plan(&self) {
        lock(&self.power).fault = None;
    }

    /// Operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.power).operations
    }

    /// A disk whose syncs say yes and do nothing, as one with a careless cache.
    #[must_use]
    pub fn lying() -> Self {
        let disk = Self::new();
        disk.begin_lying("");
        disk
    }

    /// From now on syncs of what has a name that begins so say yes and do nothing.
    pub fn begin_lying(&self, prefix: &str) {
        lock(&self.power).lie = Some(prefix.to_owned());
    }

    /// What went wrong so far.
    #[must_use]
    pub fn wear(&self) -> Wear {
        lock(&self.power).wear
    }

    /// Limits the sum of all files' lengths, in bytes; `None` takes the limit away.
    pub fn set_capacity(&self, capacity: Option<usize>) {
        lock(&self.power).capacity = capacity;
    }

    /// The sum of all files' lengths, in bytes.
    #[must_use]
    pub fn allocated(&self) -> usize {
        lock(&self.power).allocated
    }

    /// The power goes now: everything fails from here on.
    pub fn cut_power(&self) {
        lock(&self.power).is_off = true;
    }

    /// What is found when the power is back: what was not synced is there, gone, or torn at sectors.
    #[must_use]
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let names = lock(&self.names);
        let mut found = names.durable.clone();
        // A journal keeps the order of what happens in directories.
        let kept = dice.below(names.pending.len() as u64 + 1);
        for (renaming, _) in names.pending.iter().zip(0..kept) {
            apply(&mut found, renaming.clone());
        }
        let disk = self.successor();
        let mut allocated = 0;
        let mut wear = lock(&self.power).wear;
        let files: BTreeMap<String, Arc<SimFile>> = found
            .into_iter()
            .map(|(name, file)| {
                let bytes = lock(&file.content).after_power_cut(&mut dice, &mut wear);
                allocated += bytes.len();
                let content = Content { seen: bytes.clone(), durable: bytes, pending: Vec::new() };
                let content = Mutex::new(content);
                let power = Arc::clone(&disk.power);
                (name.clone(), Arc::new(SimFile { name, content, power }))
            })
            .collect();
        let mut power = lock(&disk.power);
        (power.allocated, power.wear) = (allocated, wear);
        drop(power);
        *lock(&disk.names) = Names { seen: files.clone(), durable: files, pending: Vec::new() };
        disk
    }

    /// What is found after kill -9: everything that was written, synced or not. What was not may
    /// still be lost by a power cut.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let disk = self.successor();
        let Power { allocated, wear, .. } = *lock(&self.power);
        let mut power = lock(&disk.power);
        (power.allocated, power.wear) = (allocated, wear);
        drop(power);
        let names = lock(&self.names);
        let mut copies: BTreeMap<*const SimFile, Arc<SimFile>> = BTreeMap::new();
        let mut copy = |file: &Arc<SimFile>| {
            let copied = copies.entry(Arc::as_ptr(file)).or_insert_with(|| {
                let content = Mutex::new(lock(&file.content).clone());
                Arc::new(SimFile { name: file.name.clone(), content, power: Arc::clone(&disk.power) })
            });
            Arc::clone(copied)
        };
        let mut copy_all = |files: &BTreeMap<String, Arc<SimFile>>| {
            files.iter().map(|(name, file)| (name.clone(), copy(file))).collect::<BTreeMap<_, _>>()
        };
        let (seen, durable) = (copy_all(&names.seen), copy_all(&names.durable));
        let pending = names.pending.iter().map(|renaming| match renaming {
            Renaming::Link(name, file) => Renaming::Link(name.clone(), copy(file)),
            other => other.clone(),
        });
        let pending = pending.collect();
        *lock(&disk.names) = Names { seen, durable, pending };
        disk
    }

    /// An empty disk of the same kind.
    fn successor(&self) -> Self {
        let disk = Self::new();
        lock(&disk.power).lie.clone_from(&lock(&self.power).lie);
        disk
    }

    fn file(&self, name: &str) -> io::Result<Arc<SimFile>> {
        lock(&self.names).seen.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename_things(&self, renaming: Renaming) {
        let mut names = lock(&self.names);
        apply(&mut names.seen, renaming.clone());
        names.pending.push(renaming);
    }

    fn forget(&self, name: &str) {
        if let Ok(file) = self.file(name) {
            let length = lock(&file.content).seen.len();
            let mut power = lock(&self.power);
            power.allocated = power.allocated.saturating_sub(length);
        }
    }

    /// Changes one byte of a file, as a worn-out disk does.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no such file.
    pub fn flip(&self, name: &str, offset: usize) -> io::Result<()> {
        let file = self.file(name)?;
        let mut content = lock(&file.content);
        let Content { seen, durable, .. } = &mut *content;
        for byte in [seen.get_mut(offset), durable.get_mut(offset)].into_iter().flatten() {
            *byte ^= 0x10;
        }
        Ok(())
    }
}

impl Content {
    fn after_power_cut(&self, dice: &mut Dice, wear: &mut Wear) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for pending in &self.pending {
            match pending {
                Pending::Length(length) if dice.below(2) == 0 => bytes.resize(*length, 0),
                Pending::Length(_) => {}
                Pending::Write { offset, bytes: written } => match dice.below(3) {
                    0 => wear.lost_writes += 1,
                    1 => overlay(&mut bytes, *offset, written),
                    _ => {
                        wear.torn_writes += 1;
                        tear(&mut bytes, *offset, written, dice);
                    }
                },
            }
        }
        bytes
    }
}

fn overlay(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    if bytes.len() < offset + written.len() {
        bytes.resize(offset + written.len(), 0);
    }
    if let Some(part) = bytes.get_mut(offset..offset + written.len()) {
        part.copy_from_slice(written);
    }
}

/// Writes only some sectors.
fn tear(bytes: &mut Vec<u8>, offset: usize, written: &[u8], dice: &mut Dice) {
    let (mut offset, mut rest) = (offset, written);
    while !rest.is_empty() {
        let length = (SECTOR_LENGTH - offset % SECTOR_LENGTH).min(rest.len());
        let (sector, after) = rest.split_at(length);
        if dice.below(2) == 0 {
            overlay(bytes, offset, sector);
        }
        offset += length;
        rest = after;
    }
}

impl Disk for SimDisk {
    fn make_directory(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        lock(&self.power).operation()?;
        self.forget(name);
        let file = Arc::new(SimFile {
            name: name.to_owned(),
            content: Mutex::default(),
            power: Arc::clone(&self.power),
        });
        self.rename_things(Renaming::Link(name.to_owned(), Arc::clone(&file)));
        Ok(file)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        lock(&self.power).operation()?;
        self.file(from)?;
        self.forget(to);
        self.rename_things(Renaming::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.power).operation()?;
        self.file(name)?;
        self.forget(name);
        self.rename_things(Renaming::Unlink(name.to_owned()));
        Ok(())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let names = lock(&self.names);
        let below = names.seen.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(below.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        let mut power = lock(&self.power);
        power.sync()?;
        if !power.lies_about(directory) {
            let mut names = lock(&self.names);
            names.durable = names.seen.clone();
            names.pending.clear();
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.content).seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = lock(&self.content);
        let rest = content.seen.get(position(offset)..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut power = lock(&self.power);
        power.operation()?;
        let offset = position(offset);
        let mut content = lock(&self.content);
        power.grow((offset + bytes.len()).saturating_sub(content.seen.len()))?;
        overlay(&mut content.seen, offset, bytes);
        content.pending.push(Pending::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let length = position(length).max(lock(&self.content).seen.len());
        self.set_length(length as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut power = lock(&self.power);
        power.operation()?;
        let length = position(length);
        let mut content = lock(&self.content);
        power.grow(length.saturating_sub(content.seen.len()))?;
        power.allocated -= content.seen.len().saturating_sub(length);
        content.seen.resize(length, 0);
        content.pending.push(Pending::Length(length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut power = lock(&self.power);
        power.sync()?;
        if !power.lies_about(&self.name) {
            let mut content = lock(&self.content);
            let Content { durable, pending, .. } = &mut *content;
            for pending in pending.drain(..) {
                match pending {
                    Pending::Length(length) => durable.resize(length, 0),
                    Pending::Write { offset, bytes } => overlay(durable, offset, &bytes),
                }
            }
        }
        Ok(())
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
