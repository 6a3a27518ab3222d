//! Telemetry as history: reads the log, keeps what is not in files yet in memory, writes Parquet
//! files under `history/{tenant}/{day}/`, and answers queries from both.
//!
//! Whatever was durable in the log when a query was asked is in its answer. No reading is in two
//! files, and none is in a file and in memory.

mod aggregate;
mod columns;
mod csv;
mod directory;
mod export;
mod file;
mod history;
mod merge;
mod query;
mod recorder;
mod tail;

pub use aggregate::Aggregate;
pub use export::{Export, Format};
pub use history::{FlushError, FlushRule, History, OpenError};
pub use query::{Page, Point, Points, QueryError, Selection};
