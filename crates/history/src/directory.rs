//! The directory of history files: `{tenant}/{day}/{file}`, and `.position`, which says up to
//! where in the log the files go. (No tenant's name starts with a dot.)
//!
//! Files are written first and `.position` last, so a file beyond it is of a write that was cut
//! short; it is removed at the next start and written again from the log.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roost_hub::id::TenantId;
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::file::{self, HistoryFile};
use crate::history::{FlushError, OpenError};
use crate::tail::{Tail, TenantRows};

const POSITION_FILE: &str = ".position";
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    position: u64,
}

/// The files of every tenant.
pub(crate) type Files = HashMap<TenantId, Vec<Arc<HistoryFile>>>;

#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Makes the directory if there is none, removes what a crash left, and lists the rest.
    pub(crate) fn open(root: &Path) -> Result<(Self, Position, Files), OpenError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        fs::create_dir_all(root).map_err(at(root))?;
        let position = read_position(&root.join(POSITION_FILE))?;
        let mut files = Files::new();
        for (tenant, folder) in folders(root).map_err(at(root))? {
            let Ok(tenant) = TenantId::parse(&tenant) else { continue };
            let mut found = Vec::new();
            for (_, day) in folders(&folder).map_err(at(&folder))? {
                found.extend(list(&day, position).map_err(at(&day))?);
            }
            files.insert(tenant, found);
        }
        Ok((Self { root: root.to_owned() }, position, files))
    }

    /// Writes a file for each tenant in `tail`; all of them are durable when this returns.
    pub(crate) fn write(
        &self,
        tail: &Tail,
        filed: Timestamp,
    ) -> Result<Vec<(TenantId, Arc<HistoryFile>)>, FlushError> {
        let mut written = Vec::new();
        for rows in tail.in_file_order() {
            let folder = self.root.join(rows.tenant.as_str()).join(day(filed));
            let file = self.write_one(&folder, tail, &rows)?;
            written.push((rows.tenant.clone(), Arc::new(file)));
        }
        Ok(written)
    }

    fn write_one(
        &self,
        folder: &Path,
        tail: &Tail,
        rows: &TenantRows<'_>,
    ) -> Result<HistoryFile, FlushError> {
        let name = HistoryFile::name(tail.from, tail.to, rows.ts_min, rows.ts_max);
        let path = folder.join(&name);
        let io = |source| FlushError::Io { path: path.clone(), source };
        fs::create_dir_all(folder).map_err(io)?;
        let draft = folder.join(format!(".{name}"));
        let file = File::create(&draft).map_err(io)?;
        let done = file::write(&file, tail, rows)
            .map_err(|source| FlushError::Parquet { path: path.clone(), source })
            .and_then(|()| file.sync_all().map_err(io))
            .and_then(|()| fs::rename(&draft, &path).map_err(io));
        if let Err(error) = done {
            // What is left of it would only take room; the next attempt writes over it anyway.
            drop(fs::remove_file(&draft));
            return Err(error);
        }
        let up_to_root = folder.ancestors().take_while(|folder| folder.starts_with(&self.root));
        for folder in up_to_root {
            sync_folder(folder).map_err(io)?;
        }
        Ok(HistoryFile { path, to: tail.to, ts_min: rows.ts_min, ts_max: rows.ts_max })
    }

    /// Says that the files go up to `position`; durable when this returns.
    pub(crate) fn set_position(&self, position: Position) -> Result<(), FlushError> {
        let path = self.root.join(POSITION_FILE);
        let draft = self.root.join(".position.draft");
        let write = || -> io::Result<()> {
            let mut file = File::create(&draft)?;
            let manifest = Manifest { format: FORMAT, position: position.0 };
            file.write_all(&serde_json::to_vec(&manifest)?)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            sync_folder(&self.root)
        };
        write().map_err(|source| FlushError::Io { path: path.clone(), source })
    }
}

fn read_position(path: &Path) -> Result<Position, OpenError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Position(0)),
        Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }),
    };
    match serde_json::from_slice::<Manifest>(&bytes) {
        Ok(Manifest { format: FORMAT, position }) => Ok(Position(position)),
        Ok(_) | Err(_) => Err(OpenError::Manifest(path.to_owned())),
    }
}

fn folders(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

/// The history files of a day; drafts and files beyond `position` are removed.
fn list(day: &Path, position: Position) -> io::Result<Vec<Arc<HistoryFile>>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(day)? {
        let path = entry?.path();
        let is_draft = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_draft && path.extension().is_some_and(|end| end == "parquet") {
            fs::remove_file(&path)?;
            continue;
        }
        match HistoryFile::parse(path) {
            Some(file) if file.to > position => fs::remove_file(&file.path)?,
            Some(file) => found.push(Arc::new(file)),
            None => {}
        }
    }
    Ok(found)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The day of a time in UTC, as in `2026-07-31`.
fn day(time: Timestamp) -> String {
    let date = OffsetDateTime::from_unix_timestamp(time.0.div_euclid(1_000))
        .map_or(OffsetDateTime::UNIX_EPOCH.date(), OffsetDateTime::date);
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}
