//! One ticket, the list of them, and where one stands.
//!
//! A page of the list looks at no more than [`SCAN`] tickets that fit the filters with an index.
//! When the other filters leave fewer of those than a page holds, the page is short and its cursor
//! leads on, so that no question costs more because its answer is rare.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contracts::{
    TicketId, TicketState,
    approval::Approval,
    event::WaitingFor,
    read::{
        IdOrCode, SlaRecord, TicketCounts, TicketFilter, TicketPage, TicketSort, TicketSummary,
    },
    ticket::Ticket,
};
use sqlx::{AssertSqlSafe, FromRow, Postgres, query::QueryAs, types::Json};
use uuid::Uuid;

use super::{cursor::Cursors, cut, search::Search, texts};
use crate::{Error, TenantTx};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
/// Tickets that one page looks at.
const SCAN: i64 = 5_000;
/// Tickets that are counted.
const COUNT: i64 = 10_000;

/// One ticket.
pub async fn ticket(tx: &mut TenantTx, ticket_id: TicketId) -> Result<Option<Ticket>, Error> {
    let found: Option<Json<Ticket>> =
        sqlx::query_scalar("select doc from tickets where tenant_id = $1 and id = $2")
            .bind(tx.tenant_id().as_uuid())
            .bind(ticket_id.as_uuid())
            .fetch_optional(tx.connection())
            .await?;
    Ok(found.map(|Json(ticket)| ticket))
}

/// A ticket with the rows that say what is to be done about it.
#[derive(Debug, Clone, PartialEq)]
pub struct TicketFacts {
    /// The ticket.
    pub ticket: Ticket,
    /// `seq` of the last event to its workflow.
    pub event_seq: u64,
    /// Approvals that wait, oldest first.
    pub open_approvals: Vec<Approval>,
    /// Warnings and breaches on record, oldest first.
    pub sla_records: Vec<SlaRecord>,
    /// SHA-256 of the active bundle.
    pub bundle_sha256: Option<String>,
}

#[derive(FromRow)]
struct FactsRow {
    doc: Json<Ticket>,
    event_seq: i64,
    open_approvals: Json<Vec<Approval>>,
    sla_records: Json<Vec<SlaRecord>>,
    bundle_sha256: Option<String>,
}

/// Reads them, as of one moment.
pub async fn ticket_facts(
    tx: &mut TenantTx,
    ticket_id: TicketId,
) -> Result<Option<TicketFacts>, Error> {
    let row: Option<FactsRow> = sqlx::query_as(
        "select t.doc, t.event_seq, (select bundle_sha256 from deployment) as bundle_sha256,
                (select coalesce(jsonb_agg(approval_json(a) order by a.requested_at, a.id), '[]')
                 from approvals a where a.tenant_id = t.tenant_id and a.ticket_id = t.id
                   and a.state = 'pending') as open_approvals,
                (select coalesce(jsonb_agg(jsonb_build_object(
                            'clock', r.clock, 'kind', r.kind, 'revision', r.revision,
                            'effective_at', r.effective_at, 'recorded_at', r.recorded_at)
                            order by r.effective_at, r.clock, r.kind), '[]')
                 from sla_records r where r.tenant_id = t.tenant_id and r.ticket_id = t.id)
                    as sla_records
         from tickets t where t.tenant_id = $1 and t.id = $2",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_id.as_uuid())
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| TicketFacts {
        ticket: row.doc.0,
        event_seq: row.event_seq.unsigned_abs(),
        open_approvals: row.open_approvals.0,
        sla_records: row.sla_records.0,
        bundle_sha256: row.bundle_sha256,
    }))
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    doc: Json<Ticket>,
    waiting_for: String,
    due_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for TicketSummary {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let waiting_for: WaitingFor = row.waiting_for.parse().map_err(|e| {
            Error::corrupt("tickets", "waiting_for", TicketId::from_uuid(row.id), e)
        })?;
        Ok(Self {
            ticket: row.doc.0,
            waiting_for,
            due_at: row.due_at,
        })
    }
}

/// Where a page begins: after the ticket with this id and, in the order of deadlines, this one.
#[derive(Debug, Clone, Copy, FromRow)]
struct Key {
    id: Uuid,
    due_at: Option<DateTime<Utc>>,
}

