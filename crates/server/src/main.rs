//! The program `roost`: configuration, command line, wiring, ordered shutdown.

mod cli;
mod client;
mod config;
mod doctor;
mod failure;
mod serve;
mod simulate;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
