//! One workflow beside each open ticket.

pub mod attributes;
pub mod backlog;
mod details;
pub mod follower;
pub mod inbox;
mod input;
pub mod workflow;

pub use input::TicketInput;
