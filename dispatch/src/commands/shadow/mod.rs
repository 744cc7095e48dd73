//! `dispatch shadow`: what software would have proposed, and the policy decided.

pub mod record;
mod replay;

use clap::Subcommand;

use crate::{cli::Global, exit::Failure};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ShadowCommand {
    /// Replays recorded tickets with today's advisors and a bundle of your choice
    ///
    /// Changes nothing: it reads as a login that cannot write. The same record gives the same bytes.
    /// Writes proposals.jsonl, decisions.jsonl, report.html and, last, summary.json.
    Replay(replay::ReplayArgs),
}

/// Does it.
pub async fn run(global: &Global, command: ShadowCommand) -> Result<(), Failure> {
    match command {
        ShadowCommand::Replay(args) => replay::run(global, &args).await,
    }
}
