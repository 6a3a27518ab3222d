//! What the kernel knows of a process: its CPU time, memory and disk writes; and which cores there are.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// CPU time so far, by thread in nanoseconds, and of the process in clock ticks (which counts ended threads too).
#[derive(Debug)]
pub(crate) struct CpuTime {
    threads: HashMap<String, u64>,
    process_nanos: u64,
}

impl CpuTime {
    pub(crate) fn read(pid: u32) -> Result<CpuTime> {
        let mut threads = HashMap::new();
        let tasks = format!("/proc/{pid}/task");
        for task in fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))? {
            let task = task?;
            // A thread that ends between the listing and this line is found missing by `nanos_since`.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else {
                continue;
            };
            let nanos = text.split(' ').next().context("schedstat is empty")?;
            let name = task.file_name().to_string_lossy().into_owned();
            threads.insert(name, nanos.parse()?);
        }
        let process_nanos = process_nanos(pid)?;
        Ok(CpuTime { threads, process_nanos })
    }

    /// Nanoseconds of CPU between two readings.
    pub(crate) fn nanos_since(&self, before: &CpuTime) -> u64 {
        if before.threads.keys().any(|name| !self.threads.contains_key(name)) {
            return self.process_nanos.saturating_sub(before.process_nanos);
        }
        let used = self
            .threads
            .iter()
            .map(|(name, nanos)| nanos.saturating_sub(before.threads.get(name).copied().unwrap_or(0)));
        used.sum()
    }
}

/// utime + stime of proc(5), to the clock tick.
fn process_nanos(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after_name) = text.rsplit_once(')').context("stat has no name")?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || -> Result<u64> { Ok(fields.next().context("stat is short")?.parse()?) };
    let total = ticks()? + ticks()?;
    Ok(total * 1_000_000_000 / rustix::param::clock_ticks_per_second())
}

/// Nanoseconds that a core was not idle, to the clock tick, whoever used it.
pub(crate) fn core_busy_nanos(core: usize) -> Result<u64> {
    const IDLE_AND_IO_WAIT: std::ops::Range<usize> = 3..5;
    // Of the ten columns the last two, guest time, are in the first two already.
    const COLUMNS: usize = 8;
    let text = fs::read_to_string("/proc/stat")?;
    let label = format!("\ncpu{core} ");
    let (_, line) = text.split_once(&label).context("no such core in /proc/stat")?;
    let mut ticks = 0;
    for (column, word) in line.split_whitespace().take(COLUMNS).enumerate() {
        if !IDLE_AND_IO_WAIT.contains(&column) {
            ticks += word.parse::<u64>()?;
        }
    }
    Ok(ticks * 1_000_000_000 / rustix::param::clock_ticks_per_second())
}

/// Resident memory in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(number_after(&text, "Rss:")? * 1024)
}

/// Bytes that the process caused to be written to storage.
pub(crate) fn written_bytes(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    number_after(&text, "\nwrite_bytes:")
}

fn number_after(text: &str, label: &str) -> Result<u64> {
    let (_, rest) =
        text.split_once(label).with_context(|| format!("no {} in the kernel's answer", label.trim()))?;
    let number = rest.split_whitespace().next().context("no number follows")?;
    Ok(number.parse()?)
}

/// Who runs where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Division {
    /// One core for the broker, another for the generator.
    OneEach,
    /// Both for both, as on a machine where nobody is told where to run.
    Shared,
}

/// The two cores of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) broker: usize,
    pub(crate) generator: usize,
    pub(crate) division: Division,
}

impl Cores {
    /// The first two that this process may use.
    pub(crate) fn choose(division: Division) -> Result<Cores> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (Some(broker), Some(generator)) = (cores.next(), cores.next()) else {
            bail!("a broker and a generator need a core each: fewer than two may be used");
        };
        Ok(Cores { broker, generator, division })
    }

    /// Runs `work` on the broker's core, for the sake of the processes that it starts there, and comes back.
    pub(crate) fn on_broker_core<T>(self, work: impl FnOnce() -> T) -> Result<T> {
        if self.division == Division::Shared {
            return Ok(work());
        }
        pin(self.broker)?;
        let result = work();
        self.pin_generator()?;
        Ok(result)
    }

    pub(crate) fn pin_generator(self) -> Result<()> {
        if self.division == Division::Shared {
            let mut both = CpuSet::new();
            both.set(self.broker);
            both.set(self.generator);
            return sched_setaffinity(None, &both).context("pinning to two cores");
        }
        pin(self.generator)
    }
}

fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("pinning to core {core}"))
}

/// Raises the limit of open files as far as it goes, for this process and those that it starts, and says where it is.
pub(crate) fn raise_open_files() -> Result<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.current.unwrap_or(u64::MAX))
}

/// Whether syncs to this folder cost nothing, which flatters whoever syncs.
pub(crate) fn is_in_memory(folder: &Path) -> Result<bool> {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    Ok(rustix::fs::statfs(folder)?.f_type == TMPFS_MAGIC)
}

/// Processor, kernel and load, on one line.
pub(crate) fn machine() -> String {
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    let cores = cpu_info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}, load {load}", kernel.trim())
}
