//! What Roost knows and decides: who may say what, who gets it, what is remembered.
//!
//! It knows no protocol and no database, reads no clock and does no IO: time comes in as an
//! argument or through [`time::Clock`], storage stands behind [`storage::Log`] and
//! [`storage::Table`].

pub mod access;
pub mod broker;
pub mod changes;
mod checkpoint;
pub mod count;
pub mod document;
pub mod flight;
pub mod frames;
mod hub;
pub mod id;
pub mod inbox;
pub mod latest;
pub mod limit;
pub mod live;
pub mod mailbox;
pub mod message;
pub mod pace;
pub mod presence;
pub mod principal;
pub mod reading;
pub mod record;
pub mod registry;
pub mod speech;
pub mod storage;
pub mod stream;
pub mod time;
pub mod topic;
pub mod twin;

pub use hub::{Hub, OpenError, Ports, Rng, SessionFull, Settings};
