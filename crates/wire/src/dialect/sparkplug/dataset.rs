//! A table in a metric, as JSON: `{"columns":["a"],"rows":[[1]]}`.

use std::borrow::Cow;

use serde_json::{Value as Json, json};

use super::payload::{Raw, raw, text};
use super::protobuf::{Content, Fields};
use super::value::scalar;
use crate::dialect::Unread;
use crate::telemetry::Value;

const CELLS_MAX: usize = 10_000;

pub(super) fn json(bytes: &[u8]) -> Result<Json, Unread> {
    let (mut columns, mut types, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let mut cells = 0_usize;
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (2, Content::Bytes(name)) => columns.push(text(name)?),
            (3, Content::Varint(datatype)) => types.push(datatype),
            (3, Content::Bytes(packed)) => {
                let mut packed = Fields::of(packed);
                while let Some(datatype) = packed.next_packed()? {
                    if types.len() >= CELLS_MAX {
                        return Err(too_large());
                    }
                    types.push(datatype);
                }
            }
            (4, Content::Bytes(row)) => rows.push(elements(row)?),
            _ => {}
        }
        // An empty row costs memory too.
        let added =
            rows.last().filter(|_| matches!(field, (4, _))).map_or(1, |row| row.len().saturating_add(1));
        cells = cells.saturating_add(added);
        if cells > CELLS_MAX {
            return Err(too_large());
        }
    }
    let type_of = |column: usize| types.get(column).and_then(|datatype| u32::try_from(*datatype).ok());
    let worded = |row: Vec<Option<Raw<'_>>>| -> Vec<Json> {
        let cells = row.into_iter().enumerate();
        cells.map(|(column, cell)| cell.map_or(Json::Null, |cell| value(type_of(column), cell))).collect()
    };
    let rows: Vec<Vec<Json>> = rows.into_iter().map(worded).collect();
    Ok(json!({ "columns": columns, "rows": rows }))
}

fn too_large() -> Unread {
    Unread(Cow::Owned(format!("a data set may have at most {CELLS_MAX} cells")))
}

fn elements(row: &[u8]) -> Result<Vec<Option<Raw<'_>>>, Unread> {
    let mut elements = Vec::new();
    let mut fields = Fields::of(row);
    while let Some(field) = fields.next()? {
        let (1, Content::Bytes(element)) = field else { continue };
        let mut value = None;
        let mut parts = Fields::of(element);
        while let Some((number, content)) = parts.next()? {
            if let 1..=6 = number {
                value = raw(number.saturating_sub(1), content)?.or(value);
            }
        }
        if elements.len() >= CELLS_MAX {
            return Err(too_large());
        }
        elements.push(value);
    }
    Ok(elements)
}

fn value(datatype: Option<u32>, raw: Raw<'_>) -> Json {
    match scalar(datatype, raw) {
        Some(Value::Number(value)) => value.into(),
        Some(Value::Integer(value)) => value.into(),
        Some(Value::Unsigned(value)) => value.into(),
        Some(Value::Boolean(value)) => value.into(),
        Some(Value::Text(text)) => Json::String(text.into_owned()),
        Some(Value::Gap) | None => Json::Null,
    }
}
