//! The program as its users see it: real processes, free ports, directories of their own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../src/simulate/mqtt.rs"]
mod mqtt;
mod start;
mod story;
mod support;
