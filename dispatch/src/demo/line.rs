//! What the demo says, as data: the lines of `--json`, and what the text is made from.

use chrono::{DateTime, Utc};
use contracts::{
    ActorKind, ErrorCode, Operation, TicketId, TicketState,
    proposal::{Pairing, Proposal},
    sla::SlaClock,
};
use serde::Serialize;

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// A part of the story begins.
    Scene { title: &'static str },
    /// A command that took effect.
    Done {
        step: u32,
        who: String,
        kind: ActorKind,
        operation: Operation,
        before: Option<TicketState>,
        after: TicketState,
        version: u64,
        /// What it was about, for people.
        about: String,
    },
    /// A command that had to be refused, and was.
    Refused {
        step: u32,
        who: String,
        kind: ActorKind,
        operation: Operation,
        state: TicketState,
        code: ErrorCode,
        status: u16,
        detail: String,
        dry_run: bool,
    },
    /// Where the workflow can be watched.
    Workflow {
        ticket: TicketId,
        workflow_id: String,
        link: Option<String>,
    },
    /// What the workflow would do.
    Proposed {
        proposal: Box<Proposal>,
        /// The ranking in words, best first.
        words: Vec<String>,
    },
    /// What the person did about it.
    Paired { pairing: Pairing, words: String },
    /// The SLA clocks as of now.
    Clocks {
        now: DateTime<Utc>,
        clocks: Vec<SlaClock>,
    },
    /// A comparison at the end.
    Checked {
        what: String,
        ok: bool,
        detail: String,
    },
    /// The last line.
    Ended { ok: bool, steps: u32, seconds: f64 },
}
