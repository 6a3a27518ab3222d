//! OLIMEX IoT: nodes whose firmware dials us (WebSocket, or one POST for each event), and the
//! pages and scripts that were made for that system's own server.

mod clients;
mod commands;
mod login;
mod mapping;
mod node;
mod nodes;
mod post;
mod scripts;

use std::sync::Arc;

use axum::Router;

use crate::shared::Shared;
pub(crate) use clients::serve as serve_page;
pub(crate) use node::serve;
pub(crate) use nodes::Nodes;
pub(crate) use post::LastPosts;

/// What is asked over HTTP, by nodes that post and by scripts.
pub(super) fn routes() -> Router<Arc<Shared>> {
    post::routes().merge(scripts::routes())
}
