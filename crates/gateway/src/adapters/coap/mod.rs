//! Devices that speak CoAP. One task owns the socket of a door and all that its peers share; what a
//! request means is in [`resource`] and the files beside it.

mod actions;
mod commands;
mod conditions;
mod documents;
mod door;
mod dtls;
mod identify;
mod links;
mod mapping;
mod observing;
mod payload;
mod resource;
mod socket;

pub(crate) use door::{Door, Transport};
pub(crate) use socket::bind;
