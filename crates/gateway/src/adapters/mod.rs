//! The protocols by which devices come in.

pub mod mqtt;
pub(crate) mod readings;
