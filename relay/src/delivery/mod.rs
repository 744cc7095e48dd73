//! From pending rows to signals.
//!
//! [`Pump`] is the loop; the rest are its pure parts: [`Tickets`] knows which ticket may be sent now,
//! [`Batch`] what goes into one signal, [`classify`] whose fault an error is, [`Breaker`] whether
//! anybody may call.

mod backoff;
mod batch;
mod breaker;
mod class;
mod gate;
mod pump;
mod tickets;

pub use backoff::Backoff;
pub use batch::{BadEvent, Batch, MAX_BYTES, MAX_EVENTS};
pub use breaker::{Breaker, Permission};
pub use class::{ErrorClass, TemporalError, classify};
pub use gate::Gate;
pub use pump::{Destination, Pump, PumpSettings, Sending};
pub use tickets::Tickets;
