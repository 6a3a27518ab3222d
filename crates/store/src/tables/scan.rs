//! Scans: the file's entries in order, with the unsaved ones over them.

use std::ops::Bound;

use roost_hub::storage::{Entry, Key, Page, StorageError};

use super::{SnapshotOf, State, Tables, entry_of_row, unreadable};
use crate::log::lock;

/// Where a scan begins and what its keys begin with.
#[derive(Clone, Copy)]
struct Part<'a> {
    prefix: &'a str,
    start: Bound<&'a str>,
}

impl State {
    /// The unsaved entries of a part in order: as many as a page of `limit` entries can need.
    fn unsaved_page(&self, part: Part<'_>, limit: usize) -> Vec<(String, Option<Entry>)> {
        let mut living = 0;
        self.unsaved
            .range::<str, _>((part.start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(part.prefix))
            .take_while(|(_, unsaved)| {
                let is_needed = living < limit;
                living += usize::from(unsaved.entry.is_some());
                is_needed
            })
            .map(|(key, unsaved)| (key.to_string(), unsaved.entry.clone()))
            .collect()
    }
}

impl Tables {
    pub(super) fn scan_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StorageError> {
        let start = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let part = Part { prefix, start };
        let (unsaved, snapshot) = {
            let state = lock(&self.state);
            (state.unsaved_page(part, limit), state.snapshot.clone())
        };
        merge(unsaved, &snapshot, part, limit)
    }
}

fn merge(
    unsaved: Vec<(String, Option<Entry>)>,
    snapshot: &SnapshotOf,
    part: Part<'_>,
    limit: usize,
) -> Result<Page, StorageError> {
    let mut page = Page::new();
    let mut unsaved = unsaved.into_iter().peekable();
    let mut saved = snapshot.0.range::<&str>((part.start, Bound::Unbounded)).map_err(unreadable)?;
    let mut next_saved = || match saved.next().transpose().map_err(unreadable)? {
        Some((key, row)) if key.value().starts_with(part.prefix) => {
            Ok::<_, StorageError>(Some((key.value().to_owned(), entry_of_row(row.value())?)))
        }
        _ => Ok(None),
    };
    let mut of_file = next_saved()?;
    while page.len() < limit {
        let newer = unsaved.next_if(|(key, _)| of_file.as_ref().is_none_or(|(saved, _)| key <= saved));
        let (key, entry) = match (newer, of_file.take()) {
            (Some((key, entry)), saved) => {
                // The file has an older one under the same key, or a later key.
                of_file = match saved {
                    Some((saved, _)) if saved == key => next_saved()?,
                    saved => saved,
                };
                (key, entry)
            }
            (None, Some((key, entry))) => {
                of_file = next_saved()?;
                (key, Some(entry))
            }
            (None, None) => break,
        };
        if let Some(entry) = entry {
            page.push((Key::parse(&key).map_err(unreadable)?, entry));
        }
    }
    Ok(page)
}
