//! What Roost knows and decides: who may say what, who gets it, what is remembered.
//!
//! It knows no protocol and no database, reads no clock and does no IO: time comes in as an
//! argument, storage comes in behind [`storage::Log`] and [`storage::Table`].

pub mod id;
pub mod message;
pub mod reading;
pub mod record;
pub mod storage;
pub mod time;
pub mod topic;
