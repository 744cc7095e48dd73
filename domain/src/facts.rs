//! What a decision depends on besides the ticket and the command.

use chrono::{DateTime, Utc};
use contracts::{
    ActorKind, ApprovalId, CommandId, CommentId, ContactId, EvidenceId, InvoiceId, MessageId,
    NoteId, ProposalId, Role, SiteId, TenantId, TicketId, TicketState, VisitId,
    approval::{Approval, ApprovalNeed},
    comms::{CommsRules, HoldReason},
    policy::{PolicyLoan, PolicyResult},
    proposal::{Advice, ProposalKind},
    schedule::WorkCalendar,
    sla::SlaRecordKey,
    template::IncidentTemplate,
};

use crate::{approval::Amended, comms::Peace};

/// Which ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TicketKey {
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Its id; for a creation the one it is to get.
    pub ticket_id: TicketId,
}

/// Ids that the decision may use, minted by the caller for each attempt. Unused ones are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreshIds {
    /// For a visit that is opened.
    pub visit: VisitId,
    /// For an approval that is asked for.
    pub approval: ApprovalId,
    /// For free text.
    pub note: NoteId,
    /// For advice that is recorded.
    pub proposal: ProposalId,
    /// For an invoice.
    pub invoice: InvoiceId,
    /// For evidence.
    pub evidence: EvidenceId,
    /// For a message that is taken in, or queued.
    pub message: MessageId,
    /// For what is said about an approval.
    pub comment: CommentId,
    /// For the notice that approvals have ended beside something else.
    pub ended: MessageId,
}

/// A proposal that no person's act was compared with yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenProposal {
    /// Its id.
    pub id: ProposalId,
    /// What it is about.
    pub kind: ProposalKind,
    /// The version of the ticket that it is about.
    pub based_on_version: u64,
    /// What it says.
    pub advice: Advice,
    /// Whether the actor has read it.
    pub seen: bool,
    /// Who recorded it; read where another proposal might take its place, and there only.
    pub by: Option<String>,
}

/// Where an inbound message belongs: what [`crate::comms::route`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To this open ticket.
    Attach {
        /// Which.
        ticket_id: TicketId,
        /// The person on record with the peer's address.
        contact_id: Option<ContactId>,
    },
    /// To a new ticket.
    Open {
        /// Where.
        site_id: SiteId,
        /// The person on record with the peer's address.
        contact_id: Option<ContactId>,
    },
    /// It came before.
    Duplicate {
        /// The first of its kind.
        first: MessageId,
        /// Where that one belongs.
        ticket_id: Option<TicketId>,
    },
    /// A person has to say.
    Hold {
        /// Why.
        reason: HoldReason,
        /// Tickets that it may belong to.
        candidates: Vec<TicketId>,
        /// The person on record with the peer's address.
        contact_id: Option<ContactId>,
    },
    /// The body says what cannot be.
    Unusable {
        /// Where: JSON pointer into the body.
        pointer: &'static str,
        /// What would be right.
        message: &'static str,
    },
}

/// Everything the caller read inside the transaction that holds the ticket's row lock.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The moment of the decision, in whole microseconds: that is what Postgres keeps, and a
    /// ticket must come back from there as it was decided.
    pub now: DateTime<Utc>,
    /// Fresh ids.
    pub ids: FreshIds,
    /// Who acts.
    pub actor_id: String,
    /// What sort of actor.
    pub actor_kind: ActorKind,
    /// What the actor may do.
    pub actor_roles: Vec<Role>,
    /// This attempt.
    pub command_id: CommandId,
    /// The ticket's template; for create and triage the one that the body names, if it names one.
    /// `None`: the active bundle has no such template.
    pub template: Option<IncidentTemplate>,
    /// The tenant's office hours.
    pub calendar: WorkCalendar,
    /// Whether the site named in the body exists; `true` when none is named. So for the next three.
    pub site_known: bool,
    /// The asset.
    pub asset_known: bool,
    /// The contact.
    pub contact_known: bool,
    /// The technician.
    pub technician_known: bool,
    /// The approval that the body names, if it exists.
    pub approval: Option<Approval>,
    /// Approvals of the same proposer that hold the very command that is to be held.
    pub asked_before: Vec<Approval>,
    /// State of the ticket to merge into, if it exists.
    pub merge_target: Option<TicketState>,
    /// The next invoice number, when the command may issue an invoice.
    pub invoice_number: Option<String>,
    /// The next credit note number, when the command may take an invoice back.
    pub credit_note_number: Option<String>,
    /// The ticket's proposals that were not paired yet.
    pub open_proposals: Vec<OpenProposal>,
    /// SLA warnings and breaches on record.
    pub sla_recorded: Vec<SlaRecordKey>,
    /// Where an inbound message belongs, by the rules.
    pub route: Option<Route>,
    /// Whether the message to attach exists and is held; `true` when none is named.
    pub message_held: bool,
    /// Whether the contact has an address on the channel that the body names; `true` when it names
    /// none.
    pub contact_reachable: bool,
    /// When the message that the command queues must not leave; none where nothing binds it.
    pub peace: Option<Peace>,
    /// The bundle's rules for messages.
    pub comms: CommsRules,
    /// Rights to decide that others lent to the actor.
    pub lent: Vec<PolicyLoan>,
    /// The held command as it shall be, for an amendment.
    pub amended: Option<Amended>,
    /// Who decides a change order, and what happens while nobody does.
    pub change_need: ApprovalNeed,
    /// What policy says to the change order that a last yes is about, with the votes that there are,
    /// when another bundle than the active one let it be asked for.
    pub change_anew: Option<PolicyResult>,
    /// `seq` of the ticket's last workflow event.
    pub event_seq: u64,
    /// The version that the caller saw.
    pub expected_version: Option<u64>,
}
