//! What an accepted command leads to.

use chrono::{DateTime, Utc};
use contracts::{
    ApprovalId, CommentId, ContactId, EvidenceId, FreeText, MessageId, NoteId, ProposalId,
    approval::{Approval, ApprovalState},
    command::AddEvidence,
    comms::{Channel, OnlyWhile, Purpose, Recipient, Routing},
    event::TicketChange,
    proposal::{Advice, AdvisorInput, PairingOutcome, ProposalKind},
    sla::SlaRecordKey,
    ticket::Ticket,
    value::Slug,
};

use crate::comms::Quiet;

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
    OpenApproval(Box<Approval>),
    /// Write an approval as it is now; it was read before, at the revision before this one.
    WriteApproval(Box<Approval>),
    /// An open approval ends, or is carried out, beside something else.
    SettleApproval {
        /// Which.
        id: ApprovalId,
        /// How.
        state: ApprovalState,
        /// Why.
        reason: Option<Slug>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Keep what was said about an approval.
    WriteComment {
        /// Under which id.
        id: CommentId,
        /// About which.
        approval_id: ApprovalId,
        /// The text: nowhere else.
        text: FreeText,
    },
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
        /// Whether they had read it before.
        seen: bool,
    },
    /// The actor has read a proposal: what software had asked for was before them.
    SeeProposal(ProposalId),
    /// Keep a documented fact.
    AddEvidence {
        /// Under which id.
        id: EvidenceId,
        /// What is known of it.
        evidence: AddEvidence,
    },
    /// Keep a message that came in about this ticket.
    ReceiveMessage {
        /// Under which id.
        id: MessageId,
        /// How it was found to belong here.
        routing: Routing,
        /// The person on record with the peer's address.
        contact_id: Option<ContactId>,
    },
    /// A held message belongs here.
    AttachMessage(MessageId),
    /// Queue a message; it is sent when it is due, if it is still wanted then.
    QueueMessage(OutboundMessage),
    /// Keep an SLA warning or breach; the key is unique per ticket.
    RecordSla {
        /// Clock, kind and revision.
        key: SlaRecordKey,
        /// The deadline that passed.
        effective_at: DateTime<Utc>,
    },
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    /// Under which id.
    pub id: MessageId,
    /// How.
    pub channel: Channel,
    /// What for.
    pub purpose: Purpose,
    /// To whom.
    pub recipient: Recipient,
    /// What it says; a notice has no text of its own.
    pub text: Option<FreeText>,
    /// Not before.
    pub due_at: DateTime<Utc>,
    /// What must still be so then.
    pub only_while: OnlyWhile,
    /// When it must not leave, however late it is; none where nothing binds it.
    pub quiet: Option<Quiet>,
}
