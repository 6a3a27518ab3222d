//! What no compiler and no lint holds: the shape of the repository. Each test names every offender at once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod documents;
mod manifests;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold what was built or fetched.
const FOREIGN: &[&str] = &[
    "target",
    "node_modules",
    "dist",
    ".git",
    "artifacts",
    "corpus",
    "seeds",
    "roost-data",
    ".pytest_cache",
];

/// A file of the repository: its path from the root, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file below `folder` (from the root) whose name ends in one of `endings`, in order.
fn files(folder: &str, endings: &[&str]) -> Vec<File> {
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    paths.sort();
    let wanted = paths.into_iter().filter(|path| endings.iter().any(|ending| path.ends_with(ending)));
    wanted.map(|path| File { text: fs::read_to_string(root().join(&path)).unwrap(), path }).collect()
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let is_foreign = FOREIGN.contains(&name.as_str()) || name.starts_with("target");
        if entry.file_type().unwrap().is_dir() && !is_foreign {
            walk(&entry.path(), found);
        } else if entry.file_type().unwrap().is_file() {
            found.push(entry.path().strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// The sources that people write here.
fn sources() -> Vec<File> {
    let folders = ["crates", "bench", "fuzz", "web", "e2e"];
    folders.iter().flat_map(|folder| files(folder, &[".rs", ".ts", ".svelte", ".mjs", ".py"])).collect()
}

#[track_caller]
fn none(offenders: &[String]) {
    assert!(offenders.is_empty(), "\n{}\n", offenders.join("\n"));
}
