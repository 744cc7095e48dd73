//! The ticket as everybody sees it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    approval::TicketApproval,
    ids::*,
    schedule::TimeWindow,
    sla::SlaClock,
    value::{DetailValue, Slug, TemplateId},
};

/// Where a job stands. `domain::decide` knows which command leads from which to which.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are the field's own")]
pub enum TicketState {
    New,
    Triaged,
    ScheduleProposed,
    Scheduled,
    Dispatched,
    OnSite,
    ChangeRequested,
    ReturnPending,
    WorkComplete,
    Verified,
    Invoiced,
    Closed,
    Cancelled,
}

impl TicketState {
    /// Closed or cancelled: the workflow ends. (A closed ticket can be reopened.)
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Closed | Self::Cancelled)
    }
}

/// How urgent; P1 first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[expect(missing_docs, reason = "the names are the field's own")]
pub enum Priority {
    P1,
    P2,
    P3,
    P4,
}

/// Where one visit stands.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum VisitStage {
    /// Opened, no window yet.
    Open,
    /// A window was offered to the customer.
    Proposed,
    /// The customer took the window.
    Confirmed,
    /// A technician is assigned.
    Dispatched,
    /// The technician is under way.
    EnRoute,
    /// The technician is there.
    OnSite,
    /// Nobody could get in.
    NoAccess,
    /// The visit ended, another one is needed.
    ReturnNeeded,
    /// The work was done.
    Done,
    /// The ticket was cancelled before the visit ended.
    Cancelled,
}

/// One trip to the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Visit {
    /// Its id.
    pub id: VisitId,
    /// 1 for the first.
    pub number: u32,
    /// Where it stands.
    pub stage: VisitStage,
    /// When it is planned.
    pub window: Option<TimeWindow>,
    /// Who goes.
    pub technician_id: Option<TechnicianId>,
    /// When they expect to be there.
    pub eta: Option<DateTime<Utc>>,
    /// When they were there.
    pub checked_in_at: Option<DateTime<Utc>>,
    /// When the visit ended, however it did.
    pub ended_at: Option<DateTime<Utc>>,
    /// What was documented.
    #[serde(default)]
    pub evidence: Vec<EvidenceRef>,
}

/// A documented fact: the kind and the hash of the file; the bytes live in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceRef {
    /// `photo_before`, `photo_after`, `signature` …
    pub kind: Slug,
    /// SHA-256 of the file, 64 lowercase hex digits.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// A part that must be ordered for the next visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Catalogue word, for example `laminated_pane_8mm`.
    pub sku: Slug,
    /// How many, at least 1.
    #[schemars(range(min = 1, max = 10_000))]
    pub quantity: u32,
}

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceLine {
    /// `labour`, `call_out`, `laminated_pane_8mm` …
    pub item: Slug,
    /// At least 1.
    #[schemars(range(min = 1, max = 100_000))]
    pub quantity: u32,
    /// Price of one in the smallest unit of the tenant's currency.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub unit_cents: i64,
}

/// What was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Invoice {
    /// Its id.
    pub id: InvoiceId,
    /// `INV-000042`: gapless per tenant.
    pub number: String,
    /// Sum of the lines in the smallest unit of the tenant's currency.
    pub amount_cents: i64,
    /// The lines.
    pub lines: Vec<InvoiceLine>,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// Set when the ticket was reopened: the number of the credit note that takes it back.
    pub credit_note: Option<String>,
}

/// The customer has to do something first; the SLA clocks are paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerWait {
    /// Since when.
    pub since: DateTime<Utc>,
    /// What for.
    pub reason: Slug,
}

/// A change order that waits for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenChange {
    /// The approval it waits for.
    pub approval_id: ApprovalId,
    /// What is to be done besides.
    pub scope: Slug,
    /// By how much the NTE would rise, in cents.
    pub price_delta_cents: i64,
}

/// A job with all its visits. The same type is the API's answer, the aggregate that
/// `domain::evolve` folds, and what a timeline rebuilds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ticket {
    /// Its id.
    pub id: TicketId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Where it stands.
    pub state: TicketState,
    /// 1 after creation; rises by one with each command that changes state or fields.
    pub version: u64,
    /// The incident template.
    pub template: TemplateId,
    /// How urgent.
    pub priority: Priority,
    /// Where the work is.
    pub site_id: SiteId,
    /// What broke, if known.
    pub asset_id: Option<AssetId>,
    /// Who is to be called.
    pub contact_id: Option<ContactId>,
    /// Structured details, no free text.
    pub details: BTreeMap<Slug, DetailValue>,
    /// Not-to-exceed amount in cents: an invoice above it is denied.
    pub nte_cents: i64,
    /// Set while the customer is awaited.
    pub customer_wait: Option<CustomerWait>,
    /// Set while a change order waits for its decision.
    pub open_change: Option<OpenChange>,
    /// Approvals of which something is still to come: a decision, or what was decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<TicketApproval>,
    /// Software only proposes on this ticket, whatever its stage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub autonomy_opt_out: bool,
    /// The SLA clocks.
    pub sla: Vec<SlaClock>,
    /// 1..n; the last is the current one.
    pub visits: Vec<Visit>,
    /// Set once invoiced.
    pub invoice: Option<Invoice>,
    /// The ticket that this one was merged into.
    pub merged_into: Option<TicketId>,
    /// When it came in.
    pub created_at: DateTime<Utc>,
    /// When its version last rose.
    pub updated_at: DateTime<Utc>,
    /// When the work was verified: the reopen window counts from here.
    pub verified_at: Option<DateTime<Utc>>,
}

impl Ticket {
    /// The visit that schedule, assignment and check-in belong to.
    pub fn current_visit(&self) -> Option<&Visit> {
        self.visits.last()
    }
}
