//! The doors: every listener, TLS, the head of every HTTP connection, and the adapters behind them.
//! Nothing here reaches a store; the hub decides, this crate speaks.

pub mod adapters;
mod admission;
mod authenticate;
mod buffers;
mod door;
mod durable;
mod egress;
pub mod http;
mod listener;
mod network;
mod problem;
mod reactor;
mod settings;
mod shared;
mod stream;
mod timers;
mod tls;
mod turns;

pub use door::{ByteStream, MqttDoor};
pub use listener::{Gateway, ListenError, Protocol};
pub use network::{InvalidNetwork, Network};
pub use settings::{Settings, SpotCapture, TelemetryByQuery};
pub use tls::{Tls, TlsError};
