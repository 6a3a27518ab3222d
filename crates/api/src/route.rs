//! The table of routes: what is served and what `/openapi.json` says are the same entries.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;

use crate::state::Shared;

/// Who answers a route.
pub(crate) enum Served {
    /// This crate.
    Here(Box<MethodRouter<Shared>>),
    /// The gateway, whose router the server merges with ours.
    Gateway,
}

/// A parameter in the query or a header.
pub(crate) struct Parameter {
    pub(crate) place: &'static str,
    pub(crate) name: &'static str,
    /// A JSON type.
    pub(crate) kind: &'static str,
    pub(crate) text: &'static str,
}

/// One route and what is to be known about it.
///
/// A content is the name of a schema (then it is JSON), a media type, or empty.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) request: &'static str,
    pub(crate) answers: Vec<(u16, &'static str)>,
    /// Whether it answers without a credential.
    pub(crate) is_open: bool,
    pub(crate) served: Served,
}

fn route(method: Method, path: &'static str, served: Served) -> Route {
    Route {
        method,
        path,
        tag: "",
        summary: "",
        parameters: Vec::new(),
        request: "",
        answers: Vec::new(),
        is_open: false,
        served,
    }
}

macro_rules! methods {
    ($($name:ident $method:ident,)*) => {
        $(pub(crate) fn $name<T: 'static>(path: &'static str, handler: impl Handler<T, Shared>) -> Route {
            route(Method::$method, path, Served::Here(Box::new(on(MethodFilter::$method, handler))))
        })*
    };
}

methods!(get GET, post POST, put PUT, patch PATCH, delete DELETE,);

/// A route that the gateway serves.
pub(crate) fn of_gateway(method: Method, path: &'static str) -> Route {
    route(method, path, Served::Gateway)
}

impl Route {
    /// The group in which it is shown, and one line about it.
    pub(crate) fn about(mut self, tag: &'static str, summary: &'static str) -> Self {
        (self.tag, self.summary) = (tag, summary);
        self
    }

    /// A parameter of the query.
    pub(crate) fn query(mut self, name: &'static str, kind: &'static str, text: &'static str) -> Self {
        self.parameters.push(Parameter { place: "query", name, kind, text });
        self
    }

    /// A header of the request.
    pub(crate) fn header(mut self, name: &'static str, text: &'static str) -> Self {
        self.parameters.push(Parameter { place: "header", name, kind: "string", text });
        self
    }

    /// `limit` and `cursor`.
    pub(crate) fn paged(self) -> Self {
        self.query("limit", "integer", "Items on a page, 1 to 1,000; 100 by default").query(
            "cursor",
            "string",
            "`next` of the page before",
        )
    }

    /// What is to be sent.
    pub(crate) fn takes(mut self, content: &'static str) -> Self {
        self.request = content;
        self
    }

    /// What comes back.
    pub(crate) fn answers(mut self, status: u16, content: &'static str) -> Self {
        self.answers.push((status, content));
        self
    }

    /// It answers without a credential.
    pub(crate) fn open(mut self) -> Self {
        self.is_open = true;
        self
    }
}

/// All routes, by noun.
pub(crate) fn all() -> Vec<Route> {
    [
        crate::me::routes(),
        crate::session::routes(),
        crate::setup::routes(),
        crate::devices::routes(),
        crate::credentials::routes(),
        crate::telemetry::routes(),
        crate::twin::routes(),
        crate::commands::routes(),
        crate::documents::routes(),
        crate::links::routes(),
        crate::inbox::routes(),
        crate::log::routes(),
        crate::live::routes(),
        crate::profiles::routes(),
        crate::decoders::routes(),
        crate::tokens::routes(),
        crate::users::routes(),
        crate::tenants::routes(),
        crate::broker::routes(),
        crate::server::routes(),
        crate::health::routes(),
        crate::metrics::routes(),
        crate::openapi::routes(),
        crate::gateway::routes(),
        crate::later::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The router of those routes that are served here.
pub(crate) fn router(routes: Vec<Route>) -> Router<Shared> {
    routes.into_iter().fold(Router::new(), |router, route| match route.served {
        Served::Here(served) => router.route(route.path, *served),
        Served::Gateway => router,
    })
}
