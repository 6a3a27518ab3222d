//! Keys of tables: letters, digits and `-/_=.` only, so that they fit every store.

use std::borrow::Borrow;
use std::fmt;
use std::fmt::Write as _;

/// The longest key, in bytes.
const KEY_LENGTH_MAX: usize = 1024;

/// A text that cannot be a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key: use 1 to 1,024 letters, digits and `-/_=.`")]
pub struct InvalidKey(pub String);

/// The name of a table entry, in levels divided by `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    /// [`InvalidKey`] when it is empty, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let fits = (1..=KEY_LENGTH_MAX).contains(&text.len())
            && text.bytes().all(|byte| is_plain(byte) || byte == b'/' || byte == b'=');
        if fits { Ok(Self(text.into())) } else { Err(InvalidKey(text.chars().take(64).collect())) }
    }

    /// Begins a key whose first level is the table's name.
    #[must_use]
    pub fn of(table: &'static str) -> KeyBuilder {
        KeyBuilder { text: table.to_owned() }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The levels, decoded: what was given to [`KeyBuilder::level`].
    pub fn levels(&self) -> impl Iterator<Item = String> + '_ {
        self.0.split('/').map(decode)
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

/// Builds a key level by level; foreign text is encoded so that it cannot leave its level.
#[derive(Clone, Debug)]
pub struct KeyBuilder {
    text: String,
}

impl KeyBuilder {
    /// Adds a level. Bytes beyond letters, digits and `-_.` are written as `=` and two hex digits;
    /// an empty level as a single `=`.
    #[must_use]
    pub fn level(mut self, text: &str) -> Self {
        self.text.push('/');
        if text.is_empty() {
            self.text.push('=');
        }
        for byte in text.bytes() {
            if is_plain(byte) {
                self.text.push(char::from(byte));
            } else if write!(self.text, "={byte:02x}").is_err() {
                unreachable!("writing into a string cannot fail");
            }
        }
        self
    }

    /// The text so far, ended by `/`: the prefix of everything below.
    #[must_use]
    pub fn prefix(mut self) -> String {
        self.text.push('/');
        self.text
    }

    /// The key.
    ///
    /// # Errors
    /// [`InvalidKey`] when it grew beyond 1,024 bytes.
    pub fn key(self) -> Result<Key, InvalidKey> {
        Key::parse(&self.text)
    }
}

fn decode(level: &str) -> String {
    if level == "=" {
        return String::new();
    }
    let mut bytes = Vec::with_capacity(level.len());
    let mut rest = level.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let digits: String = rest.by_ref().take(2).map(char::from).collect();
        bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_leave_its_level_and_comes_back_whole() {
        for text in ["", "a", "a/b", "../x", "=", "=2f", "ä€\u{1}", "A-_.z"] {
            let key = Key::of("t").level(text).level("end").key().unwrap();
            assert_eq!(key.as_str().matches('/').count(), 2, "{key}");
            let levels: Vec<String> = key.levels().collect();
            assert_eq!(levels, ["t", text, "end"]);
        }
    }

    #[test]
    fn a_key_has_few_characters_and_a_bound() {
        assert!(Key::parse("a/b=2f").is_ok());
        assert!(Key::parse("").is_err());
        assert!(Key::parse("a b").is_err());
        assert!(Key::of("t").level(&"x".repeat(2_000)).key().is_err());
    }
}
