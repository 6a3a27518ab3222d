//! `/metrics` in the text format of Prometheus.

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
    ]
}

async fn show(State(api): State<Shared>, caller: Caller) -> Result<Response, Problem> {
    caller.may(Action::ReadServer)?;
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, text(&api)).into_response())
}

fn text(api: &Api) -> String {
    let mut text = String::new();
    let mut line = |(name, kind, help): (&str, &str, &str), labels: &str, value: u64| {
        let written = write!(
            text,
            "# HELP roost_{name} {help}.\n# TYPE roost_{name} {kind}\nroost_{name}{labels} {value}\n"
        );
        debug_assert!(written.is_ok(), "writing into a string cannot fail");
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
    text
}
