//! Policy: may this command pass, and if not, what would have to be different?
//!
//! A [`Bundle`] is an OPA-compatible directory or archive of Rego modules and data, signed where a
//! key is configured ([`Trust`]). It is identified by the SHA-256 of its content, checked as a whole
//! before it decides anything, and never changes afterwards, so a recorded decision can be computed
//! again from its input and its bundle's hash. Evaluation is a pure function: the builtins that a
//! bundle may call read neither clock nor randomness nor network ([`builtins`]), and a budget of
//! instructions bounds it.
//!
//! The one entry point is `data.dispatch.decision`. What it answers is decoded strictly: anything
//! but a well-formed decision is an [`EvaluationError`], and then there is no decision at all.

mod approvals;
mod archive;
mod autonomy;
mod bounds;
pub mod builtins;
mod bundle;
mod comms;
mod decision;
mod error;
mod evaluator;
mod files;
mod guards;
mod holders;
mod keys;
mod limits;
mod manifest;
mod programs;
mod reads;
mod roles;
mod schemas;
mod signature;
mod source;
mod starter;
mod structured;
mod templates;
mod tests_of_bundle;
mod trial;
mod values;

pub use bundle::Bundle;
pub use decision::primary_code;
pub use error::{BundleError, EvaluationError, SignatureError};
pub use files::BundleFiles;
pub use holders::{Held, Holders};
pub use keys::{SigningKey, VerificationKeys};
pub use limits::Peace;
pub use reads::Reads;
pub use roles::is_barred;
pub use signature::{AcceptedFiles, Trust};
pub use source::{BundleSource, DirectoryBundles, StarterBundles};
pub use tests_of_bundle::{TestOutcome, TestReport};
