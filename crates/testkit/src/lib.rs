//! The suites that every store and adapter must pass, and the simulated world they run in.
//! Never shipped.

pub mod sim_disk;
pub mod simulation;
pub mod store_suite;
pub mod world;
