//! The Temporal worker process: what is registered, under which version, with how many pollers.
//!
//! [`run`] is the process. [`promote`] makes its version the one that tasks go to; nothing runs
//! before that has been done once. [`search_attributes`] prepares a namespace, [`status`] tells
//! whether somebody serves it.
//!
//! Versions: every worker belongs to one deployment and says a build id that follows the workflow
//! code ([`Version::of_this_build`]). Workflows move to the current version by themselves
//! (AUTO_UPGRADE); that this is safe is the business of replay tests and of `patched`.

mod config;
mod deployment;
mod error;
mod run;
pub mod search_attributes;

pub use config::{Version, WorkerConfig};
pub use deployment::{Status, promote, status};
pub use error::WorkerError;
pub use run::{options, run};
