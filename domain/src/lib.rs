//! The pure core: what a command does to a ticket, when its promises are due, and what software
//! would have advised.
//!
//! Nothing here reads a clock, draws a random number or does I/O: the caller brings the moment,
//! the fresh ids and the facts, and gets back what to write. The same arguments always give the
//! same answer, so a decision can be tried as a dry run, tested by the thousand, and computed
//! again years later from what was stored.
//!
//! The heart is a fold. [`decide`] turns a command into [`TicketChange`]s or a [`Rejection`];
//! [`evolve`] is the only function that changes a ticket, and [`Decided::ticket`] is made by it.
//! Whoever folds the changes of a ticket's timeline therefore holds exactly the ticket that
//! dispatch-api stored.
//!
//! [`TicketChange`]: contracts::event::TicketChange

pub mod advisor;
pub mod approval;
pub mod autonomy;
pub mod calendar;
pub mod comms;
mod deadline;
mod decided;
pub mod explain;
mod facts;
pub mod filing;
mod level;
mod notices;
mod pairing;
mod rejection;
pub mod rollout;
pub mod sla;
pub mod ticket;

pub use advisor::advise;
pub use autonomy::Autonomy;
pub use deadline::next_deadline;
pub use decided::{Decided, Effect, OutboundMessage};
pub use facts::{Facts, FreshIds, OpenProposal, Route, TicketKey};
pub use filing::{
    AccountFacts, Filing, FilingFacts, KeyFacts, KillSwitch, KnownThing, TenantFacts,
};
pub use level::{advice_due, bare_level, escalations_due, level, waiting_for};
pub use pairing::{Acting, paired};
pub use rejection::{Obstacle, Rejection};
pub use ticket::{decide, evolve};

#[cfg(test)]
mod testing;
