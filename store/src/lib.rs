//! Postgres: where tickets, decisions, audit and outbox commit together.
//!
//! Six logins share the work and none has more than it needs: `dispatch_owner` migrates,
//! `dispatch_app` runs commands under forced row-level security, `dispatch_relay` delivers the
//! outbox, `dispatch_comms` sends messages, `dispatch_maintenance` reads everything to verify and
//! seal it, `dispatch_reader` reads what was recorded to replay it. See [`bootstrap`].
//!
//! Queries are plain SQL, checked by the tests against a real server; the command transaction is
//! two SQL functions in `migrations/`, so that a command costs four round trips.

pub mod audit;
pub mod bootstrap;
pub mod bundles;
pub mod command;
pub mod control;
pub mod deployment;
mod error;
pub mod failpoint;
pub mod heads;
pub mod leases;
pub mod login;
pub mod migrate;
pub mod outbox;
mod pool;
pub mod read;
pub mod rights;
pub mod seal;
pub mod seed;
pub mod sending;
pub mod session;
mod tenant_tx;
pub mod tenants;
pub mod verify;
mod wake;

pub use bootstrap::bootstrap;
pub use error::Error;
pub use migrate::{MIGRATOR, migrate};
pub use pool::{PoolSettings, connect};
pub use tenant_tx::TenantTx;
pub use wake::{OUTBOX_CHANNEL, OutboxWaker};
