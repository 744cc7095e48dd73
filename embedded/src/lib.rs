//! Starts the real services that `dispatch dev`, the tests and the benchmarks
//! run against: PostgreSQL, PgBouncer, a Temporal server and the Open Policy Agent,
//! without Docker.
//!
//! All follow one pattern. First *resolve*: try the places a program may come
//! from in a fixed order and, when none has it, return [`MissingInfrastructure`]
//! which names all that was tried and what to install; nothing is skipped
//! silently. Then *start*: take the lock of the data folder, stop what a killed
//! parent left behind, spawn, and wait until the service answers. A service ends
//! with its handle ([`Postgres::shutdown`], [`TemporalServer::shutdown`], or
//! dropping it), and also when this process is killed: each child is watched by
//! a means that outlives us (see [`process`]).
//!
//! The crate depends on none of the workspace's own crates, so that any of them
//! can use it in tests.

mod cache;
mod error;
mod go;
pub mod oasdiff;
pub mod oidc;
pub mod opa;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
mod progress;
pub mod schemathesis;
#[cfg(test)]
mod scripts;
pub mod temporal;
mod version;

pub use cache::default_cache_dir;
pub use error::{EmbeddedError, MissingInfrastructure, required};
pub use oasdiff::Oasdiff;
pub use oidc::{Oidc, OidcProvider, OidcStart};
pub use opa::{Opa, OpaOptions, OpaServer};
pub use pgbouncer::{PgBouncer, PgBouncerOptions, PgBouncerServer, PoolerOptions};
pub use postgres::{Durability, Postgres, PostgresOptions, PostgresSource};
pub use progress::Progress;
pub use schemathesis::Schemathesis;
pub use temporal::{TemporalOptions, TemporalServer};
