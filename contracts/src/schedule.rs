//! Windows of time, working hours and places.

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A half-open interval `[start, end)`; a valid one is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeWindow {
    /// First instant inside.
    pub start: DateTime<Utc>,
    /// First instant after it.
    pub end: DateTime<Utc>,
}

impl TimeWindow {
    /// Whether the instant lies inside.
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.start <= at && at < self.end
    }

    /// Whether the two share an instant.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// A place on the map, in millionths of a degree (WGS 84): integers hash and compare exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeoPoint {
    /// Latitude × 10⁶, −90 000 000 to 90 000 000.
    pub lat_e6: i32,
    /// Longitude × 10⁶, −180 000 000 to 180 000 000.
    pub lon_e6: i32,
}

/// Working hours of one week in a time zone, with days off. Minutes are local wall-clock time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkCalendar {
    /// IANA time zone name, for example `Europe/Amsterdam`.
    pub time_zone: String,
    /// Monday first, seven entries; each a list of `[open, close)` in minutes after midnight.
    pub week: Vec<Vec<(u16, u16)>>,
    /// Local dates on which nothing is open.
    #[serde(default)]
    pub days_off: Vec<NaiveDate>,
}

/// Settings that differ between tenants; facts of a decision, recorded with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantSettings {
    /// When the office is open: drives business-hour SLA clocks.
    pub calendar: WorkCalendar,
    /// ISO 4217 code of all amounts.
    pub currency: String,
    /// When customers are left in peace; the bundle's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
}

/// A time of day at which customers are left in peace, in the tenant's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// First minute after midnight, 0 to 1439.
    pub from_minute: u16,
    /// First minute that is not quiet any more; before `from_minute`: the next morning.
    pub until_minute: u16,
}
