//! Sites, assets, people and evidence: what commands and reads say of them.

use chrono::NaiveDate;
use contracts::{
    AssetId, ContactId, Operation, SiteId, TechnicianId, TicketId,
    command::*,
    directory::{
        AssetPage, AssetRecord, ContactPage, ContactRecord, DirectoryFilter, EvidencePage,
        SitePage, SiteRecord, TechnicianCalendar, TechnicianPage, TechnicianRecord,
    },
    filing::FilingReceipt,
};

use crate::{CallOptions, Client, ClientError};

macro_rules! filings {
    ($($(#[$doc:meta])* $method:ident = $operation:ident;)+) => {
        impl Client {
            $($(#[$doc])*
            pub async fn $method(
                &self,
                body: &$operation,
                options: &CallOptions,
            ) -> Result<FilingReceipt, ClientError> {
                self.filing(Operation::$operation, body, options).await
            })+
        }
    };
}

filings! {
    /// Writes a site.
    upsert_site = UpsertSite;
    /// Writes a thing at a site.
    upsert_asset = UpsertAsset;
    /// Writes a person at the customer's.
    upsert_contact = UpsertContact;
    /// Writes a technician.
    upsert_technician = UpsertTechnician;
    /// A technician will be away.
    record_absence = RecordAbsence;
    /// A technician will be there after all.
    cancel_absence = CancelAbsence;
}

macro_rules! lists {
    ($($(#[$doc:meta])* $many:ident, $one:ident($id:ty) = $path:literal, $page:ty, $record:ty;)+) => {
        impl Client {
            $($(#[$doc])*
            pub async fn $many(&self, filter: &DirectoryFilter) -> Result<$page, ClientError> {
                self.read(concat!("api/v1/", $path), query(filter)).await
            }

            /// The one with this id.
            pub async fn $one(&self, id: $id) -> Result<$record, ClientError> {
                self.read(format!(concat!("api/v1/", $path, "/{}"), id), Vec::new()).await
            })+
        }
    };
}

lists! {
    /// A page of sites, newest first.
    sites, site(SiteId) = "sites", SitePage, SiteRecord;
    /// A page of assets, newest first.
    assets, asset(AssetId) = "assets", AssetPage, AssetRecord;
    /// A page of contacts, newest first.
    contacts, contact(ContactId) = "contacts", ContactPage, ContactRecord;
    /// A page of technicians, newest first.
    technicians, technician(TechnicianId) = "technicians", TechnicianPage, TechnicianRecord;
}

impl Client {
    /// When a technician works, is away and is booked: local days from `from` (today) up to `to`
    /// (14 days later), which is not shown.
    pub async fn technician_calendar(
        &self,
        id: TechnicianId,
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
    ) -> Result<TechnicianCalendar, ClientError> {
        let days = [("from", from), ("to", to)];
        let query = days
            .into_iter()
            .filter_map(|(name, date)| Some((name, date?.to_string())));
        self.read(format!("api/v1/technicians/{id}/calendar"), query.collect())
            .await
    }

    /// The evidence on record of a ticket, oldest first.
    pub async fn evidence(&self, id: TicketId) -> Result<EvidencePage, ClientError> {
        self.read(format!("api/v1/tickets/{id}/evidence"), Vec::new())
            .await
    }
}

fn query(filter: &DirectoryFilter) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    let mut add = |name, value: Option<String>| query.extend(value.map(|v| (name, v)));
    add("code", filter.code.as_ref().map(ToString::to_string));
    add("site_id", filter.site_id.map(|v| v.to_string()));
    add("skill", filter.skill.as_ref().map(ToString::to_string));
    add("active", filter.active.map(|v| v.to_string()));
    add("cursor", filter.cursor.clone());
    add("limit", filter.limit.map(|v| v.to_string()));
    query
}
