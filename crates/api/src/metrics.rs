//! `/metrics` in the text format of Prometheus.

mod latest;

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use roost_hub::access::Action;

use crate::auth::Caller;
use crate::problem::Problem;
use crate::route::{Route, get};
use crate::state::{Api, Shared};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/metrics", show)
            .about("server", "What is counted, for Prometheus; with the operator's credential")
            .answers(200, "text/plain"),
        get("/api/v1/metrics", latest::show)
            .about("telemetry", "The newest numbers of the tenant's devices as gauges, for Prometheus")
            .query("max_age", "string", "How old a value may be to be shown; 1h by default")
            .query("label", "string", "Only devices with this label, as in the list of devices")
            .answers(200, "text/plain"),
    ]
}

async fn show(State(api): State<Shared>, caller: Caller) -> Result<Response, Problem> {
    caller.may(Action::ReadServer)?;
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, text(&api)).into_response())
}

fn text(api: &Api) -> String {
    let mut text = String::new();
    let mut line = |about: (&str, &str, &str), labels: &str, value: u64| {
        family(&mut text, about, [(labels, value)].into_iter());
    };
    for (name, kind, help, value) in api.hub.counters.all() {
        line((name, kind, help), "", value);
    }
    let version = format!("{{version=\"{}\",acks=\"{}\"}}", api.info.version, api.info.acks);
    line(("build_info", "gauge", "The program that runs"), &version, 1);
    let seconds = |milliseconds: i64| u64::try_from(milliseconds / 1_000).unwrap_or(0);
    let started = seconds(api.info.started_at.0);
    line(("start_time_seconds", "gauge", "When the server started, in seconds since 1970"), "", started);
    let broken = u64::from(api.hub.durability().broken().is_some());
    line(("store_broken", "gauge", "1 when the store takes no writes any more"), "", broken);
    let full = u64::from(api.hub.store().log.is_full());
    line(("store_full", "gauge", "1 while the disk has no room"), "", full);
    let position = api.hub.durability().position().0;
    line(("log_durable_position", "gauge", "Up to where the log is durable"), "", position);
    line(
        ("history_position", "gauge", "Up to where the log is in history files"),
        "",
        api.history.trim_position().0,
    );
    let limits = api.hub.refusals.all().map(|(limit, count)| (format!("{{limit=\"{limit}\"}}"), count));
    let about = ("limit_refusals_total", "counter", "How often somebody was refused or slowed by a limit");
    family(&mut text, about, limits);
    let doors = api.hub.doors.all().map(|(door, count)| (format!("{{protocol=\"{door}\"}}"), count));
    family(&mut text, ("open_connections", "gauge", "Open connections by protocol"), doors);
    text
}

/// All values of one name, each with its labels.
fn family<L: AsRef<str>>(
    text: &mut String,
    (name, kind, help): (&str, &str, &str),
    values: impl Iterator<Item = (L, u64)>,
) {
    let mut written = write!(text, "# HELP roost_{name} {help}.\n# TYPE roost_{name} {kind}\n");
    for (labels, value) in values {
        written = written.and_then(|()| writeln!(text, "roost_{name}{} {value}", labels.as_ref()));
    }
    debug_assert!(written.is_ok(), "writing into a string cannot fail");
}
