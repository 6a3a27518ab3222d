//! `roost history`: what a device sent.

use std::io::{self, Write as _};

use clap::Args;
use roost_hub::time::Timestamp;
use serde_json::{Value, json};

use super::device::path;
use super::output::cell;
use super::{Connection, encoded, table};
use crate::cli::Colour;
use crate::failure::Failure;

/// How to print points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Columns for people
    Table,
    /// What the API answers
    Json,
    /// `ts,time,value`
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server
    #[arg(long, env = "ROOST_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// An API token
    #[arg(long, env = "ROOST_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// How to print
    #[arg(long, env = "ROOST_OUTPUT", value_enum, default_value = "table")]
    output: Form,
    /// Of which device
    device: String,
    /// Which key; all latest values without
    key: Option<String>,
    /// The earliest time, as 2026-11-21T00:00:00Z or milliseconds since 1970; a day ago without
    #[arg(long, allow_hyphen_values = true)]
    from: Option<String>,
    /// The end
    #[arg(long)]
    to: Option<String>,
    /// The width of a bucket, such as 1m
    #[arg(long)]
    every: Option<String>,
    /// mean, min, max, sum, count, first or last of a bucket
    #[arg(long)]
    agg: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let connection = Connection {
        url: arguments.url.clone(),
        token: arguments.token.clone(),
        output: super::Output::Table,
    };
    let (api, path) = (connection.api()?, path(&arguments.device));
    let Some(key) = &arguments.key else {
        let latest = api.json("GET", &format!("{path}/telemetry/latest"), None)?;
        return print_latest(arguments.output, &latest);
    };
    let wanted = [
        ("key", Some(key)),
        ("from", arguments.from.as_ref()),
        ("to", arguments.to.as_ref()),
        ("every", arguments.every.as_ref()),
        ("agg", arguments.agg.as_ref()),
    ];
    let wanted = wanted.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value?))));
    let query = wanted.collect::<Vec<_>>().join("&");
    let mut points = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut page = api.json("GET", &format!("{path}/telemetry?{query}{cursor}"), None)?;
        if let Some(found) = page.get_mut("points").and_then(Value::as_array_mut) {
            points.append(found);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={}", encoded(next)),
            None => break,
        }
    }
    print_points(arguments.output, key, &points)
}

fn ts_and_value(point: &Value) -> (i64, &Value) {
    let ts = point.get(0).and_then(Value::as_i64).unwrap_or_default();
    (ts, point.get(1).unwrap_or(&Value::Null))
}

fn print_points(form: Form, key: &str, points: &[Value]) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match form {
        Form::Json => writeln!(out, "{}", json!({ "key": key, "points": points }))?,
        Form::Csv => {
            writeln!(out, "ts,time,value")?;
            for (ts, value) in points.iter().map(ts_and_value) {
                writeln!(out, "{ts},{},{}", Timestamp(ts), csv_field(value))?;
            }
        }
        Form::Table => {
            let row = |(ts, value)| vec![Timestamp(ts).to_string(), cell(value)];
            let rows: Vec<_> = points.iter().map(ts_and_value).map(row).collect();
            let heads = vec!["TIME".to_owned(), key.to_uppercase()];
            out.write_all(table(heads, &rows, Colour::of_stdout()).as_bytes())?;
        }
    }
    Ok(out.flush()?)
}

fn print_latest(form: Form, latest: &Value) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let members = latest.as_object().into_iter().flatten();
    let row = |(key, found): (&String, &Value)| {
        let ts = found.get("ts").and_then(Value::as_i64).unwrap_or_default();
        let value = found.get("value").unwrap_or(&Value::Null);
        (key.clone(), Timestamp(ts).to_string(), value.clone())
    };
    let rows = members.map(row);
    match form {
        Form::Json => writeln!(out, "{latest}")?,
        Form::Csv => {
            writeln!(out, "key,time,value")?;
            for (key, time, value) in rows {
                writeln!(out, "{},{time},{}", csv_field(&key.into()), csv_field(&value))?;
            }
        }
        Form::Table => {
            let rows: Vec<_> = rows.map(|(key, time, value)| vec![key, time, cell(&value)]).collect();
            let heads = ["KEY", "TIME", "VALUE"].map(str::to_owned).to_vec();
            out.write_all(table(heads, &rows, Colour::of_stdout()).as_bytes())?;
        }
    }
    Ok(())
}

/// A field of RFC 4180.
fn csv_field(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}
