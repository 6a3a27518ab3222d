//! The doors from end to end, over real sockets on free ports, with a hub in memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod azure;
mod coap;
mod common;
mod decoders;
mod dialects;
mod downlinks;
mod durable;
mod http;
mod http_posts;
mod http_slow;
mod http_streams;
mod influx;
mod limits;
mod live;
mod login;
mod mqtt;
mod mqtt_bad_input;
mod olimex;
mod replay;
mod spot;
mod stream;
mod tls;
mod websocket;
