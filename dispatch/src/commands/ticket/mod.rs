//! `dispatch ticket`: tickets for people at a terminal, and for scripts.
//!
//! Everything comes through the public API, so people see here what they may see, and nothing is
//! read around the tenant's walls. Only what a workflow itself knows is asked where it lives.

mod args;
mod id;
mod list;
mod proposals;
mod show;
mod timeline;
mod watch;

pub use self::{
    args::{Instant, TicketCommand, parse, parse_instant, parse_upper},
    id::resolve,
    list::due_words,
};
use crate::{cli::Global, desk::Desk, exit::Failure};
use contracts::Role;

/// Looks at tickets.
pub async fn run(global: &Global, command: TicketCommand) -> Result<(), Failure> {
    let connection = match &command {
        TicketCommand::List(args) => &args.connection,
        TicketCommand::Show(args) => &args.connection,
        TicketCommand::Timeline(args) => &args.connection,
        TicketCommand::Watch(args) => &args.connection,
        TicketCommand::Proposals(args) => &args.connection,
    };
    let desk = Desk::open(global, connection, Role::Dispatcher)?;
    let result = match command {
        TicketCommand::List(args) => list::run(&desk, &args).await,
        TicketCommand::Show(args) => show::run(&desk, &args).await,
        TicketCommand::Timeline(args) => timeline::run(&desk, &args).await,
        TicketCommand::Watch(args) => watch::run(&desk, &args).await,
        TicketCommand::Proposals(args) => proposals::run(&desk, &args).await,
    };
    desk.ended(result)
}
