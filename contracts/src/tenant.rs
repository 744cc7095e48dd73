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
    /// by its own rules; and software may be stopped anywhere.
    pub const fn admits(self, operation: Operation) -> bool {
        match self {
            Self::Active => true,
            Self::Suspended | Self::Deleting => {
                is_about_tenant(operation) || matches!(operation, Operation::EngageKillSwitch)
            }
            Self::Erased => is_about_tenant(operation),
        }
    }
}

/// Whether the command is about a tenant that is there.
pub const fn is_about_tenant(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::ConfigureTenant
            | Operation::SuspendTenant
            | Operation::ResumeTenant
            | Operation::RequestTenantDeletion
            | Operation::CancelTenantDeletion
            | Operation::EraseTenant
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
