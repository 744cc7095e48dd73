//! Commands: everything that can change a ticket.
//!
//! Each body refuses unknown fields. `request_id` and `expected_version` stand beside the fields of
//! the body on the wire and are taken off before the body is read (see `api`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    approval::Verdict,
    ids::*,
    proposal::{Advice, AdvisorInput},
    schedule::TimeWindow,
    sla::SlaRecordKind,
    ticket::{EvidenceRef, InvoiceLine, Part, Priority},
    value::{DetailValue, FreeText, Slug, TemplateId},
};

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $op:literal, $path:literal, $class:ident;)+) => {
        /// What is asked for. The order is that of a ticket's life.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(tag = "operation", content = "body")]
        pub enum Command {
            $($(#[$doc])* #[serde(rename = $op)] $name($name),)+
        }

        /// The name of a command: operation id in OpenAPI, scope of an idempotency key, subject of
        /// policy rules.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            JsonSchema, strum::Display, strum::EnumString, strum::VariantArray)]
        pub enum Operation {
            $($(#[$doc])* #[serde(rename = $op)] #[strum(serialize = $op)] $name,)+
        }

        impl Command {
            /// Which command it is.
            pub const fn operation(&self) -> Operation {
                match self { $(Self::$name(_) => Operation::$name,)+ }
            }
        }

        impl Operation {
            /// The path below `/api/v1`, with `{id}` for the ticket.
            pub const fn path(self) -> &'static str {
                match self { $(Self::$name => $path,)+ }
            }

            /// Whether the command is a record about the ticket rather than a change of it.
            pub const fn class(self) -> CommandClass {
                match self { $(Self::$name => CommandClass::$class,)+ }
            }
        }

        $(impl From<$name> for Command {
            fn from(body: $name) -> Self {
                Self::$name(body)
            }
        }

        impl CommandBody for $name {
            const OPERATION: Operation = Operation::$name;
        })+
    };
}

/// The body of one command: what a caller sends, and which operation it stands for.
pub trait CommandBody: Into<Command> + serde::de::DeserializeOwned + JsonSchema + Send {
    /// The operation.
    const OPERATION: Operation;
}

/// Whether a command raises the ticket's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandClass {
    /// Changes state or fields: version and `seq` rise, the workflow hears of it.
    Change,
    /// Writes beside the ticket: no version, no `seq`, so the workflow never hears its own echo.
    Bookkeeping,
}

commands! {
    /// Opens a ticket.
    CreateTicket = "create_ticket", "/tickets", Change;
    /// Sets priority, template and details.
    Triage = "triage", "/tickets/{id}/triage", Change;
    /// Offers a window for the current or the next visit.
    ProposeSchedule = "propose_schedule", "/tickets/{id}/schedule/propose", Change;
    /// The customer took the window.
    ConfirmSchedule = "confirm_schedule", "/tickets/{id}/schedule/confirm", Change;
    /// Another window; the assignment is released.
    Reschedule = "reschedule", "/tickets/{id}/schedule/reschedule", Change;
    /// Sends a technician.
    Dispatch = "dispatch", "/tickets/{id}/assignment/dispatch", Change;
    /// Takes the technician off.
    Unassign = "unassign", "/tickets/{id}/assignment/unassign", Change;
    /// The technician is under way.
    EnRoute = "en_route", "/tickets/{id}/tech/en-route", Change;
    /// The technician is there.
    CheckIn = "check_in", "/tickets/{id}/tech/check-in", Change;
    /// Nobody could get in.
    NoAccess = "no_access", "/tickets/{id}/tech/no-access", Change;
    /// More work than agreed: needs an approval.
    RequestChange = "request_change", "/tickets/{id}/tech/request-change", Change;
    /// Decides an approval.
    DecideApproval = "decide_approval", "/tickets/{id}/approval/decide", Change;
    /// Made safe for now; another visit is needed.
    ReturnVisit = "return_visit", "/tickets/{id}/tech/return-visit", Change;
    /// The work is done.
    Complete = "complete", "/tickets/{id}/tech/complete", Change;
    /// Quality is good.
    QaVerify = "qa_verify", "/tickets/{id}/qa/verify", Change;
    /// Quality is not good: another visit.
    QaReject = "qa_reject", "/tickets/{id}/qa/reject", Change;
    /// Charges for the work.
    GenerateInvoice = "generate_invoice", "/tickets/{id}/billing/generate-invoice", Change;
    /// Ends the ticket.
    Close = "close", "/tickets/{id}/close", Change;
    /// Opens an ended ticket again.
    Reopen = "reopen", "/tickets/{id}/reopen", Change;
    /// Calls the job off.
    Cancel = "cancel", "/tickets/{id}/cancel", Change;
    /// The same job as another ticket.
    Merge = "merge", "/tickets/{id}/merge", Change;
    /// The customer has to do something first: clocks pause.
    CustomerAwait = "customer_await", "/tickets/{id}/customer/await", Change;
    /// The customer did it: clocks run.
    CustomerResume = "customer_resume", "/tickets/{id}/customer/resume", Change;
    /// Writes a note.
    AddNote = "add_note", "/tickets/{id}/notes", Bookkeeping;
    /// Records what software would have done.
    RecordProposal = "record_proposal", "/tickets/{id}/proposals", Bookkeeping;
    /// Records an SLA warning or breach.
    RecordSla = "record_sla", "/tickets/{id}/sla/record", Bookkeeping;
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }
    )+};
}

