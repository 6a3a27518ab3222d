//! The settings written out: as an annotated file, as the ones in force, as a page of the manual.

use super::given::{Given, Source};
use super::table::{Kind, SETTINGS, Setting};

/// The file that `roost config init` writes: everything at its default, commented out.
pub(crate) fn annotated() -> String {
    let mut out = "# Settings of roost. What is commented out shows the default.\n\
                   # Flags (--tls.cert) and the environment (ROOST_TLS_CERT) come before this file.\n"
        .to_owned();
    let mut current = "";
    for setting in SETTINGS {
        let (table, key) = setting.place();
        if table != current {
            push(&mut out, format_args!("\n[{table}]\n"));
            current = table;
        }
        push(
            &mut out,
            format_args!("\n# {}\n# {key} = {}\n", setting.text, literal(setting, setting.default)),
        );
    }
    out
}

/// What is in force, as a file that would set the same; secrets are left out.
pub(crate) fn listing(given: &Given) -> String {
    let mut out = String::new();
    let mut current = "";
    for setting in SETTINGS {
        let (table, key) = setting.place();
        if table != current {
            push(&mut out, format_args!("\n[{table}]\n"));
            current = table;
        }
        let text = given.text(setting.name);
        let value = match setting.kind {
            Kind::Secret if !text.is_empty() => "\"(hidden)\"".to_owned(),
            _ => literal(setting, text),
        };
        let from = match given.source(setting.name) {
            Source::Default => String::new(),
            Source::File(path, line) => format!("  # {}:{line}", path.display()),
            Source::Environment => format!("  # {}", setting.variable()),
            Source::Flag => format!("  # --{}", setting.name),
        };
        push(&mut out, format_args!("{key} = {value}{from}\n"));
    }
    out
}

/// A value as TOML.
fn literal(setting: &Setting, text: &str) -> String {
    match setting.kind {
        Kind::Count { .. } if !text.is_empty() => text.to_owned(),
        _ => toml::Value::String(text.to_owned()).to_string(),
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.push_str(&text.to_string());
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::file;

    /// The table of the manual.
    fn reference() -> String {
        let mut out = "| setting | environment | default | what |\n|---|---|---|---|\n".to_owned();
        for setting in SETTINGS {
            let default = match setting.default {
                "" => "unset".to_owned(),
                default => format!("`{default}`"),
            };
            let (name, variable, text) = (setting.name, setting.variable(), setting.text);
            push(&mut out, format_args!("| `{name}` | `{variable}` | {default} | {text} |\n"));
        }
        out
    }

    #[test]
    fn the_annotated_file_says_the_defaults() {
        let uncommented: String = annotated()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => rest,
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let mut given = Given::default();
        file::take(Path::new("roost.toml"), &uncommented, &mut given).unwrap();
        for setting in SETTINGS {
            assert_eq!(given.text(setting.name), setting.default, "{}", setting.name);
            assert!(given.is_set(setting.name), "{} is not in the file", setting.name);
        }
    }

    #[test]
    fn what_is_shown_sets_the_same_again() {
        let mut given = Given::default();
        file::take(Path::new("a"), "threads = 3\n[tls]\ncert = \"x \\\" y\"\n", &mut given).unwrap();
        let mut again = Given::default();
        file::take(Path::new("b"), &listing(&given), &mut again).unwrap();
        for setting in SETTINGS {
            assert_eq!(again.text(setting.name), given.text(setting.name));
        }
    }

    #[test]
    fn the_manual_lists_every_setting_with_its_default() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let (head, rest) = page.split_once("<!-- settings -->\n").unwrap();
        let (found, tail) = rest.split_once("<!-- end of settings -->").unwrap();
        let wanted = reference();
        if found != wanted {
            std::fs::write(&path, format!("{head}<!-- settings -->\n{wanted}<!-- end of settings -->{tail}"))
                .unwrap();
        }
        assert_eq!(found, wanted, "docs/configuration.md was not up to date; it is now");
    }
}
