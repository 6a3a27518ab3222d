//! CoAP: messages, requests, and an endpoint with its peers, most of them hostile.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

mod blocks;
mod decode;
mod endpoint;
mod observe;
mod properties;
mod seeds;
mod spoofed;
mod world;
