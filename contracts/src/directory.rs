//! What a tenant works with besides its tickets: sites, the things at them, people, the kill
//! switch; and the evidence of a ticket.

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ids::*,
    kill_switch::SwitchStatus,
    read::Page,
    schedule::{GeoPoint, TimeWindow, WorkCalendar},
    value::{FreeText, MediaType, PeerAddress, Slug},
};

/// A place where work is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteRecord {
    /// Its id.
    pub id: SiteId,
    /// Its name in files and filters.
    pub code: Slug,
    /// Where it is.
    pub location: GeoPoint,
    /// `false`: no new ticket may be opened there.
    pub active: bool,
    /// Rises with each change.
    pub version: u64,
}

/// A thing at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetRecord {
    /// Its id.
    pub id: AssetId,
    /// Its name in files and filters.
    pub code: Slug,
    /// Where it is, for ever.
    pub site_id: SiteId,
    /// What it is.
    pub kind: Slug,
    /// `false`: no new ticket may be opened for it.
    pub active: bool,
    /// Rises with each change.
    pub version: u64,
}

/// A person. What is personal stands here and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactRecord {
    /// Their id.
    pub id: ContactId,
    /// Their name in files and filters: no name of a person.
    pub code: Slug,
    /// Where they are to be found.
    pub site_id: Option<SiteId>,
    /// Their name.
    pub name: Option<FreeText>,
    /// Telephone number, international.
    pub phone: Option<PeerAddress>,
    /// E-mail address, in lower case.
    pub email: Option<PeerAddress>,
    /// Street and number.
    pub street: Option<FreeText>,
    /// Rises with each change.
    pub version: u64,
}

/// A person who is sent out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TechnicianRecord {
    /// Their id.
    pub id: TechnicianId,
    /// Their name in files and filters: no name of a person.
    pub code: Slug,
    /// Their name and telephone.
    pub contact_id: ContactId,
    /// What they can do.
    pub skills: Vec<Slug>,
    /// Where they start from, which is most often their home; left out for those who neither plan nor
    /// are this technician.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_base: Option<GeoPoint>,
    /// When they work.
    pub calendar: WorkCalendar,
    /// `false`: nobody may send them.
    pub active: bool,
    /// Rises with each change.
    pub version: u64,
}

/// A time that a technician is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AbsenceRecord {
    /// When.
    pub window: TimeWindow,
    /// Why; left out for those who may not see personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Slug>,
}

/// A technician's days: when they work by their calendar, when they are away all the same, and
/// what they are booked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TechnicianCalendar {
    /// Who.
    pub technician_id: TechnicianId,
    /// Their time zone: a day is a day there.
    pub time_zone: String,
    /// The days, in order.
    pub days: Vec<CalendarDay>,
    /// Absences that touch these days, in order.
    pub absences: Vec<AbsenceRecord>,
    /// Visits that have not ended and touch these days, or of which nobody said when; in order.
    pub visits: Vec<BookedVisit>,
}

/// One local day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CalendarDay {
    /// The local date.
    pub date: NaiveDate,
    /// The working hours of that date; empty on a day off.
    pub working: Vec<TimeWindow>,
}

/// A visit that a technician is booked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BookedVisit {
    /// Of which ticket.
    pub ticket_id: TicketId,
    /// Which visit.
    pub visit_id: VisitId,
    /// When it begins, or they are expected; absent when they were sent at once and nobody said.
    pub starts_at: Option<DateTime<Utc>>,
    /// When its window ends; absent without one.
    pub ends_at: Option<DateTime<Utc>>,
}

/// The kill switch of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KillSwitchView {
    /// Whether software is stopped.
    pub engaged: bool,
    /// Rises with each turn; 0 before the first. It is the switch's version.
    pub generation: u64,
    /// Why it was turned last.
    pub reason: Option<Slug>,
    /// Who turned it last.
    pub turned_by: Option<String>,
    /// When.
    pub turned_at: Option<DateTime<Utc>>,
    /// Every switch that was ever turned, by scope: this tenant's, and the one over everything. The
    /// members beside it tell of the one over the tenant.
    #[serde(default)]
    pub switches: Vec<SwitchStatus>,
}

/// A documented fact about a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceRecord {
    /// Its id.
    pub id: EvidenceId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// `photo_before`, `photo_after`, `signature` …
    pub kind: Slug,
    /// SHA-256 of the file, 64 lowercase hex digits.
    pub sha256: String,
    /// Its media type.
    pub media_type: MediaType,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was taken, as far as known.
    pub taken_at: Option<DateTime<Utc>>,
    /// Who put it on record.
    pub added_by: String,
    /// When.
    pub added_at: DateTime<Utc>,
    /// When the file was there and had this hash; absent: unverified.
    pub verified_at: Option<DateTime<Utc>>,
}

/// A page of sites, newest first.
pub type SitePage = Page<SiteRecord>;
/// A page of assets, newest first.
pub type AssetPage = Page<AssetRecord>;
/// A page of contacts, newest first.
pub type ContactPage = Page<ContactRecord>;
/// A page of technicians, newest first.
pub type TechnicianPage = Page<TechnicianRecord>;
/// All evidence on record of a ticket, oldest first.
pub type EvidencePage = Page<EvidenceRecord>;

/// Which rows of a list: all that is given must hold. What a list does not filter by is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectoryFilter {
    /// The one with this code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Slug>,
    /// Assets and contacts: at this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_id: Option<SiteId>,
    /// Technicians: who can do this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<Slug>,
    /// Technicians: who may be sent, or who may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Rows per page, 1 to 200; 50 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
}