impl Key {
    fn read(cursors: Cursors, sort: TicketSort, cursor: &str) -> Result<Self, Error> {
        let bytes: [u8; 24] = cursors.key(cursor)?;
        let (due, id) = bytes.split_at(8);
        let micros = i64::from_be_bytes(due.try_into().map_err(|_| Error::InvalidCursor)?);
        let due_at = DateTime::from_timestamp_micros(micros).ok_or(Error::InvalidCursor)?;
        Ok(Self {
            id: Uuid::from_slice(id).map_err(|_| Error::InvalidCursor)?,
            due_at: (sort == TicketSort::Due).then_some(due_at),
        })
    }

    fn cursor(self, cursors: Cursors) -> String {
        let due = self.due_at.unwrap_or_default().timestamp_micros();
        cursors.after(&[&due.to_be_bytes()[..], self.id.as_bytes()].concat())
    }
}

// The filters that have an index, $1 to $10 …
const INDEXED: &str = "tenant_id = $1
    and ($2::text[] is null or state = any($2))
    and ($3::text[] is null or waiting_for = any($3))
    and ($4::uuid is null or site_id = $4)
    and ($5::uuid is null or technician_id = $5)
    and ($6::timestamptz is null or due_at < $6)
    and ($7::uuid is null or id >= $7) and ($8::uuid is null or id <= $8)
    and ($9::text is null or short_id = $9)
    and ($10::text is null or invoice_number = $10)";
// … and those that are looked at ticket by ticket, $11 to $15.
const OTHERS: &str = "($11::text[] is null or priority = any($11))
    and ($12::text[] is null or template = any($12))
    and ($13::text is null or site_id = any($14) or asset_id = any($15)
         or exists (select from jsonb_each_text(doc -> 'details') d
                    where position($13 in d.key) > 0 or position($13 in d.value) > 0))";

/// Which rows, in which order: each with its own index.
const fn order(sort: TicketSort) -> (&'static str, &'static str) {
    match sort {
        TicketSort::Newest => ("($16::uuid is null or id < $16)", "id desc"),
        TicketSort::Due => (
            "due_at is not null and ($16::uuid is null or (due_at, id) > ($17::timestamptz, $16))",
            "due_at, id",
        ),
    }
}

/// A filter whose names and texts were looked up.
struct Question<'a> {
    filter: &'a TicketFilter,
    site: Option<Uuid>,
    technician: Option<Uuid>,
    search: Option<Search>,
}

type Ask<'a, T> = QueryAs<'a, Postgres, T, sqlx::postgres::PgArguments>;

impl Question<'_> {
    /// Binds $1 to $15.
    fn bind<'q, T>(&self, ask: Ask<'q, T>, tx: &TenantTx) -> Ask<'q, T> {
        let filter = self.filter;
        let (mut ids, mut short, mut invoice, mut word) = (None, None, None, None);
        let (mut sites, mut assets) = (Vec::new(), Vec::new());
        match self.search.clone() {
            None => {}
            Some(Search::Ids(first, last)) => ids = Some((first, last)),
            Some(Search::ShortId(digits)) => short = Some(digits),
            Some(Search::Invoice(number)) => invoice = Some(number),
            Some(Search::Word(found)) => {
                word = Some(found.text);
                sites = found.sites;
                assets = found.assets;
            }
        }
        ask.bind(tx.tenant_id().as_uuid())
            .bind(texts(&filter.state))
            .bind(texts(&filter.waiting_for))
            .bind(self.site)
            .bind(self.technician)
            .bind(filter.due_before)
            .bind(ids.map(|(first, _)| first))
            .bind(ids.map(|(_, last)| last))
            .bind(short)
            .bind(invoice)
            .bind(texts(&filter.priority))
            .bind(texts(&filter.incident_type))
            .bind(word)
            .bind(sites)
            .bind(assets)
    }

    /// Rows after the key, one more than the page holds.
    async fn rows(
        &self,
        tx: &mut TenantTx,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        let (after_key, order) = order(self.filter.sort);
        let sql = format!(
            "select id, doc, waiting_for, due_at from (
                 select * from tickets where {INDEXED} and {after_key} order by {order} limit {SCAN}) t
             where {OTHERS} order by {order} limit $18"
        );
        // Planned with the values at hand: each combination of filters has its own best index.
        let ask = self.bind(sqlx::query_as(AssertSqlSafe(sql)).persistent(false), tx);
        let rows = ask
            .bind(after.map(|key| key.id))
            .bind(after.and_then(|key| key.due_at))
            .bind(limit as i64 + 1)
            .fetch_all(tx.connection())
            .await?;
        Ok(rows)
    }

    /// Whether there are filters that a page may spend its whole scan on.
    fn is_looked_for(&self) -> bool {
        !self.filter.priority.is_empty()
            || !self.filter.incident_type.is_empty()
            || matches!(self.search, Some(Search::Word(_)))
    }

    /// The last ticket that a page looked at, when there may be more behind it.
    async fn end_of_scan(
        &self,
        tx: &mut TenantTx,
        after: Option<Key>,
    ) -> Result<Option<Key>, Error> {
        let (after_key, order) = order(self.filter.sort);
        let sql = format!(
            "select id, due_at from tickets where {INDEXED} and {after_key}
             order by {order} offset {} limit 1",
            SCAN - 1
        );
        let ask = self.bind(sqlx::query_as(AssertSqlSafe(sql)).persistent(false), tx);
        let found = ask
            .bind(after.map(|key| key.id))
            .bind(after.and_then(|key| key.due_at))
            .fetch_optional(tx.connection())
            .await?;
        Ok(found)
    }

    async fn counts(&self, tx: &mut TenantTx) -> Result<TicketCounts, Error> {
        let due = match self.filter.sort {
            TicketSort::Newest => "true",
            TicketSort::Due => "due_at is not null",
        };
        let sql = format!(
            "select state, count(*) filter (where {OTHERS}), count(*) from (
                 select * from tickets where {INDEXED} and {due} limit {COUNT} + 1) t
             group by state"
        );
        let ask = self.bind(sqlx::query_as(AssertSqlSafe(sql)).persistent(false), tx);
        let rows: Vec<(String, i64, i64)> = ask.fetch_all(tx.connection()).await?;
        let mut by_state = BTreeMap::new();
        let mut seen = 0;
        for (state, count, of) in rows {
            seen += of;
            let state: TicketState = state
                .parse()
                .map_err(|e| Error::corrupt("tickets", "state", &state, e))?;
            if count > 0 {
                by_state.insert(state, count.unsigned_abs());
            }
        }
        Ok(TicketCounts {
            total: by_state.values().sum(),
            by_state,
            complete: seen <= COUNT,
        })
    }
}

