//! The protocols by which devices come in.

pub(crate) mod coap;
pub(crate) mod decoders;
pub(crate) mod dialect;
pub(crate) mod dialects;
pub(crate) mod downlinks;
pub(crate) mod echo;
pub mod http;
pub(crate) mod influx;
pub(crate) mod live;
pub(crate) mod mqtt;
pub(crate) mod olimex;
pub(crate) mod readings;
pub(crate) mod said;
pub(crate) mod spot;
