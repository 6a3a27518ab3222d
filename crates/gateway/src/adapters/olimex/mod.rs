//! OLIMEX IoT: nodes whose firmware dials us (WebSocket, or one POST for each event), and the
//! pages that were made for that system's own server.

mod commands;
mod login;
mod mapping;
mod node;
mod nodes;
mod post;

pub(crate) use node::serve;
pub(crate) use nodes::Nodes;
pub(crate) use post::LastPosts;
pub(super) use post::routes;
