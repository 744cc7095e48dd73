//! Deterministic workflows of Real Dispatch: one [`TicketWorkflow`] beside each open ticket, and
//! short rounds of [`TenantControl`] for what is due without a ticket.
//!
//! The workflow follows the ticket, it does not run it: people and systems act through
//! dispatch-api, the workflow hears of it, keeps the SLA clocks and the plans of approvals, carries
//! out what people have released and asks for proposals, which it acts on as far as the stage lets
//! it. All it can do is in [`activity`], and dispatch-api asks stage and kill switch again at each.
//!
//! Everything worth arguing about is in plain modules without the SDK ([`ticket::inbox`],
//! [`ticket::follower`]); the SDK's shell around them ([`ticket::workflow`]) is thin.
//!
//! # Changing this crate
//! Open workflows replay their histories on the new code. What a history can see is the order and
//! kind of commands: local activities, timers, search attributes, continue-as-new. A change that
//! could alter them for an event that an old history holds goes behind
//! `ctx.patched("what-it-changes")` with the old branch kept until no open run is without the
//! marker; then `deprecate_patch`, then neither. The committed histories decide whether it could.
//! Texts (details, summaries) and new optional fields need no patch.
//!
//! | patch | since | what |
//! |---|---|---|
//! | [`ticket::backlog::EVERY_KIND`] | 0.2.0 | all advice that is due is asked for, in one call |
//! | [`ticket::backlog::APPROVALS`] | 0.3.0 | approvals are followed, and advice where it may be; met when the level first has something of it |
//! | [`ticket::backlog::ANSWERS`] | 0.4.0 | what answers say of the kill switches is adopted; met when one is newer than the level |
//! | [`ticket::backlog::HELD_BACK`] | 0.4.0 | what was approved and held back is tried again at another version of the ticket; met at the first such version |

pub mod activity;
pub mod control;
pub mod ticket;

pub use control::TenantControl;
pub use ticket::workflow::TicketWorkflow;

/// Hash over the sources that decide what a workflow does: the part of a worker's build id that
/// changes when its workflows do.
pub const CODE: &str = env!("WORKFLOW_CODE");
