//! What an accepted command leads to.

use chrono::{DateTime, Utc};
use contracts::{
    ApprovalId, FreeText, NoteId, ProposalId,
    approval::{Approval, Verdict},
    event::TicketChange,
    proposal::{Advice, AdvisorInput, PairingOutcome, ProposalKind},
    sla::SlaRecordKey,
    ticket::Ticket,
    value::Slug,
};

/// An accepted command: write all of it, in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// What happened, in order. A command of class `Change` emits exactly one workflow event, and
    /// it comes first; bookkeeping emits events for readers only.
    pub changes: Vec<TicketChange>,
    /// The ticket afterwards: the fold of the changes.
    pub ticket: Ticket,
    /// Rows beside the ticket.
    pub effects: Vec<Effect>,
}

/// A row to write beside the ticket.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask for a decision.
    OpenApproval(Approval),
    /// Decide a pending approval.
    DecideApproval {
        /// Which.
        id: ApprovalId,
        /// Yes or no.
        verdict: Verdict,
        /// Why.
        reason: Option<Slug>,
        /// When.
        at: DateTime<Utc>,
        /// Who.
        by: String,
    },
    /// The ticket ended before the approval was decided.
    WithdrawApproval(ApprovalId),
    /// Keep what a person wrote.
    WriteNote {
        /// Under which id.
        id: NoteId,
        /// The text: nowhere else.
        text: FreeText,
    },
    /// Keep an advice with all that it is based on.
    RecordProposal {
        /// Under which id.
        id: ProposalId,
        /// What it is about.
        kind: ProposalKind,
        /// The version of the ticket that it is about.
        based_on_version: u64,
        /// Everything the advisor looked at.
        input: Box<AdvisorInput>,
        /// What it says.
        advice: Advice,
    },
    /// Compare a proposal with what a person did.
    PairProposal {
        /// Which.
        id: ProposalId,
        /// How the two compare.
        outcome: PairingOutcome,
    },
    /// Keep an SLA warning or breach; the key is unique per ticket.
    RecordSla {
        /// Clock, kind and revision.
        key: SlaRecordKey,
        /// The deadline that passed.
        effective_at: DateTime<Utc>,
    },
}
