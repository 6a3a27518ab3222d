//! Bytes to packets and back, and the state that one connection needs to follow
//! its protocol. No IO, no clock, no async; no input makes it panic.

pub mod coap;
pub mod decoder;
pub mod dialect;
pub mod dtls;
pub mod json;
pub mod lines;
pub mod mqtt;
pub mod olimex;
pub mod radio;
pub mod spot;
pub mod telemetry;
pub mod websocket;
