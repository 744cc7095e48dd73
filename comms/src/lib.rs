//! The sender: outbound messages, from the queue to the endpoint that brings them to people.
//!
//! **One send per key, where the receiver honours keys.** A message's id is its key, the same in each
//! try (`webhook-id`). A try is committed to the ledger before it is made, so a crash at any moment
//! leaves a try without an end, which the next sender finds and judges. A receiver that remembers
//! keys may be asked again whenever the outcome of a try is unknown; one that does not is asked
//! again only when the try surely did not arrive, unless its endpoint says otherwise
//! ([`OnUnknown`]). Which it was stands in the ledger with each try.
//!
//! **No message after its reason is gone.** What a message depends on is asked in the same
//! transaction that writes the try down: a reminder of an approval that was decided is withdrawn.
//!
//! Between messages there is no order. Scale-out is more senders; they skip what another has.
//! Nothing listens: messages are not in a hurry of milliseconds, and an idle sender asks one indexed
//! question a second.

use std::error::Error;

mod adapter;
mod config;
mod metrics;
mod pages;
pub mod receiver;
mod run;
mod sender;
mod verdict;
mod webhook;

pub use adapter::{Adapter, Reply};
pub use config::{Backoff, CommsConfig, Endpoint, InvalidEndpoint, OnUnknown, Secret, Tuning};
pub use run::{CommsError, run};
pub use webhook::Webhook;

/// For log fields: prints the error and, beside it, what caused it.
fn with_causes<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    error
}
