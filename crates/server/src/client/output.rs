//! Printing what the server says: as a table for people, or as JSON for programs.

use std::io::{self, Write as _};

use serde_json::Value;

use crate::cli::Colour;
use crate::failure::Failure;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Columns for people
    Table,
    /// What the API answers
    Json,
}

/// A column: its head, and the member of each item that it shows.
pub(crate) type Column = (&'static str, &'static str);

/// Prints a list.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn print_list(output: Output, items: &[Value], columns: &[Column]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{}", Value::Array(items.to_vec()))?,
        Output::Table => {
            let heads = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
            let row = |item: &Value| {
                columns.iter().map(|(_, member)| cell(item.get(*member).unwrap_or(&Value::Null))).collect()
            };
            let rows: Vec<Vec<String>> = items.iter().map(row).collect();
            out.write_all(table(heads, &rows, Colour::of_stdout()).as_bytes())?;
        }
    }
    Ok(())
}

/// Prints one thing, member by member.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn print_item(output: Output, item: &Value) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match (output, item.as_object()) {
        (Output::Json, _) | (Output::Table, None) => writeln!(out, "{item}")?,
        (Output::Table, Some(members)) => {
            let width = members.keys().map(|name| name.chars().count()).max().unwrap_or_default();
            for (name, value) in members {
                writeln!(out, "{name:width$}  {}", cell(value))?;
            }
        }
    }
    Ok(())
}

/// A value as a cell. Control characters of foreign texts do not reach the terminal.
pub(crate) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(members) if members.is_empty() => String::new(),
        Value::Array(items) if items.is_empty() => String::new(),
        other => other.to_string(),
    };
    let plain = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    text.chars().map(plain).collect()
}

/// Columns divided by two spaces; nothing stands behind the last.
pub(crate) fn table(heads: Vec<String>, rows: &[Vec<String>], colour: Colour) -> String {
    let width = |index: usize| {
        let cells = rows.iter().chain([&heads]).filter_map(|row| row.get(index));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        line.trim_end().to_owned()
    };
    let head = format!("{}\n", colour.paint("1", &line(&heads)));
    let rows = rows.iter().flat_map(|row| [line(row), "\n".to_owned()]);
    [head].into_iter().chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["pump".to_owned(), "yes".to_owned()], vec!["a".to_owned(), String::new()]];
        let heads = vec!["ID".to_owned(), "ONLINE".to_owned()];
        assert_eq!(table(heads, &rows, Colour::Off), "ID    ONLINE\npump  yes\na\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\n")), "a\u{fffd}[2Jb\u{fffd}");
    }
}
