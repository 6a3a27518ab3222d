//! Routes that are promised for a later version: they answer 501, so that a client can tell them
//! from a typo.

use crate::auth::Caller;
use crate::problem::Problem;
use crate::route::{Route, delete, get, patch, post};

const SUMMARY: &str = "Not there yet: answers 501";

pub(crate) fn routes() -> Vec<Route> {
    let mut routes = vec![post("/api/v1/sql", not_yet), get("/api/v1/audit", not_yet)];
    for (all, one) in [
        ("/api/v1/rules", "/api/v1/rules/{id}"),
        ("/api/v1/sinks", "/api/v1/sinks/{id}"),
        ("/api/v1/apps", "/api/v1/apps/{id}"),
    ] {
        routes.extend([
            get(all, not_yet),
            post(all, not_yet),
            get(one, not_yet),
            patch(one, not_yet),
            delete(one, not_yet),
        ]);
    }
    routes
        .into_iter()
        .map(|route| route.about("later", SUMMARY).answers(501, "application/problem+json"))
        .collect()
}

async fn not_yet(_caller: Caller) -> Problem {
    Problem::not_yet("This version does not have it yet; docs/http.md lists what is missing.")
}
