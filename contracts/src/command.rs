//! Commands: everything that can change anything.
//!
//! Each body refuses unknown fields. `request_id` and `expected_version` stand beside the fields of
//! the body on the wire and are taken off before the body is read (see `api`).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    actor::{ActorKind, Role},
    approval::{StepKind, Verdict},
    autonomy::StageTarget,
    comms::{Channel, OnlyWhile},
    event::AutonomyMode,
    filing::FilingReceipt,
    ids::*,
    kill_switch::KillScope,
    permission::ApiPermission,
    policy::DiffSummary,
    proposal::{Advice, AdvisorInput},
    schedule::{GeoPoint, QuietHours, TimeWindow, WorkCalendar},
    sla::SlaRecordKind,
    tenant::{ExportStep, TenantLimits},
    ticket::{EvidenceRef, InvoiceLine, Part, Priority},
    value::{
        AccountName, Currency, DetailValue, FreeText, KeyHash, KeyPrefix, Locale, MediaType,
        MessageText, PeerAddress, ProviderMessageId, RawPayload, Slug, TemplateId,
    },
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

        impl Command {
            /// The ticket that the body names, where the path names none.
            pub const fn ticket_id(&self) -> Option<TicketId> {
                match self {
                    Self::CommsOutbound(body) => Some(body.ticket_id),
                    _ => None,
                }
            }

            /// The approval that the command is about; its ticket, if it has one, is meant too.
            pub const fn approval_id(&self) -> Option<ApprovalId> {
                match self {
                    Self::DecideApproval(body) => Some(body.approval_id),
                    Self::ClaimApproval(body) => Some(body.approval_id),
                    Self::ReleaseApproval(body) => Some(body.approval_id),
                    Self::TakeOverApproval(body) => Some(body.approval_id),
                    Self::AmendApproval(body) => Some(body.approval_id),
                    Self::WithdrawApproval(body) => Some(body.approval_id),
                    Self::CommentApproval(body) => Some(body.approval_id),
                    Self::ChangeApprovalDue(body) => Some(body.approval_id),
                    Self::RecordApprovalStep(body) => Some(body.approval_id),
                    Self::ExecuteApproval(body) => Some(body.approval_id),
                    _ => None,
                }
            }

            /// The tenant that the command is about, when it is about one that is there.
            pub const fn tenant_id(&self) -> Option<TenantId> {
                match self {
                    Self::ConfigureTenant(body) => Some(body.tenant_id),
                    Self::SuspendTenant(body) => Some(body.tenant_id),
                    Self::ResumeTenant(body) => Some(body.tenant_id),
                    Self::RequestTenantDeletion(body) => Some(body.tenant_id),
                    Self::CancelTenantDeletion(body) => Some(body.tenant_id),
                    Self::EraseTenant(body) => Some(body.tenant_id),
                    Self::LimitTenant(body) => Some(body.tenant_id),
                    Self::RecordTenantExport(body) => Some(body.tenant_id),
                    _ => None,
                }
            }

            /// The command of that name with this body, as [`Serialize`] writes both.
            pub fn from_parts(operation: Operation, body: Value) -> Result<Self, serde_json::Error> {
                match operation {
                    $(Operation::$name => serde_json::from_value(body).map(Self::$name),)+
                }
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
            type Receipt = commands!(@receipt $class);
        })+
    };
    (@receipt Filing) => { FilingReceipt };
    (@receipt $class:ident) => { CommandReceipt };
}

/// The body of one command: what a caller sends, and which operation it stands for.
pub trait CommandBody: Into<Command> + serde::de::DeserializeOwned + JsonSchema + Send {
    /// The operation.
    const OPERATION: Operation;
    /// The answer when it is done.
    type Receipt: serde::de::DeserializeOwned + Serialize + JsonSchema;
}

