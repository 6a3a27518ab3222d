//! The TOML file.

use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::given::{ConfigError, Given, Source, unknown};
use super::table::{Kind, find};

/// Takes everything that the file says.
///
/// # Errors
/// The file cannot be read, is no TOML, or says something that is no setting or no value of one.
pub(crate) fn read(path: &Path, given: &mut Given) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError(format!("--config {}: {error}; name a readable TOML file", path.display()))
    })?;
    take(path, &text, given)
}

/// Takes everything that the text says.
///
/// # Errors
/// See [`read`].
pub(crate) fn take(path: &Path, text: &str, given: &mut Given) -> Result<(), ConfigError> {
    let file = File { path, text };
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| file.line(&span));
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        ConfigError(format!("{}:{line}: not TOML: {message}", path.display()))
    })?;
    file.take_table("", table.get_ref(), given)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn take_table(&self, prefix: &str, table: &DeTable<'_>, given: &mut Given) -> Result<(), ConfigError> {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let line = self.line(&key.span());
            let Some(setting) = find(&name) else {
                if let (DeValue::Table(inner), "") = (value.get_ref(), prefix) {
                    self.take_table(&format!("{name}."), inner, given)?;
                    continue;
                }
                return Err(unknown(&format!("{}:{line}: {name}", self.path.display()), &name));
            };
            let text = written(value.get_ref()).ok_or_else(|| {
                let (path, kind) = (self.path.display(), super::value::mend(setting.kind));
                ConfigError(format!(
                    "{path}:{line}: {name}: a {} is no value here; {kind}",
                    value.get_ref().type_str()
                ))
            })?;
            if setting.kind == Kind::Secret && !text.is_empty() {
                self.check_is_private(&name, line)?;
            }
            given.set(setting, text, Source::File(self.path.to_owned(), line))?;
        }
        Ok(())
    }

    /// A file with a secret in it must not be everybody's to read.
    fn check_is_private(&self, name: &str, line: usize) -> Result<(), ConfigError> {
        let is_open = std::fs::metadata(self.path).is_ok_and(|found| found.permissions().mode() & 0o007 != 0);
        if !is_open {
            return Ok(());
        }
        let path = self.path.display();
        Err(ConfigError(format!(
            "{path}:{line}: {name} = (hidden): everybody can read this file; chmod 600 {path}"
        )))
    }
}

/// A value as a flag would write it; lists are divided by commas.
fn written(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            Some(items.collect::<Option<Vec<_>>>()?.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        take(Path::new("roost.toml"), text, &mut Given::default())
            .err()
            .map(|error| error.0)
            .unwrap_or_default()
    }

    #[test]
    fn x_10_what_is_wrong_in_a_file_is_said_in_one_line_with_its_number() {
        for (text, wanted) in [
            ("mqtt = \"off\"\nmqt = \"off\"\n", "roost.toml:2: mqt: unknown setting; did you mean mqtt?"),
            (
                "[tls]\ncertificate = \"x\"",
                "roost.toml:2: tls.certificate: unknown setting; `roost config init`",
            ),
            ("[tls]\n[tls.cert]\nx = 1", "roost.toml:2: tls.cert: a table is no value here"),
            ("\n\nhttp = 8080", "roost.toml:3: http = \"8080\": write HOST:PORT"),
            ("threads = 1.5", "roost.toml:1: threads: a float is no value here"),
            (
                "[limits]\nconnections = -1",
                "roost.toml:2: limits.connections = \"-1\": write a whole number from 1 to",
            ),
            (
                "[limits]\nsessions = \"many\"",
                "roost.toml:2: limits.sessions = \"many\": write a whole number",
            ),
            ("a = \n", "roost.toml:1: not TOML: "),
            ("mqtt = \"off\"\nmqtt = \"off\"", "roost.toml:2: not TOML: duplicate key"),
            ("\0\u{1}", "roost.toml:1: not TOML: "),
        ] {
            let found = error(text);
            assert!(found.starts_with(wanted), "{text:?}: {found}");
            assert!(!found.contains('\n'), "{found}");
        }
    }

    #[test]
    fn values_may_be_numbers_texts_and_lists() {
        let mut given = Given::default();
        let text =
            "threads = 4\ndial.allow = [\"10.0.0.0/8\", \"fd00::/8\"]\n[limits]\nbody_bytes = \"2MiB\"\n";
        take(Path::new("roost.toml"), text, &mut given).unwrap();
        assert_eq!(given.text("threads"), "4");
        assert_eq!(given.text("dial.allow"), "10.0.0.0/8,fd00::/8");
        assert_eq!(given.text("limits.body_bytes"), "2MiB");
        assert_eq!(*given.source("limits.body_bytes"), Source::File("roost.toml".into(), 4));
    }
}
