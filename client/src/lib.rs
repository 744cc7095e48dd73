//! The typed client of dispatch-api: the one used by activities, the command line, the demo and
//! the tests.
//!
//! Its whole point is that *sending a command is safe to repeat*. A call draws one request id (or
//! takes the caller's) and sends it with each attempt, so an answer lost on the way is fetched
//! again instead of the command being done twice. Attempts are bounded by count and by time; what
//! still fails comes back as a [`ClientError`] that keeps the server's [`Problem`] whole.
//!
//! [`Problem`]: contracts::Problem

mod approvals;
mod call;
mod client;
mod commands;
mod comms;
mod control;
mod directory;
mod error;
mod export;
mod kill_switch;
mod policy;
mod polling;
mod proposals;
mod reads;
mod retry;
mod rollout;
mod service_accounts;
mod tenants;
mod token;

pub use approvals::ApprovalAnswer;
pub use call::CallOptions;
pub use client::{Client, KillWatch};
pub use control::Answer;
pub use error::ClientError;
pub use export::Export;
pub use policy::FilingAnswer;
pub use retry::RetryPolicy;
pub use service_accounts::draw_api_key;
pub use token::{TokenError, TokenProvider};
