//! Tenants: which there are, how one stands, and all that is kept of it.
//!
//! The application login sees its own tenant alone, as everywhere. Whoever runs the installation looks
//! at another one in a transaction that is bound to that one; the list of all is the one exception, and
//! a function of the owner of the tables makes it. The first tenant of all is made by that owner.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use contracts::{
    Slug, TemplateId, TenantId, TicketState,
    schedule::TenantSettings,
    tenant::{
        ExportLine, TenantLimits, TenantPage, TenantState, TenantSummary, TenantView,
        usual_calendar, usual_currency, usual_locale,
    },
};
use futures::{Stream, TryStreamExt};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgPool, raw_sql, types::Json};
use strum::VariantArray;
use uuid::Uuid;

use crate::{Error, TenantTx};

/// All tenants that workflows may run for.
pub async fn all(pool: &PgPool) -> Result<Vec<TenantId>, Error> {
    let sql = "select tenant_id from tenants where state <> 'erased' order by tenant_id";
    ids(pool, sql).await
}

/// Those that were erased.
pub async fn erased(pool: &PgPool) -> Result<Vec<TenantId>, Error> {
    let sql = "select tenant_id from tenants where state = 'erased' order by tenant_id";
    ids(pool, sql).await
}

async fn ids(pool: &PgPool, sql: &'static str) -> Result<Vec<TenantId>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(pool).await?;
    Ok(ids.into_iter().map(TenantId::from_uuid).collect())
}

#[derive(FromRow)]
struct SummaryRow {
    tenant_id: Uuid,
    slug: String,
    state: String,
    since: DateTime<Utc>,
    reason: Option<String>,
    erase_after: Option<DateTime<Utc>>,
}

impl SummaryRow {
    fn summary(self) -> Result<TenantSummary, Error> {
        let odd = |column, what| Error::corrupt("tenants", column, self.tenant_id, what);
        let word = |column, text| Slug::new(text).map_err(|error| odd(column, error.to_string()));
        Ok(TenantSummary {
            tenant_id: TenantId::from_uuid(self.tenant_id),
            slug: word("slug", self.slug)?,
            state: state(&self.state).map_err(|error| odd("state", error.to_string()))?,
            since: self.since,
            reason: self
                .reason
                .map(|reason| word("reason", reason))
                .transpose()?,
            erase_after: self.erase_after,
        })
    }
}

fn state(text: &str) -> Result<TenantState, strum::ParseError> {
    text.parse()
}

/// What became of the wish for a first tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// It was made.
    Made,
    /// A tenant of this name was there before.
    There(TenantSummary),
    /// There are others, the oldest of which these are.
    Others(Vec<TenantSummary>),
}

/// Of so many that are there a refusal tells, at most.
const TOLD: i64 = 4;

/// Makes the first tenant of an installation, under this id and with what is usual: that of those who
/// run it. Each command stands in a tenant's records, the making of a tenant too, so the first one can be
/// made by none. Where there is a tenant nothing is made. As `dispatch_owner`.
///
/// # Errors
/// When the database cannot be read or written.
pub async fn first(owner: &PgPool, id: TenantId, slug: &Slug) -> Result<First, Error> {
    let mut tx = owner.begin().await?;
    if let Some(found) = there(&mut tx, slug).await? {
        return Ok(found);
    }
    // Of two at once one comes after. Nobody else is kept waiting: there is no tenant.
    raw_sql("lock table tenants in share row exclusive mode")
        .execute(&mut *tx)
        .await?;
    if let Some(found) = there(&mut tx, slug).await? {
        return Ok(found);
    }
    sqlx::query("select set_config('app.tenant_id', $1, true)")
        .bind(id.as_uuid().to_string())
        .execute(&mut *tx)
        .await?;
    let settings = TenantSettings {
        calendar: usual_calendar("UTC"),
        currency: usual_currency().to_string(),
        quiet_hours: None,
    };
    sqlx::query("insert into tenants (tenant_id, slug, settings, locale) values ($1, $2, $3, $4)")
        .bind(id.as_uuid())
        .bind(slug.as_str())
        .bind(Json(settings))
        .bind(usual_locale().to_string())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(First::Made)
}