/// A page of the list.
///
/// # Errors
/// [`Error::InvalidCursor`] for a cursor that is not of this list, order and filters.
pub async fn tickets(tx: &mut TenantTx, filter: &TicketFilter) -> Result<TicketPage, Error> {
    let asked = TicketFilter {
        cursor: None,
        limit: None,
        counts: false,
        ..filter.clone()
    };
    let cursors = Cursors::new(b't', &asked);
    let after = filter
        .cursor
        .as_deref()
        .map(|cursor| Key::read(cursors, filter.sort, cursor))
        .transpose()?;
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT) as usize;
    let question = Question {
        filter,
        site: match &filter.site {
            None => None,
            Some(IdOrCode::Id(id)) => Some(id.as_uuid()),
            Some(IdOrCode::Code(code)) => Some(by_code(tx, "sites", code.as_str()).await?),
        },
        technician: match &filter.technician {
            None => None,
            Some(IdOrCode::Id(id)) => Some(id.as_uuid()),
            Some(IdOrCode::Code(code)) => Some(by_code(tx, "technicians", code.as_str()).await?),
        },
        search: match &filter.q {
            None => None,
            Some(text) => Some(Search::resolve(tx, text).await?),
        },
    };
    let counts = match filter.counts {
        true => Some(question.counts(tx).await?),
        false => None,
    };
    let rows = question.rows(tx, after, limit).await?;
    let (rows, more) = cut(rows, limit);
    let last = match rows.last().filter(|_| more) {
        Some(row) => Some(Key {
            id: row.id,
            due_at: row.due_at,
        }),
        None if question.is_looked_for() => question.end_of_scan(tx, after).await?,
        None => None,
    };
    let items = rows
        .into_iter()
        .map(TicketSummary::try_from)
        .collect::<Result<_, _>>()?;
    Ok(TicketPage {
        items,
        next_cursor: last.map(|key| key.cursor(cursors)),
        counts,
    })
}

/// The thing with this code; the nil id, which no thing has, when there is none.
async fn by_code(tx: &mut TenantTx, table: &'static str, code: &str) -> Result<Uuid, Error> {
    let sql = format!("select id from {table} where tenant_id = $1 and code = $2");
    let found: Option<Uuid> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(tx.tenant_id().as_uuid())
        .bind(code)
        .fetch_optional(tx.connection())
        .await?;
    Ok(found.unwrap_or_default())
}
