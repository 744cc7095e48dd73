//! dispatch-api: the only way in which anything about a ticket changes.
//!
//! A request passes four stations. [`request`] names it, authenticates it and turns it into typed
//! values; a file of [`commands`] or [`reads`] says which operation it is; the [`pipeline`] decides
//! and writes in one transaction; [`problem`] words every refusal. The list of operations
//! ([`operations`]) makes both the router and the OpenAPI document, so the two cannot differ.
//!
//! HTTP is 1.1 in clear text: TLS ends in front of this process.

mod app;
pub mod bundles;
mod commands;
pub mod config;
mod cursor;
mod endpoint;
mod exports;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod identity;
pub mod limits;
mod login;
mod metrics;
mod net;
pub mod openapi;
mod pages;
#[cfg(test)]
mod permissions;
pub mod pipeline;
pub mod problem;
mod readiness;
mod reads;
mod request;
mod router;
mod server;
mod shapes;
mod unread;

pub use app::App;
pub use config::{ApiConfig, Limits, Secret, TokenConfig, Watched};
pub use cursor::CursorKeys;
pub use endpoint::{OperationInfo, PLAIN_PREFIX, PREFIX, PREFIXES, operations};
pub use limits::Quotas;
pub use login::UnfitLogin;
pub use router::{PUBLIC, router};
pub use server::{ServeError, Server, serve};
