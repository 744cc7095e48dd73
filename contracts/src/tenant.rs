//! Tenants: how one is set up, and where it stands in its life.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    command::Operation,
    ids::TenantId,
    schedule::{QuietHours, WorkCalendar},
    value::{Currency, Locale, Slug, TemplateId},
};

/// Where a tenant stands.
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
pub enum TenantState {
    /// Everything works.
    Active,
    /// Nothing is changed, everything can be read.
    Suspended,
    /// The same, and what is personal is erased when the time of grace is over.
    Deleting,
    /// What was personal is gone; the records that prove what was done are kept.
    Erased,
}

impl TenantState {
    /// Whether a tenant that stands here lets the command pass. What leads out of the state is judged
    /// by its own rules; and software may be stopped, and its keys taken back, until nothing is left.
    pub const fn admits(self, operation: Operation) -> bool {
        let may = is_turn(operation) || matches!(operation, Operation::RecordTenantExport);
        match self {
            Self::Active => true,
            Self::Suspended | Self::Deleting => may || is_stop(operation),
            Self::Erased => may,
        }
    }
}

/// Whether the command leads a tenant that is there on, so that no other may be under way.
pub const fn is_turn(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::ConfigureTenant
            | Operation::SuspendTenant
            | Operation::ResumeTenant
            | Operation::RequestTenantDeletion
            | Operation::CancelTenantDeletion
            | Operation::EraseTenant
            | Operation::LimitTenant
    )
}

/// Whether the command only takes away what software may do. A key reads on while its tenant is
/// suspended: one that leaked has to end then, too.
const fn is_stop(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::EngageKillSwitch | Operation::RevokeApiKey | Operation::DisableServiceAccount
    )
}

/// A tenant, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantSummary {
    /// Which.
    pub tenant_id: TenantId,
    /// Its name in files and commands, for ever.
    pub slug: Slug,
    /// Where it stands.
    pub state: TenantState,
    /// Since when; when it was made, if it never stood elsewhere.
    pub since: DateTime<Utc>,
    /// Why, unless it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Slug>,
    /// From when on it may be erased, while it is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erase_after: Option<DateTime<Utc>>,
}

/// A tenant with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantView {
    /// Where it stands.
    #[serde(flatten)]
    pub summary: TenantSummary,
    /// Rises with each command about it.
    pub version: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its office is open, and in which time zone.
    pub calendar: WorkCalendar,
    /// ISO 4217 code of all amounts.
    pub currency: String,
    /// When customers are left in peace; the bundle's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
    /// The language and region that people are addressed in.
    pub locale: Locale,
    /// The incident templates that new jobs may have; all of the bundle without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templates: Option<Vec<TemplateId>>,
    /// How much it may use, as far as that is not what is usual in the installation.
    #[serde(default)]
    pub limits: TenantLimits,
    /// How much it may use and uses, all told, as the process that answers sees it. Absent from answers
    /// of before version 0.4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<TenantQuotas>,
}

/// How much a tenant may use; what is left out is as usual in the installation. Rates are those of each
/// process, once for people and integrations and once more for agents and workflows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantLimits {
    /// Commands that it may go on sending each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub commands_per_second: Option<u32>,
    /// Commands that may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub command_burst: Option<u32>,
    /// Reads that it may go on sending each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub reads_per_second: Option<u32>,
    /// Reads that may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub read_burst: Option<u32>,
    /// Tickets that are open at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000_000))]
    pub open_tickets: Option<u64>,
    /// Bytes of kept messages and uploaded policy bundles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_u64))]
    pub storage_bytes: Option<u64>,
    /// Requests that wait at the same time (`Prefer: wait`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub subscribers: Option<u32>,
}

/// How much of something is used, and how much there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaUse {
    /// Used now; absent while it is being measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// At most.
    pub limit: u64,
}

/// How often something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rate {
    /// How often it may go on.
    pub per_second: u32,
    /// How often at once.
    pub burst: u32,
}

/// How much a tenant may use and uses, all told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantQuotas {
    /// Commands, by each process.
    pub commands: Rate,
    /// Reads, by each process.
    pub reads: Rate,
    /// Tickets that are open.
    pub open_tickets: QuotaUse,
    /// Bytes of kept messages and uploaded policy bundles.
    pub storage_bytes: QuotaUse,
    /// Requests that wait, at the process that answers.
    pub subscribers: QuotaUse,
}

/// Tenants, by their slug.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantPage {
    /// The rows.
    pub items: Vec<TenantSummary>,
    /// Ask with `after` for those that follow; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<Slug>,
}

/// How far a copy of all that is kept of a tenant came.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ExportStep {
    /// It is made from now on.
    Begun,
    /// All of it was handed over.
    Completed,
    /// It broke off; some of it may have been read.
    BrokenOff,
}

/// One line of an export: a row, or the last line, which says how many there were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ExportLine {
    /// A row.
    Row {
        /// Of which table.
        table: String,
        /// Its columns.
        row: serde_json::Map<String, serde_json::Value>,
    },
    /// The end: an export without it is not whole.
    End {
        /// Rows in all.
        rows: u64,
    },
}

/// The currency of a tenant of which nothing else is said.
pub fn usual_currency() -> Currency {
    Currency::new("EUR").expect("three capital letters")
}

/// The locale of a tenant of which nothing else is said.
pub fn usual_locale() -> Locale {
    Locale::new("en").expect("a language")
}

/// The office of a tenant of which nothing else is said: Monday to Friday, nine to five.
pub fn usual_calendar(time_zone: &str) -> WorkCalendar {
    let day = vec![(9 * 60, 17 * 60)];
    WorkCalendar {
        time_zone: time_zone.to_owned(),
        week: [vec![day; 5], vec![Vec::new(); 2]].concat(),
        days_off: Vec::new(),
    }
}
