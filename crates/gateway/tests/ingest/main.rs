//! What devices do over plain HTTP, on the router itself, with a hub in memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod commands;
mod lines;
mod packed;
mod publish;
mod query;
mod radio;
mod store;
mod streams;
mod telemetry;
mod thingsboard;
mod world;
