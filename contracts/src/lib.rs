//! The wire contract of Real Dispatch: every type that crosses a process boundary.
//!
//! HTTP bodies, outbox events, workflow signals, activity arguments and policy inputs are all
//! defined here and nowhere else, so that the API, the relay, the workflow and every client agree
//! by construction. The crate does no I/O, reads no clock and draws no randomness.
//!
//! Two decoding rules hold throughout. What a *caller sends us* is strict
//! (`deny_unknown_fields`): a typo must not be ignored silently. What *we send to a durable
//! workflow* is lenient ([`signal`]): an old worker has to survive a newer event.

pub mod actor;
pub mod approval;
pub mod autonomy;
pub mod canonical;
pub mod command;
pub mod comms;
pub mod directory;
pub mod event;
pub mod filing;
pub mod ids;
pub mod inbox;
pub mod kill_switch;
pub mod masking;
pub mod permission;
pub mod policy;
pub mod problem;
pub mod proposal;
pub mod read;
pub mod rollout;
pub mod schedule;
pub mod service_account;
pub mod signal;
pub mod sla;
pub mod template;
pub mod tenant;
pub mod ticket;
pub mod trace;
pub mod value;

pub use actor::{Actor, ActorKind, Role};
pub use command::{Command, Operation};
pub use event::TicketEvent;
pub use ids::*;
pub use permission::{ApiPermission, ReadPermission};
pub use problem::{ErrorCode, Problem};
pub use ticket::{Priority, TicketState};
pub use trace::{CorrelationId, TraceContext};
pub use value::{FreeText, PeerAddress, ProviderMessageId, RawPayload, Slug, TemplateId};
