//! What was set, where, and what is wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::table::{Kind, SETTINGS, Setting, find, nearest};
use super::value;

/// The longest value that an error repeats, in characters.
const SHOWN_LENGTH_MAX: usize = 80;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody set it.
    Default,
    /// The file and the line in it.
    File(PathBuf, usize),
    /// A variable.
    Environment,
    /// The command line.
    Flag,
}

/// A configuration that does not stand: one line that names the key, the value and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The texts of all settings.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    values: BTreeMap<&'static str, (String, Source)>,
}

impl Default for Given {
    fn default() -> Self {
        let value = |setting: &Setting| (setting.name, (setting.default.to_owned(), Source::Default));
        Self { values: SETTINGS.iter().map(value).collect() }
    }
}

/// A value as an error may show it.
fn shown(kind: Kind, text: &str) -> String {
    if kind == Kind::Secret {
        return "(hidden)".to_owned();
    }
    let cut: String = text.chars().take(SHOWN_LENGTH_MAX).collect();
    format!("{cut:?}")
}

fn place(setting: &Setting, source: &Source) -> String {
    match source {
        Source::Default => setting.name.to_owned(),
        Source::File(path, line) => format!("{}:{line}: {}", path.display(), setting.name),
        Source::Environment => setting.variable(),
        Source::Flag => format!("--{}", setting.name),
    }
}

impl Given {
    /// Sets a value in place of the one before.
    ///
    /// # Errors
    /// It is not of the setting's kind.
    pub(crate) fn set(&mut self, setting: &Setting, text: String, source: Source) -> Result<(), ConfigError> {
        if !value::is_valid(setting.kind, &text) {
            let (place, text) = (place(setting, &source), shown(setting.kind, &text));
            return Err(ConfigError(format!("{place} = {text}: {}", value::mend(setting.kind))));
        }
        self.values.insert(setting.name, (text, source));
        Ok(())
    }

    /// The text of a setting; empty for none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |(text, _)| text)
    }

    /// Where it comes from.
    pub(crate) fn source(&self, name: &str) -> &Source {
        self.values.get(name).map_or(&Source::Default, |(_, source)| source)
    }

    /// Whether somebody set it.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        *self.source(name) != Source::Default
    }

    /// The setting's value is of its kind and cannot be used all the same.
    pub(crate) fn refuse(&self, name: &str, mend: &str) -> ConfigError {
        let Some(setting) = find(name) else { return ConfigError(mend.to_owned()) };
        let (place, text) = (place(setting, self.source(name)), shown(setting.kind, self.text(name)));
        ConfigError(format!("{place} = {text}: {mend}"))
    }
}

/// There is no such setting; perhaps another was meant.
pub(crate) fn unknown(place: &str, name: &str) -> ConfigError {
    let hint = match nearest(name, SETTINGS.iter().map(|setting| setting.name)) {
        Some(near) => format!("did you mean {near}?"),
        None => "`roost config init` writes all that there are".to_owned(),
    };
    ConfigError(format!("{place}: unknown setting; {hint}"))
}
