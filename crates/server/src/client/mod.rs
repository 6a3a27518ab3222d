//! The commands that talk to a running server over its HTTP API.

pub(crate) mod decode;
pub(crate) mod device;
pub(crate) mod history;
mod http;
pub(crate) mod inbox;
mod output;
pub(crate) mod retained;
pub(crate) mod send;
pub(crate) mod session;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod user;

pub(crate) use http::{Api, Connection, encoded};
pub(crate) use output::{Column, Output, print_item, print_list, table};
