//! Sites, assets, contacts and technicians; a ticket's evidence.

use contracts::{
    AssetId, ContactId, SiteId, TechnicianId, TicketId,
    directory::{
        AbsenceRecord, AssetPage, AssetRecord, BookedVisit, ContactPage, ContactRecord,
        DirectoryFilter, EvidencePage, EvidenceRecord, SitePage, SiteRecord, TechnicianPage,
        TechnicianRecord,
    },
    proposal::AdvisorInput,
    read::Page,
    schedule::TimeWindow,
};
use serde::de::DeserializeOwned;
use sqlx::types::Json;
use uuid::Uuid;

use super::{cursor::Cursors, cut, exists};
use crate::{Error, TenantTx};

/// Whose homes a reader sees, in the directory and in what advice was based on. Whoever advises is given
/// them apart ([`super::advisor_facts`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Homes {
    /// Everybody's: whoever plans, and whoever keeps the directory.
    All,
    /// Their own.
    Of(TechnicianId),
    /// Nobody's.
    None,
}

impl Homes {
    fn hide(self, record: &mut TechnicianRecord) {
        record.home_base = record.home_base.filter(|_| self.shows(record.id));
    }

    /// What advice was based on, as this reader may see it.
    pub(super) fn hide_in(self, input: &mut AdvisorInput) {
        let candidates = match input {
            AdvisorInput::Technician(input) => &mut input.candidates,
            AdvisorInput::Slot(input) => &mut input.candidates,
            _ => return,
        };
        for candidate in candidates {
            candidate.base = candidate
                .base
                .filter(|_| self.shows(candidate.technician_id));
        }
    }

    fn shows(self, technician: TechnicianId) -> bool {
        match self {
            Self::All => true,
            Self::Of(own) => own == technician,
            Self::None => false,
        }
    }
}

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// A list: its letter in cursors, and its rows as documents of the contract. Each names all filters
/// as parameters; one that it does not know must not be given.
struct List {
    letter: u8,
    sql: &'static str,
}

macro_rules! list {
    ($letter:literal, $table:literal, $doc:literal, $filters:literal) => {
        List {
            letter: $letter,
            sql: concat!(
                "select id, jsonb_build_object('id', wire_id(",
                $doc,
                ", 'code', code, 'version', version) as doc from ",
                $table,
                " where tenant_id = $1 and ($2::uuid is null or id = $2)
                   and ($3::text is null or code = $3) and ($4::uuid is null or id < $4)",
                $filters,
                " order by id desc limit $8"
            ),
        }
    };
}

const SITES: List = list!(
    b's',
    "sites",
    "'sit', id), 'location', jsonb_build_object('lat_e6', lat_e6, 'lon_e6', lon_e6),
     'active', active",
    "and $5::uuid is null and $6::text is null and $7::boolean is null"
);

const ASSETS: List = list!(
    b'a',
    "assets",
    "'ast', id), 'site_id', wire_id('sit', site_id), 'kind', kind, 'active', active",
    "and ($5::uuid is null or site_id = $5) and $6::text is null and $7::boolean is null"
);

const CONTACTS: List = list!(
    b'c',
    "contacts",
    "'con', id), 'site_id', wire_id('sit', site_id), 'name', name, 'phone', phone,
     'email', email, 'street', street",
    "and ($5::uuid is null or site_id = $5) and $6::text is null and $7::boolean is null"
);

const TECHNICIANS: List = list!(
    b'p',
    "technicians",
    "'tec', id), 'contact_id', wire_id('con', contact_id), 'skills', to_jsonb(skills),
     'home_base', jsonb_build_object('lat_e6', base_lat_e6, 'lon_e6', base_lon_e6),
     'calendar', calendar, 'active', active",
    "and $5::uuid is null and ($6::text is null or $6 = any(skills))
     and ($7::boolean is null or active = $7)"
);

impl List {
    /// A page, newest first.
    async fn page<T: DeserializeOwned>(
        &self,
        tx: &mut TenantTx,
        filter: &DirectoryFilter,
    ) -> Result<Page<T>, Error> {
        let question = DirectoryFilter {
            cursor: None,
            limit: None,
            ..filter.clone()
        };
        let cursors = Cursors::new(self.letter, &question);
        let below = filter.cursor.as_deref().map(|cursor| cursors.key(cursor));
        let below = below.transpose()?.map(Uuid::from_bytes);
        let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT) as usize;
        let rows = self.rows(tx, None, filter, below, limit + 1).await?;
        let (rows, more) = cut(rows, limit);
        let last = rows.last().filter(|_| more);
        Ok(Page {
            next_cursor: last.map(|(id, _)| cursors.after(id.as_bytes())),
            items: rows.into_iter().map(|(_, record)| record).collect(),
        })
    }

    /// The one with this id.
    async fn one<T: DeserializeOwned>(
        &self,
        tx: &mut TenantTx,
        id: Uuid,
    ) -> Result<Option<T>, Error> {
        let filter = DirectoryFilter::default();
        let mut rows = self.rows(tx, Some(id), &filter, None, 1).await?;
        Ok(rows.pop().map(|(_, record)| record))
    }

    async fn rows<T: DeserializeOwned>(
        &self,
        tx: &mut TenantTx,
        id: Option<Uuid>,
        filter: &DirectoryFilter,
        below: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<(Uuid, T)>, Error> {
        // Planned with the values at hand: each combination of filters has its own best index.
        let rows: Vec<(Uuid, serde_json::Value)> = sqlx::query_as(self.sql)
            .persistent(false)
            .bind(tx.tenant_id().as_uuid())
            .bind(id)
            .bind(filter.code.as_ref().map(|code| code.as_str()))
            .bind(below)
            .bind(filter.site_id.map(|site| site.as_uuid()))
            .bind(filter.skill.as_ref().map(|skill| skill.as_str()))
            .bind(filter.active)
            .bind(limit as i64)
            .fetch_all(tx.connection())
            .await?;
        rows.into_iter()
            .map(|(id, doc)| {
                let record = serde_json::from_value(doc);
                Ok((
                    id,
                    record.map_err(|e| Error::corrupt("directory", "row", id, e))?,
                ))
            })
            .collect()
    }
}

