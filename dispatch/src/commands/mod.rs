//! One file per subcommand.

pub mod api;
pub mod api_key;
pub mod approvals;
pub mod comms;
pub mod completions;
pub mod config;
pub mod decisions;
pub mod demo;
pub mod doctor;
pub mod import;
pub mod killswitch;
pub mod messages;
pub mod migrate;
pub mod openapi;
pub mod policy;
pub mod proposals;
pub mod relay;
pub mod rollout;
pub mod shadow;
pub mod tenant;
pub mod ticket;
pub mod token;
pub mod verify;
pub mod worker;

use std::io::Write;

use crate::{
    cli::Global,
    config::{Config, Sources},
    exit::Failure,
};

/// The configuration for a command.
fn load(global: &Global, flags: Vec<(&'static str, String)>) -> Result<Config, Failure> {
    Config::load(&Sources {
        flags,
        ..Sources::new(global)
    })
}

/// Prints to stdout. A closed pipe (`… | head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON document.
pub fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    print(&(text + "\n"))
}
