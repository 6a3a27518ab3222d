//! The protocols by which devices come in.

pub mod http;
pub(crate) mod live;
pub(crate) mod mqtt;
pub(crate) mod readings;
pub(crate) mod said;