/// What a command is about, and whether it raises the ticket's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandClass {
    /// Changes state or fields: version and `seq` rise, the workflow hears of it.
    Change,
    /// About an approval of the ticket: `seq` rises, so the workflow hears of it; the version rises
    /// only when the ticket changes with it (a change order, a held command that is carried out).
    Waiting,
    /// Writes beside the ticket: no version, no `seq`, so the workflow never hears its own echo.
    Bookkeeping,
    /// About something other than a ticket (a site, a technician, the kill switch), or about a
    /// message that has yet to find its ticket.
    Filing,
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
    DecideApproval = "decide_approval", "/approvals/{id}/decide", Waiting;
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
    /// Keeps software from acting on this ticket, or lets it again.
    SetTicketAutonomy = "set_ticket_autonomy", "/tickets/{id}/autonomy", Change;
    /// Changes what an approval asks for; it is pending again.
    AmendApproval = "amend_approval", "/approvals/{id}/amend", Waiting;
    /// Takes an approval back.
    WithdrawApproval = "withdraw_approval", "/approvals/{id}/withdraw", Waiting;
    /// Moves the end of an approval.
    ChangeApprovalDue = "change_approval_due", "/approvals/{id}/due", Waiting;
    /// Reminds, escalates or ends an approval that nobody decided.
    RecordApprovalStep = "record_approval_step", "/approvals/{id}/step", Waiting;
    /// Carries out what was approved.
    ExecuteApproval = "execute_approval", "/approvals/{id}/execute", Waiting;
    /// Says that one works on an approval.
    ClaimApproval = "claim_approval", "/approvals/{id}/claim", Bookkeeping;
    /// Says that one works on it no longer.
    ReleaseApproval = "release_approval", "/approvals/{id}/release", Bookkeeping;
    /// Works on it in somebody's place.
    TakeOverApproval = "take_over_approval", "/approvals/{id}/take-over", Bookkeeping;
    /// Says something about an approval.
    CommentApproval = "comment_approval", "/approvals/{id}/comments", Bookkeeping;
    /// Writes a note.
    AddNote = "add_note", "/tickets/{id}/notes", Bookkeeping;
    /// Records what software would have done.
    RecordProposal = "record_proposal", "/tickets/{id}/proposals", Bookkeeping;
    /// Records an SLA warning or breach.
    RecordSla = "record_sla", "/tickets/{id}/sla/record", Bookkeeping;
    /// Records a documented fact.
    AddEvidence = "add_evidence", "/tickets/{id}/evidence", Bookkeeping;
    /// Takes a message in and finds its ticket.
    CommsInbound = "comms_inbound", "/comms/inbound", Filing;
    /// Queues a message to a customer.
    CommsOutbound = "comms_outbound", "/comms/outbound", Bookkeeping;
    /// Says where a message belongs that no rule could place.
    AttachMessage = "attach_message", "/tickets/{id}/comms/attach", Bookkeeping;
    /// Writes a site.
    UpsertSite = "upsert_site", "/sites", Filing;
    /// Writes a thing at a site.
    UpsertAsset = "upsert_asset", "/assets", Filing;
    /// Writes a person at the customer's.
    UpsertContact = "upsert_contact", "/contacts", Filing;
    /// Writes a technician.
    UpsertTechnician = "upsert_technician", "/technicians", Filing;
    /// A technician will be away.
    RecordAbsence = "record_absence", "/absences", Filing;
    /// A technician will be there after all.
    CancelAbsence = "cancel_absence", "/absences/cancel", Filing;
    /// Software stops acting for this tenant.
    EngageKillSwitch = "engage_kill_switch", "/kill-switch/engage", Filing;
    /// Software may act again.
    ReleaseKillSwitch = "release_kill_switch", "/kill-switch/release", Filing;
    /// Keeps the report of a kill switch drill.
    RecordDrill = "record_drill", "/kill-switch/drills", Filing;
    /// Lends one's right to decide approvals to somebody, while away.
    DelegateApprovals = "delegate_approvals", "/delegations", Filing;
    /// Takes it back.
    RevokeDelegation = "revoke_delegation", "/delegations/revoke", Filing;
    /// Keeps a gate report.
    RecordGateReport = "record_gate_report", "/rollout/reports", Filing;
    /// Lets software do more by itself.
    PromoteStage = "promote_stage", "/rollout/promote", Filing;
    /// Lets software do less by itself.
    DemoteStage = "demote_stage", "/rollout/demote", Filing;
    /// A change of a stage that was decided before comes to be.
    ApplyStageChange = "apply_stage_change", "/rollout/apply", Filing;
    /// Keeps a policy bundle.
    UploadBundle = "upload_bundle", "/policy/bundles", Filing;
    /// Lets another policy bundle decide.
    ActivateBundle = "activate_bundle", "/policy/activate", Filing;
    /// Makes a tenant.
    CreateTenant = "create_tenant", "/tenants", Filing;
    /// Sets a tenant's time zone, calendar, currency, locale, quiet hours and templates.
    ConfigureTenant = "configure_tenant", "/tenants/{id}/configure", Filing;
    /// Nothing of a tenant is changed any more; everything can be read.
    SuspendTenant = "suspend_tenant", "/tenants/{id}/suspend", Filing;
    /// A suspended tenant works again.
    ResumeTenant = "resume_tenant", "/tenants/{id}/resume", Filing;
    /// A tenant is to be erased when a time of grace is over.
    RequestTenantDeletion = "request_tenant_deletion", "/tenants/{id}/delete", Filing;
    /// It is not to be erased after all.
    CancelTenantDeletion = "cancel_tenant_deletion", "/tenants/{id}/undelete", Filing;
    /// Erases what is personal of a tenant: the time of grace is over.
    EraseTenant = "erase_tenant", "/tenants/{id}/erase", Filing;
    /// Sets how much a tenant may use.
    LimitTenant = "limit_tenant", "/tenants/{id}/limit", Filing;
    /// Puts on record that a copy of all that is kept of a tenant is made, or how that ended.
    RecordTenantExport = "record_tenant_export", "/tenants/{id}/exports", Filing;
    /// Writes an account that software calls with.
    UpsertServiceAccount = "upsert_service_account", "/service-accounts", Filing;
    /// None of an account's keys is good any more.
    DisableServiceAccount = "disable_service_account", "/service-accounts/disable", Filing;
    /// Gives a service account a key.
    IssueApiKey = "issue_api_key", "/api-keys", Filing;
    /// Gives a new key in the place of one, which goes on for a while.
    RotateApiKey = "rotate_api_key", "/api-keys/rotate", Filing;
    /// Takes a key back, at once.
    RevokeApiKey = "revoke_api_key", "/api-keys/revoke", Filing;
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
        /// Why; needed for a no.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Slug>,
        /// The version that was looked at; needed once it was amended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u32>,
    }
    /// Changes what an approval asks for. All votes are void, and its time begins anew.
    AmendApproval {
        /// Which.
        approval_id: ApprovalId,
        /// The body of the held command as it shall be.
        body: Value,
        /// Why.
        reason: Slug,
    }
    /// Takes an approval back.
    WithdrawApproval {
        /// Which.
        approval_id: ApprovalId,
        /// Why.
        reason: Slug,
    }
    /// Moves the end of an approval.
    ChangeApprovalDue {
        /// Which.
        approval_id: ApprovalId,
        /// The new end; not over, and at most thirty days away.
        expires_at: DateTime<Utc>,
        /// Why.
        reason: Slug,
    }
    /// The moment of a step has come and nobody has decided.
    RecordApprovalStep {
        /// Which.
        approval_id: ApprovalId,
        /// The approval's version.
        version: u32,
        /// What is due.
        step: StepKind,
        /// The moment that the approval's plan names for it.
        at: DateTime<Utc>,
        /// The workflow's `applied_seq`; 0 for an approval without a ticket.
        applied_seq: u64,
    }
    /// Carries out what was approved.
    ExecuteApproval {
        /// Which.
        approval_id: ApprovalId,
        /// The version that was approved.
        version: u32,
        /// The workflow's `applied_seq`; 0 for a person.
        #[serde(default)]
        applied_seq: u64,
        /// A person's reason to do it although a kill switch is engaged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        override_kill_switch: Option<Slug>,
    }
    /// Works on an approval: others are told so.
    ClaimApproval {
        /// Which.
        approval_id: ApprovalId,
        /// For how long, 1 to 240.
        #[serde(default = "claim_minutes")]
        #[schemars(range(min = 1, max = 240))]
        minutes: u16,
    }
    /// Works on it no longer.
    ReleaseApproval {
        /// Which.
        approval_id: ApprovalId,
    }
    /// Works on it in somebody's place.
    TakeOverApproval {
        /// Which.
        approval_id: ApprovalId,
        /// Why.
        reason: Slug,
        /// For how long, 1 to 240.
        #[serde(default = "claim_minutes")]
        #[schemars(range(min = 1, max = 240))]
        minutes: u16,
    }
    /// Says something about an approval.
    CommentApproval {
        /// Which.
        approval_id: ApprovalId,
        /// The text.
        text: FreeText,
    }
    /// Keeps software from acting on this ticket, or lets it again.
    SetTicketAutonomy {
        /// `true`: software only proposes.
        opt_out: bool,
        /// Why.
        reason: Slug,
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
    /// Records a documented fact. The file itself is uploaded apart; until it was checked against
    /// `sha256` the evidence is unverified.
    AddEvidence {
        /// `photo_before`, `photo_after`, `signature` …
        kind: Slug,
        /// SHA-256 of the file, 64 lowercase hex digits.
        #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
        sha256: String,
        /// Its media type, for example `image/jpeg`.
        media_type: MediaType,
        /// Its size in bytes, at least 1.
        #[schemars(range(min = 1, max = 1_000_000_000))]
        size_bytes: u64,
        /// When it was taken, as far as known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        taken_at: Option<DateTime<Utc>>,
    }
    /// Takes a message in. It is attached to a ticket, opens one, or is held for a person, by the
    /// rules of the policy bundle; the same provider message is taken once.
    CommsInbound {
        /// How it came; not `operations`.
        channel: Channel,
        /// Who brought it.
        provider: Slug,
        /// The provider's name for it.
        provider_message_id: ProviderMessageId,
        /// Who sent it.
        peer: PeerAddress,
        /// When the provider says it was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_time: Option<DateTime<Utc>>,
        /// What it says.
        text: MessageText,
        /// The site, when the sender said it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        site_id: Option<SiteId>,
        /// The kind of incident, when the sender said it; else the rules' `intake_template`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<TemplateId>,
        /// What the provider sent, byte for byte; kept apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        raw: Option<RawPayload>,
    }
    /// Queues a message to a customer.
    CommsOutbound {
        /// The ticket that it is about.
        ticket_id: TicketId,
        /// Who is to get it, at the address on record when it is sent.
        contact_id: ContactId,
        /// How; not `operations`.
        channel: Channel,
        /// What it says.
        text: FreeText,
        /// Not before; at once without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        send_at: Option<DateTime<Utc>>,
        /// What must still be so then; `ticket_open` without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only_while: Option<OnlyWhile>,
    }
    /// Says where a held message belongs.
    AttachMessage {
        /// Which; it is held.
        message_id: MessageId,
    }
    /// Writes a site: a new one, or the one with this code.
    UpsertSite {
        /// Its name in files and filters, for ever.
        code: Slug,
        /// Where it is.
        location: GeoPoint,
        /// `false`: no new ticket may be opened there.
        #[serde(default = "yes")]
        active: bool,
    }
    /// Writes a thing at a site: a new one, or the one with this code.
    UpsertAsset {
        /// Its name in files and filters, for ever.
        code: Slug,
        /// Where it is; for ever.
        site_id: SiteId,
        /// What it is: `sliding_door`, `shopfront_pane` …
        kind: Slug,
        /// `false`: no new ticket may be opened for it.
        #[serde(default = "yes")]
        active: bool,
    }
    /// Writes a person at the customer's: a new one, or the one with this code. A member that is
    /// left out is erased.
    UpsertContact {
        /// Their name in files and filters, for ever: no name of a person.
        code: Slug,
        /// Where they are to be found.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        site_id: Option<SiteId>,
        /// Their name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<FreeText>,
        /// Telephone number, international: `+31201234567`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phone: Option<PeerAddress>,
        /// E-mail address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<PeerAddress>,
        /// Street and number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        street: Option<FreeText>,
    }
    /// Writes a technician: a new one, or the one with this code.
    UpsertTechnician {
        /// Their name in files and filters, for ever: no name of a person.
        code: Slug,
        /// Their name and telephone.
        contact_id: ContactId,
        /// What they can do.
        #[serde(default)]
        skills: Vec<Slug>,
        /// Where they start from.
        home_base: GeoPoint,
        /// When they work.
        calendar: WorkCalendar,
        /// `false`: nobody may send them.
        #[serde(default = "yes")]
        active: bool,
    }
    /// A technician will be away.
    RecordAbsence {
        /// Who.
        technician_id: TechnicianId,
        /// When; not over, and overlapping no other absence of theirs.
        window: TimeWindow,
        /// Why: `sick`, `leave`, `training` …
        reason: Slug,
    }
    /// A technician will be there after all.
    CancelAbsence {
        /// Who.
        technician_id: TechnicianId,
        /// When the absence begins.
        starts_at: DateTime<Utc>,
    }
    /// Software stops acting. People and SLA clocks go on.
    EngageKillSwitch {
        /// Why.
        reason: Slug,
        /// Where; this tenant without it.
        #[serde(default)]
        scope: KillScope,
        /// When it releases itself; never without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<DateTime<Utc>>,
    }
    /// Software may act again, as far as its stage lets it.
    ReleaseKillSwitch {
        /// Why.
        reason: Slug,
        /// Where; this tenant without it.
        #[serde(default)]
        scope: KillScope,
    }
    /// Keeps the report of a drill.
    RecordDrill {
        /// The switch that was turned: one without real effect.
        scope: KillScope,
        /// How many callers acted at once.
        clients: u32,
        /// When it was engaged.
        engaged_at: DateTime<Utc>,
        /// From the engaging to the last effect of software, in milliseconds; 0 when none came
        /// after it.
        stop_millis: u64,
        /// Attempts of software that were made meanwhile.
        attempts: u64,
        /// Those of them that were let pass although the switch was engaged: 0, or the drill failed.
        passed: u64,
    }
    /// Lends one's right to decide approvals to somebody, while away.
    DelegateApprovals {
        /// To whom: a token's subject.
        to: String,
        /// Which roles of one's own.
        roles: Vec<Role>,
        /// From when.
        from: DateTime<Utc>,
        /// Until when; at most ninety days later.
        until: DateTime<Utc>,
        /// Why: `leave`, `sick` …
        reason: Slug,
    }
    /// Takes it back.
    RevokeDelegation {
        /// Which.
        delegation_id: DelegationId,
    }
    /// Computes a gate report over a range of time and keeps it.
    RecordGateReport {
        /// For what.
        target: StageTarget,
        /// From when on proposals and acts count; at most 92 days before the end.
        since: DateTime<Utc>,
        /// Until when: now.
        until: DateTime<Utc>,
    }
    /// Lets software do more by itself.
    PromoteStage {
        /// What.
        target: StageTarget,
        /// How far.
        to: AutonomyMode,
        /// The share of tickets, for CANARY: 1 to 99.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        percent: Option<u8>,
        /// The gate report that it is decided on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report_sha256: Option<String>,
        /// From when on; at once without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effective_at: Option<DateTime<Utc>>,
        /// Why.
        reason: Slug,
    }
    /// Lets software do less by itself.
    DemoteStage {
        /// What.
        target: StageTarget,
        /// How far.
        to: AutonomyMode,
        /// The share of tickets, for CANARY: 1 to 99.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        percent: Option<u8>,
        /// Why; for the guardrails their name.
        reason: Slug,
    }
    /// A change of a stage that was decided before comes to be: its time has come.
    ApplyStageChange {
        /// The attempt that decided it.
        change: CommandId,
    }
    /// Keeps a policy bundle. It decides nothing until it is activated.
    UploadBundle {
        /// The archive (`.tar.gz`), base64.
        archive: String,
    }
    /// Lets another policy bundle decide.
    ActivateBundle {
        /// SHA-256 of its canonical content.
        sha256: String,
        /// What it would have decided: the summary of `dispatch policy diff`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<DiffSummary>,
        /// Why.
        reason: Slug,
    }
    /// Makes a tenant; what is left out gets the usual value.
    CreateTenant {
        /// Its name in files and commands, for ever; no other tenant has it.
        slug: Slug,
        /// When its office is open, and in which time zone; Monday to Friday, nine to five UTC without
        /// it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        calendar: Option<WorkCalendar>,
        /// ISO 4217 code of all amounts; EUR without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        currency: Option<Currency>,
        /// When customers are left in peace; the bundle's without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quiet_hours: Option<QuietHours>,
        /// The language and region that people are addressed in; `en` without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        locale: Option<Locale>,
        /// The incident templates that new jobs may have; all of the bundle without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        templates: Option<Vec<TemplateId>>,
    }
    /// Sets a tenant up, wholly: what may be left out and is, is not set any more.
    ConfigureTenant {
        /// Which.
        tenant_id: TenantId,
        /// When its office is open, and in which time zone.
        calendar: WorkCalendar,
        /// ISO 4217 code of all amounts.
        currency: Currency,
        /// When customers are left in peace; the bundle's without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quiet_hours: Option<QuietHours>,
        /// The language and region that people are addressed in.
        locale: Locale,
        /// The incident templates that new jobs may have; all of the bundle without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        templates: Option<Vec<TemplateId>>,
    }
    /// Suspends a tenant.
    SuspendTenant {
        /// Which; it is active.
        tenant_id: TenantId,
        /// Why.
        reason: Slug,
    }
    /// Lets a suspended tenant work again.
    ResumeTenant {
        /// Which; it is suspended.
        tenant_id: TenantId,
        /// Why.
        reason: Slug,
    }
    /// Asks for a tenant to be erased; it is suspended from now on.
    RequestTenantDeletion {
        /// Which; it is active or suspended.
        tenant_id: TenantId,
        /// Why.
        reason: Slug,
        /// In how many days it may be erased, 1 to 365.
        #[serde(default = "grace_days")]
        #[schemars(range(min = 1, max = 365))]
        grace_days: u16,
    }
    /// Keeps a tenant that was to be erased; it is suspended.
    CancelTenantDeletion {
        /// Which; it is being deleted.
        tenant_id: TenantId,
        /// Why.
        reason: Slug,
    }
    /// Erases what is personal of a tenant, for good.
    EraseTenant {
        /// Which; its time of grace is over.
        tenant_id: TenantId,
    }
    /// Sets how much a tenant may use, wholly: what is left out is as usual in the installation.
    LimitTenant {
        /// Which.
        tenant_id: TenantId,
        /// How much.
        limits: TenantLimits,
        /// Why.
        reason: Slug,
    }
    /// Puts on record that a copy of all that is kept of a tenant is made, or how that ended.
    RecordTenantExport {
        /// Which; wherever it stands.
        tenant_id: TenantId,
        /// How far the copy came.
        step: ExportStep,
        /// The command that put its beginning on record; with an end only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begun_by: Option<CommandId>,
        /// Rows that were handed over; with an end only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rows: Option<u64>,
    }
    /// Writes an account that software calls with: a new one, or the one with this code.
    UpsertServiceAccount {
        /// Its name in files and records, for ever; ids of its actions are made of it.
        code: Slug,
        /// What it is called.
        name: AccountName,
        /// What it is, for ever; not `person`.
        kind: ActorKind,
        /// What it may do, as a person with these roles might; none for a workflow.
        #[serde(default, deserialize_with = "distinct")]
        roles: BTreeSet<Role>,
        /// `true`, for ever: it acts in any tenant, which its caller names with each request. For
        /// workflows.
        #[serde(default)]
        any_tenant: bool,
        /// Whether its keys are good; as it is without it, and `true` for a new one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        active: Option<bool>,
    }
    /// None of an account's keys is good any more, until it is written as active again.
    DisableServiceAccount {
        /// Which.
        service_account_id: ServiceAccountId,
        /// Why.
        reason: Slug,
    }
    /// Gives a service account a key. Whoever sends this made it, and nobody else ever sees it.
    IssueApiKey {
        /// Whose; it is active.
        service_account_id: ServiceAccountId,
        /// The part of the key that may be shown.
        prefix: KeyPrefix,
        /// SHA-256 over the whole key.
        key_hash: KeyHash,
        /// What it is good for, of what its account may do; for all of that without any.
        #[serde(default, deserialize_with = "distinct")]
        scopes: BTreeSet<ApiPermission>,
        /// When it ends; at most 366 days from now.
        expires_at: DateTime<Utc>,
    }
    /// Gives a new key in the place of one, with the same scopes.
    RotateApiKey {
        /// The one that is replaced; it is good.
        api_key_id: ApiKeyId,
        /// The part of the new key that may be shown.
        prefix: KeyPrefix,
        /// SHA-256 over the whole new key.
        key_hash: KeyHash,
        /// When the new one ends; at most 366 days from now.
        expires_at: DateTime<Utc>,
        /// For how many seconds the old one is still good, 0 to 604800; a day without it.
        #[serde(default = "overlap_seconds")]
        #[schemars(range(min = 0, max = 604_800))]
        overlap_seconds: u32,
    }
    /// Takes a key back, at once.
    RevokeApiKey {
        /// Which.
        api_key_id: ApiKeyId,
        /// Why: `leaked`, `unused` …
        reason: Slug,
    }
}

