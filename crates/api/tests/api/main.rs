//! The HTTP API as its callers see it, on a hub in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod bad_input;
mod broker;
mod commands;
mod decoders;
mod devices;
mod documents;
mod idempotency;
mod live;
mod people;
mod server;
mod telemetry;
mod twin;
mod walls;
mod world;
