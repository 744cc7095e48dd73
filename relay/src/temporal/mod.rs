//! Temporal as the relay uses it: raw calls of the workflow and operator service.
//!
//! Raw, because the SDK's typed client cannot carry all that a start needs here (time skipping,
//! a request id of our own), and without the SDK's retries: who waits after which error is decided
//! in one place, [`crate::delivery`].

mod connection;
mod executions;
mod schedule;
mod search_attributes;
mod signal;

pub use connection::{Temporal, TemporalConfig};
pub use executions::{ExecutionPage, Executions, Liveness};
pub use search_attributes::{SEARCH_ATTRIBUTES, SearchAttributesError, name};
pub use signal::{Dress, TicketSignal};