const fn yes() -> bool {
    true
}

const fn grace_days() -> u16 {
    30
}

/// A set, of a list that names nothing twice.
fn distinct<'de, D, T>(deserializer: D) -> Result<BTreeSet<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Ord,
{
    let list = Vec::deserialize(deserializer)?;
    let entries = list.len();
    let set: BTreeSet<T> = list.into_iter().collect();
    match set.len() == entries {
        true => Ok(set),
        false => Err(serde::de::Error::custom("has an entry twice")),
    }
}

const fn overlap_seconds() -> u32 {
    86_400
}

const fn claim_minutes() -> u16 {
    15
}

/// The answer 202: the command is held until people decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldReceipt {
    /// This attempt.
    pub command_id: CommandId,
    /// The policy decision that holds it.
    pub decision_id: DecisionId,
    /// `true`: nothing was kept, this is what would have happened.
    #[serde(default)]
    pub dry_run: bool,
    /// What waits: who must agree, by when, and what happens until then.
    pub approval: crate::approval::Approval,
    /// Why it is held.
    pub reasons: Vec<crate::policy::Reason>,
}

/// The answer to a command on a ticket.
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
    /// Where that approval stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_state: Option<crate::approval::ApprovalState>,
    /// What was said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment_id: Option<CommentId>,
    /// The note, proposal or other row that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note_id: Option<NoteId>,
    /// The proposal that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal_id: Option<ProposalId>,
    /// The evidence that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_id: Option<EvidenceId>,
    /// The message that was queued or attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
}

impl CommandReceipt {
    /// Names the approval that the command was about.
    pub fn about(&mut self, id: ApprovalId, state: crate::approval::ApprovalState) {
        self.approval_id = Some(id);
        self.approval_state = Some(state);
    }
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
