//! The ticket workflow on a real Temporal server, its activities answered from memory.
//!
//! The whole system is tested elsewhere, against the real dispatch-api. Here the question is what
//! the workflow does to Temporal: which events it writes, that it replays, sleeps, continues and
//! survives what comes.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests are the edge where time and ids come from"
)]

mod approvals;
mod control;
#[expect(
    dead_code,
    reason = "the SDK makes a constant of each activity, for callers by name"
)]
mod harness;
mod lifecycle;
mod outages;
mod time;
