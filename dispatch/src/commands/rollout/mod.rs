//! `dispatch rollout`: how far software may go by itself, and whether it may go further.

mod args;
mod change;
mod ledger;
mod report;
mod show;

use contracts::Role;

pub use args::RolloutCommand;

use crate::{cli::Global, desk::Desk, exit::Failure};

/// Looks at stages, or changes one.
pub async fn run(global: &Global, command: RolloutCommand) -> Result<(), Failure> {
    let (connection, usual) = match &command {
        RolloutCommand::Show(args) => (&args.connection, Role::TenantAdmin),
        RolloutCommand::Ledger(args) => (&args.connection, Role::TenantAdmin),
        RolloutCommand::Report(args) => (&args.connection, Role::TenantAdmin),
        RolloutCommand::Promote(args) => (&args.connection, Role::TenantAdmin),
        RolloutCommand::Demote(args) => (&args.connection, Role::TenantAdmin),
        RolloutCommand::History(args) => (&args.connection, Role::TenantAdmin),
    };
    let desk = Desk::open(global, connection, usual)?;
    let result = match &command {
        RolloutCommand::Show(_) => show::stages(&desk).await,
        RolloutCommand::Ledger(args) => ledger::show(&desk, args).await,
        RolloutCommand::Report(args) => report::make(&desk, args).await,
        RolloutCommand::Promote(args) => change::promote(&desk, args).await,
        RolloutCommand::Demote(args) => change::demote(&desk, args).await,
        RolloutCommand::History(args) => show::history(&desk, args).await,
    };
    desk.ended(result)
}
