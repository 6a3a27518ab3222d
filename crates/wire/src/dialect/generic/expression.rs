//! Regular expressions of a profile, with a bound on the work that they make. They take no more than linear
//! time, but that is the length of the text times the size of the expression, and both come from outside.

use std::borrow::Cow;

use regex_lite::{Regex, RegexBuilder};

use super::Unread;

/// The longest regular expression, in bytes.
const LENGTH_MAX: usize = 1_024;
/// How large a regular expression may become, in bytes.
const SIZE_MAX: usize = 256 * 1024;
/// The smallest size that is told apart; each further one is twice the one before.
const SIZE_MIN: usize = 1_024;
/// Bytes of text times bytes of expressions, in one message: 16 KiB are looked through for 16 ordinary
/// expressions. The worst ones take some tenths of a second to use it up.
const WORK_MAX: usize = 16 * 1_024 * 16 * SIZE_MIN;

/// One expression.
#[derive(Debug)]
pub(super) struct Expression {
    regex: Regex,
    /// At least what it takes when compiled, at most twice that.
    size: usize,
}

impl Expression {
    /// # Errors
    /// It is none, is too long, or becomes too large.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.len() > LENGTH_MAX {
            return Err(format!("a regular expression has at most {LENGTH_MAX} bytes"));
        }
        let mut size = SIZE_MIN;
        loop {
            match RegexBuilder::new(text).size_limit(size).build() {
                Ok(regex) => return Ok(Self { regex, size }),
                Err(error) if size >= SIZE_MAX => return Err(format!("{text:?}: {error}")),
                Err(_larger) => size = size.saturating_mul(2),
            }
        }
    }
}

/// The work that may still be done for one message.
#[derive(Debug)]
pub(super) struct Fuel(usize);

impl Fuel {
    pub(super) fn full() -> Self {
        Self(WORK_MAX)
    }

    /// What the expression's first group finds in the text, or all of it where it has none.
    ///
    /// # Errors
    /// The text is too long for what is looked for in it.
    pub(super) fn find<'t>(
        &mut self,
        expression: &Expression,
        text: &'t str,
    ) -> Result<Option<&'t str>, Unread> {
        let work = text.len().saturating_mul(expression.size);
        self.0 = self.0.checked_sub(work).ok_or(Unread(Cow::Borrowed(
            "the text is too long for the regular expressions of the profile",
        )))?;
        let captures = expression.regex.captures(text);
        let found = captures.and_then(|captures| captures.get(1).or_else(|| captures.get(0)));
        Ok(found.map(|found| found.as_str()))
    }
}
