//! Points as CSV (RFC 4180): `device,key,ts,value,quality`, `ts` in milliseconds since 1970.
//!
//! Texts are always quoted, so that the text `21.5` and the number can be told apart; a gap is an
//! empty field, an empty text is `""`. A text that a spreadsheet would take for a formula gets an
//! apostrophe in front; numbers keep their sign.

use std::io::{self, Write};

use roost_hub::reading::Value;

use crate::columns::quality_name;
use crate::query::Point;

pub(crate) const HEAD: &[u8] = b"device,key,ts,value,quality\r\n";

pub(crate) fn write_point(out: &mut impl Write, names: &str, point: &Point) -> io::Result<()> {
    write!(out, "{names},{},", point.ts.0)?;
    match &point.value {
        Value::Boolean(value) => write!(out, "{value}")?,
        Value::Integer(value) => write!(out, "{value}")?,
        Value::Unsigned(value) => write!(out, "{value}")?,
        Value::Number(value) => write!(out, "{value:?}")?,
        Value::Text(text) => out.write_all(quoted(text).as_bytes())?,
        Value::Gap => {}
    }
    write!(out, ",{}\r\n", quality_name(point.quality))
}

/// Device and key, as each line begins.
pub(crate) fn names(device: &str, key: &str) -> String {
    let field = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte));
        if plain && !text.is_empty() && !is_formula(text) { text.to_owned() } else { quoted(text) }
    };
    format!("{},{}", field(device), field(key))
}

fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}

fn quoted(text: &str) -> String {
    let apostrophe = if is_formula(text) { "'" } else { "" };
    format!("\"{apostrophe}{}\"", text.replace('"', "\"\""))
}