bodies! {
    /// Opens a ticket.
    CreateTicket {
        /// Where.
        site_id: SiteId,
        /// What broke.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asset_id: Option<AssetId>,
        /// Who reported it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contact_id: Option<ContactId>,
        /// Kind of incident.
        template: TemplateId,
        /// How urgent; the template's default without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<Priority>,
        /// What is known, in structured form.
        #[serde(default)]
        details: BTreeMap<Slug, DetailValue>,
        /// What the caller said; stored as a note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<FreeText>,
    }
    /// Sets priority, template and details; given details are added to those known.
    Triage {
        /// How urgent.
        priority: Priority,
        /// Kind of incident; unchanged without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<TemplateId>,
        /// Further details.
        #[serde(default)]
        details: BTreeMap<Slug, DetailValue>,
    }
    /// Offers a window.
    ProposeSchedule {
        /// The window; not empty, not over.
        window: TimeWindow,
    }
    /// The customer took the window.
    ConfirmSchedule {}
    /// Another window is needed.
    Reschedule {
        /// The new window.
        window: TimeWindow,
        /// Why.
        reason: Slug,
    }
    /// Sends a technician.
    Dispatch {
        /// Who.
        technician_id: TechnicianId,
        /// When they expect to be there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        eta: Option<DateTime<Utc>>,
    }
    /// Takes the technician off.
    Unassign {
        /// Why.
        reason: Slug,
    }
    /// Under way.
    EnRoute {
        /// When they expect to be there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        eta: Option<DateTime<Utc>>,
    }
    /// There.
    CheckIn {}
    /// Nobody could get in.
    NoAccess {
        /// Why.
        reason: Slug,
    }
    /// More work than agreed.
    RequestChange {
        /// What is to be done besides.
        scope: Slug,
        /// By how much the NTE would rise, in cents; at least 1.
        #[schemars(range(min = 1, max = 1_000_000_000))]
        price_delta_cents: i64,
        /// In the technician's words; stored as a note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<FreeText>,
    }
    /// Decides an approval.
    DecideApproval {
        /// Which.
        approval_id: ApprovalId,
        /// Yes or no.
        verdict: Verdict,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Slug>,
    }
    /// Another visit is needed.
    ReturnVisit {
        /// Why.
        reason: Slug,
        /// What must be there then.
        #[serde(default)]
        parts: Vec<Part>,
        /// What this visit documented.
        #[serde(default)]
        evidence: Vec<EvidenceRef>,
    }
    /// The work is done.
    Complete {
        /// What this visit documented.
        #[serde(default)]
        evidence: Vec<EvidenceRef>,
    }
    /// Quality is good.
    QaVerify {}
    /// Quality is not good.
    QaReject {
        /// Why; at least one.
        reasons: Vec<Slug>,
    }
    /// Charges for the work.
    GenerateInvoice {
        /// At least one line; the sum may not exceed the NTE.
        lines: Vec<InvoiceLine>,
    }
    /// Ends the ticket.
    Close {
        /// Why nothing is charged; needed from VERIFIED.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        no_charge_reason: Option<Slug>,
    }
    /// Opens an ended ticket again.
    Reopen {
        /// Why.
        reason: Slug,
    }
    /// Calls the job off.
    Cancel {
        /// Why.
        reason: Slug,
    }
    /// The same job as another ticket.
    Merge {
        /// The one that stays.
        into: TicketId,
    }
    /// The customer has to do something first.
    CustomerAwait {
        /// What.
        reason: Slug,
    }
    /// The customer did it.
    CustomerResume {}
    /// Writes a note.
    AddNote {
        /// The text.
        text: FreeText,
    }
    /// Records what software would have done.
    RecordProposal {
        /// The ticket's version that the advice is about.
        based_on_version: u64,
        /// The workflow's `applied_seq` when it asked.
        applied_seq: u64,
        /// Everything the advisor looked at.
        input: AdvisorInput,
        /// What it says.
        advice: Advice,
    }
    /// Records an SLA warning or breach.
    RecordSla {
        /// Which clock.
        clock: Slug,
        /// Warning or breach.
        kind: SlaRecordKind,
        /// The clock's revision.
        revision: u32,
        /// The deadline that passed: exactly the stored one while the clock runs, otherwise one not
        /// later than the moment at which the clock was paused or stopped.
        effective_at: DateTime<Utc>,
        /// The workflow's `applied_seq`.
        applied_seq: u64,
    }
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandReceipt {
    /// This attempt.
    pub command_id: CommandId,
    /// The policy decision that let it pass.
    pub decision_id: DecisionId,
    /// The version it was applied to; 0 for a creation.
    pub applied_to_version: u64,
    /// The version it produced; the same for bookkeeping.
    pub produced_version: u64,
    /// `true`: nothing was changed, this is what would have happened.
    #[serde(default)]
    pub dry_run: bool,
    /// The ticket afterwards.
    pub ticket: crate::ticket::Ticket,
    /// The approval that was asked for or decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<ApprovalId>,
    /// The note, proposal or other row that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_id: Option<NoteId>,
    /// The proposal that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal_id: Option<ProposalId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::VariantArray;

    #[test]
    fn unknown_fields_are_refused() {
        assert!(serde_json::from_str::<Cancel>(r#"{"reason":"duplicate"}"#).is_ok());
        let error = serde_json::from_str::<Cancel>(r#"{"reason":"duplicate","x":1}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `x`"), "{error}");
        assert!(serde_json::from_str::<CheckIn>(r#"{"x":1}"#).is_err());
    }

    #[test]
    fn operations_and_paths_are_unique() {
        let names: std::collections::BTreeSet<_> = Operation::VARIANTS
            .iter()
            .map(ToString::to_string)
            .collect();
        let paths: std::collections::BTreeSet<_> =
            Operation::VARIANTS.iter().map(|o| o.path()).collect();
        assert_eq!(names.len(), Operation::VARIANTS.len());
        assert_eq!(paths.len(), Operation::VARIANTS.len());
    }
}