/// What there is instead of no tenant. The owner of the tables may list all.
async fn there(connection: &mut PgConnection, slug: &Slug) -> Result<Option<First>, Error> {
    let rows: Vec<SummaryRow> = sqlx::query_as(
        "select tenant_id, slug, state, since, reason, erase_after from tenants
          order by slug <> $1, created_at, slug limit $2",
    )
    .bind(slug.as_str())
    .bind(TOLD)
    .fetch_all(connection)
    .await?;
    let found = rows.into_iter().map(SummaryRow::summary);
    let found = found.collect::<Result<Vec<_>, _>>()?;
    Ok(match found.first() {
        None => None,
        Some(first) if first.slug == *slug => Some(First::There(first.clone())),
        Some(_) => Some(First::Others(found)),
    })
}

/// Whether there is any. As `dispatch_owner`.
///
/// # Errors
/// When the database cannot be read.
pub async fn are_there(owner: &PgPool) -> Result<bool, Error> {
    let sql = "select exists (select from tenants)";
    Ok(sqlx::query_scalar(sql).fetch_one(owner).await?)
}

/// The tenants of the installation by their slug, after the given one.
pub async fn list(
    tx: &mut TenantTx,
    after: Option<&Slug>,
    state: Option<TenantState>,
    limit: u32,
) -> Result<TenantPage, Error> {
    let rows: Vec<SummaryRow> = sqlx::query_as("select * from tenants_of_installation($1, $2, $3)")
        .bind(after.map(Slug::as_str))
        .bind(state.map(|state| state.to_string()))
        .bind(i32::try_from(limit).unwrap_or(i32::MAX).saturating_add(1))
        .fetch_all(tx.connection())
        .await?;
    let items = rows.into_iter().map(SummaryRow::summary);
    let mut items = items.collect::<Result<Vec<_>, _>>()?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().map(|tenant| tenant.slug.clone());
    Ok(TenantPage {
        items,
        next_after: last.filter(|_| more),
    })
}

#[derive(FromRow)]
struct ViewRow {
    #[sqlx(flatten)]
    summary: SummaryRow,
    version: i64,
    created_at: DateTime<Utc>,
    settings: Json<TenantSettings>,
    locale: String,
    templates: Option<Json<Vec<TemplateId>>>,
    limits: Option<Json<TenantLimits>>,
}

/// The transaction's tenant; `None` when there is no such tenant.
pub async fn view(tx: &mut TenantTx) -> Result<Option<TenantView>, Error> {
    let tenant = tx.tenant_id();
    let row: Option<ViewRow> = sqlx::query_as(
        "select tenant_id, slug, state, since, reason, erase_after, version, created_at, settings,
                locale, templates, limits
           from tenants where tenant_id = $1",
    )
    .bind(tenant.as_uuid())
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let Json(settings) = row.settings;
    Ok(Some(TenantView {
        version: row.version.unsigned_abs(),
        created_at: row.created_at,
        calendar: settings.calendar,
        currency: settings.currency,
        quiet_hours: settings.quiet_hours,
        locale: row
            .locale
            .parse()
            .map_err(|error| Error::corrupt("tenants", "locale", tenant, error))?,
        templates: row.templates.map(|Json(templates)| templates),
        limits: row.limits.map(|Json(limits)| limits).unwrap_or_default(),
        quotas: None,
        summary: row.summary.summary()?,
    }))
}

/// What is set apart for tenants of how much they may use: those of the installation that have any. As
/// the maintenance login.
pub async fn limits(pool: &PgPool) -> Result<HashMap<TenantId, TenantLimits>, Error> {
    let sql = "select tenant_id, limits from tenants where limits is not null";
    let rows: Vec<(Uuid, Value)> = sqlx::query_as(sql).fetch_all(pool).await?;
    let of = |(id, limits)| match serde_json::from_value(limits) {
        Ok(limits) => Some((TenantId::from_uuid(id), limits)),
        // A newer program may set what this one does not know.
        Err(error) => {
            tracing::warn!(tenant = %id, %error, "what is set for a tenant cannot be read");
            None
        }
    };
    Ok(rows.into_iter().filter_map(of).collect())
}

