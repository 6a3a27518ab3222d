//! Messages to a Spot.

use serde_json::{Map, Value};

/// Puts a message and its two line feeds behind what stands in `out`. There is
/// no line feed inside: the JSON is compact, and its strings escape theirs.
pub fn encode(resource: &str, action: &str, object: &Map<String, Value>, out: &mut Vec<u8>) {
    let parts = (resource, action, object);
    out.extend_from_slice(&serde_json::to_vec(&parts).unwrap_or_default());
    out.extend_from_slice(b"\n\n");
}
