//! The outbox relay: brings committed events to the workflows of their tickets.
//!
//! **Delivery is at least once, and in order per ticket.** An event is marked as delivered after
//! Temporal accepted the signal that carries it, so a crash in between sends it again; and a ticket's
//! next signal goes out after its last one is marked, so later events wait for earlier ones. Across
//! tickets there is no order. What makes an event take effect once is the receiver: each carries a
//! gapless `seq`, and a workflow skips what it has (`applied_seq`), keeps back what came too early,
//! and takes a snapshot when it cannot tell. Every other device in this crate (leases, request ids,
//! marks) saves work; none of them is needed for correctness.
//!
//! Four things run beside each other:
//! - the pump ([`delivery`]) moves pending rows of the partitions that this relay holds
//!   ([`leases`]), woken by `NOTIFY` and by a timer, which alone is the guarantee;
//! - the reconciler ([`reconcile`]) compares open tickets with running workflows and mends what
//!   events cannot;
//! - the teller has workflows look anew when a kill switch, a stage or the bundle changed;
//! - operators look and help by [`admin`].
//!
//! Scale-out is more relays: they share the partitions. Nothing here elects a leader.

use std::error::Error;

pub mod admin;
mod bounded;
mod config;
mod control;
pub mod delivery;
mod epoch;
mod http;
pub mod leases;
mod metrics;
pub mod reconcile;
mod run;
mod suspects;
pub mod temporal;

pub use config::{Environment, InvalidConfig, Mode, RelayConfig, Tuning};
pub use run::{RelayError, run};
pub use temporal::{Temporal, TemporalConfig};

/// For log fields: prints the error and, beside it, what caused it.
fn with_causes<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    error
}
