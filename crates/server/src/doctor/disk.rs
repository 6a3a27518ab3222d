//! The data directory and the disk under it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use roost_hub::time::Clock as _;

use super::Finding;
use crate::config::Config;
use crate::serve::SystemClock;

/// Below this much room, a warning.
const ROOM_WARNING: u64 = 2 << 30;
/// Below this much room, writes are soon refused.
const ROOM_PROBLEM: u64 = 256 << 20;
/// How often a write is synced to see how long it takes.
const SYNCS: usize = 9;
/// As much as a batch of readings.
const SYNC_BYTES: usize = 4_096;
/// A sync that takes longer than this makes every acknowledgement slow.
const SYNC_WARNING: Duration = Duration::from_millis(50);

pub(super) fn look(config: &Config) -> Vec<Finding> {
    let data = config.data.as_path();
    // Before the first start, the disk is the one under the nearest directory that there is.
    let absolute = std::path::absolute(data).unwrap_or_else(|_no_directory| data.to_owned());
    let Some(there) = absolute.ancestors().find(|path| path.is_dir()) else {
        return vec![Finding::problem(
            "data",
            format!("{} cannot be reached", data.display()),
            "name another directory with --data",
        )];
    };
    vec![permissions(data, there), room(there), sync(there)]
}

fn permissions(data: &Path, there: &Path) -> Finding {
    let shown = data.display();
    if let Err(error) = tempfile_in(there) {
        return Finding::problem(
            "data",
            format!("{} cannot be written: {error}", there.display()),
            "give its owner the right to, or name another directory with --data",
        );
    }
    match std::fs::metadata(data) {
        Ok(found) if found.permissions().mode() & 0o007 != 0 => Finding::warning(
            "data",
            format!("{shown} is open to everybody on this machine"),
            format!("chmod 700 {shown}"),
        ),
        Ok(_) => Finding::good("data", format!("{shown} can be written")),
        Err(_not_there) => Finding::good("data", format!("{shown} is made at the first start")),
    }
}

/// A file without a name.
fn tempfile_in(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!(".roost-doctor-{}", std::process::id()));
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

fn room(there: &Path) -> Finding {
    let found = match rustix::fs::statvfs(there) {
        Ok(found) => found,
        Err(error) => {
            return Finding::warning("disk room", format!("cannot be told: {error}"), "look yourself");
        }
    };
    let room = found.f_bavail.saturating_mul(found.f_frsize);
    let text = format!("{} MiB free", room >> 20);
    match room {
        ..ROOM_PROBLEM => {
            Finding::problem("disk room", text, "make room: new readings are refused when the disk is full")
        }
        ROOM_PROBLEM..ROOM_WARNING => Finding::warning("disk room", text, "make room before it is full"),
        _ => Finding::good("disk room", text),
    }
}

fn sync(there: &Path) -> Finding {
    match sync_time(there) {
        Ok(time) if time > SYNC_WARNING => {
            let text = format!("{} ms for a write to be on the disk", time.as_millis());
            Finding::warning(
                "disk sync",
                text,
                "put the data on another disk: every acknowledgement waits for this",
            )
        }
        Ok(time) => Finding::good(
            "disk sync",
            format!("{:.1} ms for a write to be on the disk", time.as_secs_f64() * 1e3),
        ),
        Err(error) => Finding::warning(
            "disk sync",
            format!("cannot be measured: {error}"),
            "look at the line about data",
        ),
    }
}

/// The time in the middle of some.
fn sync_time(there: &Path) -> io::Result<Duration> {
    let mut file = tempfile_in(there)?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        let began = SystemClock.now();
        file.write_all(&[0; SYNC_BYTES])?;
        file.sync_data()?;
        times.push(SystemClock.now().saturating_duration_since(began));
    }
    times.sort();
    Ok(times.get(SYNCS / 2).copied().unwrap_or_default())
}
