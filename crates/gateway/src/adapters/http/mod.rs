//! Devices that speak plain HTTP: telemetry in, commands out, publishing.
// (The "ingest" helper is writing this folder now; the gateway helper leaves it alone and does src/http/ and the WebSocket adapter.)