/// A page of sites, newest first.
///
/// # Errors
/// [`Error::InvalidCursor`] for a cursor that is not of this list; so for the others.
pub async fn sites(tx: &mut TenantTx, filter: &DirectoryFilter) -> Result<SitePage, Error> {
    SITES.page(tx, filter).await
}

/// One site.
pub async fn site(tx: &mut TenantTx, id: SiteId) -> Result<Option<SiteRecord>, Error> {
    SITES.one(tx, id.as_uuid()).await
}

/// A page of assets, newest first.
pub async fn assets(tx: &mut TenantTx, filter: &DirectoryFilter) -> Result<AssetPage, Error> {
    ASSETS.page(tx, filter).await
}

/// One asset.
pub async fn asset(tx: &mut TenantTx, id: AssetId) -> Result<Option<AssetRecord>, Error> {
    ASSETS.one(tx, id.as_uuid()).await
}

/// A page of contacts, newest first. Personal data: the caller was asked for the right.
pub async fn contacts(tx: &mut TenantTx, filter: &DirectoryFilter) -> Result<ContactPage, Error> {
    CONTACTS.page(tx, filter).await
}

/// One contact. Personal data: the caller was asked for the right.
pub async fn contact(tx: &mut TenantTx, id: ContactId) -> Result<Option<ContactRecord>, Error> {
    CONTACTS.one(tx, id.as_uuid()).await
}

/// A page of technicians, newest first.
pub async fn technicians(
    tx: &mut TenantTx,
    filter: &DirectoryFilter,
    homes: Homes,
) -> Result<TechnicianPage, Error> {
    let mut page: TechnicianPage = TECHNICIANS.page(tx, filter).await?;
    page.items.iter_mut().for_each(|record| homes.hide(record));
    Ok(page)
}

/// One technician.
pub async fn technician(
    tx: &mut TenantTx,
    id: TechnicianId,
    homes: Homes,
) -> Result<Option<TechnicianRecord>, Error> {
    let mut found = TECHNICIANS.one(tx, id.as_uuid()).await?;
    found.iter_mut().for_each(|record| homes.hide(record));
    Ok(found)
}

/// A technician's absences that touch a window, in order.
pub async fn absences(
    tx: &mut TenantTx,
    id: TechnicianId,
    window: &TimeWindow,
) -> Result<Vec<AbsenceRecord>, Error> {
    let Json(absences) = sqlx::query_scalar(
        "select coalesce(jsonb_agg(jsonb_build_object(
                    'window', jsonb_build_object('start', starts_at, 'end', ends_at),
                    'reason', reason) order by starts_at), '[]')
         from technician_absences
         where tenant_id = $1 and technician_id = $2 and starts_at < $4 and ends_at > $3",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(id.as_uuid())
    .bind(window.start)
    .bind(window.end)
    .fetch_one(tx.connection())
    .await?;
    Ok(absences)
}

/// A technician's visits that have not ended and touch a window, in order; besides, those of which
/// nobody said when.
pub async fn booked_visits(
    tx: &mut TenantTx,
    id: TechnicianId,
    window: &TimeWindow,
) -> Result<Vec<BookedVisit>, Error> {
    let Json(visits) = sqlx::query_scalar(
        "select coalesce(jsonb_agg(jsonb_build_object(
                    'ticket_id', wire_id('tkt', v.ticket_id), 'visit_id', wire_id('vis', v.id),
                    'starts_at', v.starts_at, 'ends_at', v.ends_at) order by v.starts_at, v.id), '[]')
         from (select ticket_id, id, ends_at, coalesce(starts_at, checked_in_at, eta) as starts_at
               from visits
               where tenant_id = $1 and technician_id = $2 and ended_at is null) v
         where v.starts_at is null
            or v.starts_at < $4 and coalesce(v.ends_at, v.starts_at) >= $3",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(id.as_uuid())
    .bind(window.start)
    .bind(window.end)
    .fetch_one(tx.connection())
    .await?;
    Ok(visits)
}

/// All evidence on record of a ticket, oldest first.
pub async fn evidence(
    tx: &mut TenantTx,
    ticket_id: TicketId,
) -> Result<Option<EvidencePage>, Error> {
    if !exists(tx, ticket_id).await? {
        return Ok(None);
    }
    let rows: Vec<Json<EvidenceRecord>> = sqlx::query_scalar(
        "select jsonb_build_object('id', wire_id('evd', id), 'ticket_id', wire_id('tkt', ticket_id),
                    'kind', kind, 'sha256', sha256, 'media_type', media_type,
                    'size_bytes', size_bytes, 'taken_at', taken_at, 'added_by', added_by,
                    'added_at', added_at, 'verified_at', verified_at)
         from evidence where tenant_id = $1 and ticket_id = $2 order by added_at, id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_id.as_uuid())
    .fetch_all(tx.connection())
    .await?;
    Ok(Some(Page {
        items: rows.into_iter().map(|Json(record)| record).collect(),
        next_cursor: None,
    }))
}
