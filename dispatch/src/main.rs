//! `dispatch`: the one binary.
//!
//! Each subcommand is a file in `commands/`, but for the two with several parts: [`dev`], which
//! starts everything, and [`demo`], which plays a job. What the parts are started with is made from
//! the settings in [`parts`]; nothing else reads configuration.

mod cli;
mod commands;
mod config;
mod demo;
mod desk;
mod dev;
mod exit;
mod owner;
mod parts;
mod secret;
mod shutdown;
mod table;
mod telemetry;
mod temporal;
mod token;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, CliCommand, ConfigCommand},
    exit::Failure,
    telemetry::Destination,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return Failure::infrastructure(format!("cannot start threads: {error}")).report();
        }
    };
    let result = runtime.block_on(run(cli));
    // A blocking task (DNS, a file) must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    // One TLS implementation for all of us, chosen before anybody needs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Cli { global, command } = cli;
    if !matches!(command, CliCommand::Dev(_)) {
        let quiet = match command {
            CliCommand::Api(_)
            | CliCommand::Relay { .. }
            | CliCommand::Comms
            | CliCommand::Worker { .. } => "info",
            _ => "warn",
        };
        telemetry::init(global.log_format, Destination::Stderr, quiet);
    }
    match command {
        CliCommand::Dev(args) => dev::run(&global, &args).await,
        CliCommand::Demo(args) => commands::demo::run(&global, args).await,
        CliCommand::Approvals { command } => commands::approvals::run(&global, command).await,
        CliCommand::Ticket { command } => commands::ticket::run(&global, command).await,
        CliCommand::Proposals { command } => commands::proposals::run(&global, command).await,
        CliCommand::Rollout { command } => commands::rollout::run(&global, command).await,
        CliCommand::Decisions { command } => commands::decisions::run(&global, command).await,
        CliCommand::Policy { command } => commands::policy::run(&global, command).await,
        CliCommand::Shadow { command } => commands::shadow::run(&global, command).await,
        CliCommand::Messages { command } => commands::messages::run(&global, command).await,
        CliCommand::Killswitch { command } => commands::killswitch::run(&global, command).await,
        CliCommand::Tenant { command } => commands::tenant::run(&global, command).await,
        CliCommand::ServiceAccount { command } => {
            commands::api_key::accounts(&global, command).await
        }
        CliCommand::ApiKey { command } => commands::api_key::keys(&global, command).await,
        CliCommand::Import(args) => commands::import::run(&global, args).await,
        CliCommand::Api(args) => commands::api::run(&global, &args).await,
        CliCommand::Relay { command } => commands::relay::run(&global, command).await,
        CliCommand::Comms => commands::comms::run(&global).await,
        CliCommand::Worker { command } => commands::worker::run(&global, command).await,
        CliCommand::Migrate(args) => commands::migrate::run(&global, &args).await,
        CliCommand::Token(args) => commands::token::run(&global, &args),
        CliCommand::Doctor(args) => commands::doctor::run(&global, &args).await,
        CliCommand::Verify(args) => commands::verify::run(&global, &args).await,
        CliCommand::Openapi => commands::openapi::run(),
        CliCommand::Config {
            command: ConfigCommand::Show(args),
        } => commands::config::run(&global, &args),
        CliCommand::Completions { shell } => commands::completions::run(shell),
    }
}
