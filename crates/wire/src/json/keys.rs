//! The names seen so far in one object, to find one given twice.

use std::borrow::Cow;
use std::collections::HashSet;

/// Up to this many names comparing is quicker than hashing.
const FEW: usize = 16;

/// A set that allocates nothing until used and hashes nothing while small.
/// The hash is keyed at random, so chosen names cannot make it slow.
#[derive(Debug, Default)]
pub(crate) struct Keys<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    /// Gives the name back if it is already there.
    pub(crate) fn insert(&mut self, key: Cow<'a, str>) -> Result<(), Cow<'a, str>> {
        if self.many.is_empty() {
            if self.few.contains(&key) {
                return Err(key);
            }
            if self.few.len() < FEW {
                self.few.push(key);
                return Ok(());
            }
            self.many.extend(self.few.drain(..));
        }
        if self.many.contains(&key) {
            return Err(key);
        }
        self.many.insert(key);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.few.len().max(self.many.len())
    }

    pub(crate) fn clear(&mut self) {
        self.few.clear();
        self.many.clear();
    }
}
