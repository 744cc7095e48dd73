//! Logs: structured, to stderr, so that stdout stays what a command answers.

use std::{fs::File, io::IsTerminal, sync::Arc};

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Where logs go.
#[derive(Debug)]
pub enum Destination {
    /// To stderr.
    Stderr,
    /// To a file: the screen is kept for progress.
    File(File),
}

/// Sets the process's log up. `RUST_LOG` decides what is logged; without it `quiet` does.
pub fn init(format: LogFormat, destination: Destination, quiet: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet));
    let registry = tracing_subscriber::registry().with(filter);
    // Fails only when a log was set up before, which a test may have done.
    let _ = match (format, destination) {
        (LogFormat::Json, Destination::Stderr) => registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .try_init(),
        (LogFormat::Json, Destination::File(file)) => registry
            .with(fmt::layer().json().with_writer(Arc::new(file)))
            .try_init(),
        (LogFormat::Text, Destination::Stderr) => registry
            .with(
                fmt::layer()
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        (LogFormat::Text, Destination::File(file)) => registry
            .with(fmt::layer().with_ansi(false).with_writer(Arc::new(file)))
            .try_init(),
    };
}