/// How many tickets of the tenant are open. As the maintenance login.
pub async fn open_tickets(pool: &PgPool, tenant: TenantId) -> Result<u64, Error> {
    let open = TicketState::VARIANTS
        .iter()
        .filter(|state| !state.is_terminal())
        .map(ToString::to_string);
    let count: i64 = sqlx::query_scalar(
        "select count(*) from tickets where tenant_id = $1 and state = any ($2)",
    )
    .bind(tenant.as_uuid())
    .bind(open.collect::<Vec<_>>())
    .fetch_one(pool)
    .await?;
    Ok(count.unsigned_abs())
}

/// How many bytes are kept of the tenant: of messages what people and providers said, and the policy
/// bundles that it uploaded. As the maintenance login, which sees lengths and no texts.
pub async fn storage_bytes(pool: &PgPool, tenant: TenantId) -> Result<u64, Error> {
    let bytes: i64 = sqlx::query_scalar("select tenant_storage_bytes($1)")
        .bind(tenant.as_uuid())
        .fetch_one(pool)
        .await?;
    Ok(bytes.unsigned_abs())
}

/// Whether there is such a tenant: the transaction's.
pub async fn is_known(tx: &mut TenantTx) -> Result<bool, Error> {
    Ok(standing(tx).await?.is_some())
}

/// Where the transaction's tenant stands, and from when on it may be erased.
pub async fn standing(
    tx: &mut TenantTx,
) -> Result<Option<(TenantState, Option<DateTime<Utc>>)>, Error> {
    let tenant = tx.tenant_id();
    let row: Option<(String, Option<DateTime<Utc>>)> =
        sqlx::query_as("select state, erase_after from tenants where tenant_id = $1")
            .bind(tenant.as_uuid())
            .fetch_optional(tx.connection())
            .await?;
    row.map(|(word, erase_after)| {
        let state = state(&word);
        let state = state.map_err(|error| Error::corrupt("tenants", "state", tenant, error))?;
        Ok((state, erase_after))
    })
    .transpose()
}

/// A table of tenants' rows, as an export reads it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ExportTable {
    /// Its name.
    pub name: String,
    columns: Vec<String>,
    /// What its rows are ordered by.
    key: Vec<String>,
}

/// Columns that an export leaves out: what proves who somebody is.
pub const SECRET: [&str; 3] = ["secret", "secret_hash", "key_hash"];

/// Tables that an export leaves out: stored answers repeat what the other rows say, by the keys that
/// callers chose.
pub const LEFT_OUT: [&str; 1] = ["idempotency_keys"];

/// Every table with rows of tenants, from the catalogue: none can be forgotten.
pub async fn export_tables(tx: &mut TenantTx) -> Result<Vec<ExportTable>, Error> {
    let tables = sqlx::query_as(
        "select c.relname::text as name,
                array(select quote_ident(a.attname) from pg_attribute a
                       where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                         and a.attname <> all ($1) order by a.attnum) as columns,
                array(select quote_ident(a.attname)
                        from pg_index i
                       cross join unnest(i.indkey::smallint[]) with ordinality k (attnum, n)
                        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
                       where i.indrelid = c.oid and i.indisprimary order by k.n) as key
           from pg_class c
          where c.relkind in ('r', 'p') and not c.relispartition
            and c.relnamespace = 'public'::regnamespace and c.relname <> all ($2)
            and exists (select from pg_attribute a where a.attrelid = c.oid
                           and a.attname = 'tenant_id' and not a.attisdropped)
          order by c.relname",
    )
    .bind(SECRET.map(str::to_owned))
    .bind(LEFT_OUT.map(str::to_owned))
    .fetch_all(tx.connection())
    .await?;
    Ok(tables)
}

/// The tenant's rows of the table, in the order of its key.
pub fn export<'a>(
    tx: &'a mut TenantTx,
    table: &'a ExportTable,
) -> impl Stream<Item = Result<ExportLine, Error>> + Send + 'a {
    let tenant = tx.tenant_id().as_uuid();
    // Names from the catalogue, quoted there.
    let sql = format!(
        "select to_jsonb(r) from (select {} from {} where tenant_id = $1 order by {}) r",
        table.columns.join(", "),
        table.name,
        table.key.join(", "),
    );
    let rows = sqlx::query_scalar::<_, Json<Map<String, Value>>>(AssertSqlSafe(sql))
        .bind(tenant)
        .fetch(tx.connection());
    rows.map_err(Error::from)
        .map_ok(|Json(row)| ExportLine::Row {
            table: table.name.clone(),
            row,
        })
}
