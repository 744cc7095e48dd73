//! Service accounts and their keys: what is shown of them, and who calls with one.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use contracts::{
    ActorKind, ApiKeyId, ApiPermission, Role, ServiceAccountId, Slug, TenantId,
    read::Page,
    service_account::{
        ApiKeyPage, ApiKeyRecord, ServiceAccountPage, ServiceAccountSummary, ServiceAccountView,
    },
    value::KeyPrefix,
};
use serde::de::DeserializeOwned;
use sqlx::{FromRow, PgPool, types::Json};
use uuid::Uuid;

use super::{cursor::Cursors, cut};
use crate::{Error, TenantTx};

/// Keys that are shown with their account.
const SHOWN_KEYS: i64 = 100;
/// The letter of keys in cursors.
const LETTER: u8 = b'k';

/// Service accounts by their code, after the given one.
pub async fn service_accounts(
    tx: &mut TenantTx,
    after: Option<&Slug>,
    limit: u32,
) -> Result<ServiceAccountPage, Error> {
    let rows: Vec<Json<ServiceAccountSummary>> = sqlx::query_scalar(
        "select service_account_json(a) from service_accounts a
          where a.tenant_id = $1 and a.code > coalesce($2, '') order by a.code limit $3",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(after.map(Slug::as_str))
    .bind(i64::from(limit) + 1)
    .fetch_all(tx.connection())
    .await?;
    let mut items: Vec<_> = rows.into_iter().map(|Json(row)| row).collect();
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let last = items.last().map(|account| account.code.clone());
    Ok(ServiceAccountPage {
        items,
        next_after: last.filter(|_| more),
    })
}

/// One account with its latest keys.
pub async fn service_account(
    tx: &mut TenantTx,
    id: ServiceAccountId,
) -> Result<Option<ServiceAccountView>, Error> {
    let found: Option<Json<ServiceAccountSummary>> = sqlx::query_scalar(
        "select service_account_json(a) from service_accounts a
          where a.tenant_id = $1 and a.id = $2",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(id.as_uuid())
    .fetch_optional(tx.connection())
    .await?;
    let Some(Json(account)) = found else {
        return Ok(None);
    };
    let keys: Vec<Json<ApiKeyRecord>> = sqlx::query_scalar(
        "select api_key_json(k) from api_keys k
          where k.tenant_id = $1 and k.account_id = $2 order by k.id desc limit $3",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(id.as_uuid())
    .bind(SHOWN_KEYS)
    .fetch_all(tx.connection())
    .await?;
    Ok(Some(ServiceAccountView {
        account,
        keys: keys.into_iter().map(|Json(key)| key).collect(),
    }))
}

/// Which keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Of this account.
    pub account: Option<ServiceAccountId>,
    /// With this prefix.
    pub prefix: Option<KeyPrefix>,
}

/// A page of keys, newest first.
///
/// # Errors
/// [`Error::InvalidCursor`] for a cursor that is not of this list.
pub async fn api_keys(
    tx: &mut TenantTx,
    filter: &KeyFilter,
    cursor: Option<&str>,
    limit: u32,
) -> Result<ApiKeyPage, Error> {
    let cursors = Cursors::new(LETTER, filter);
    let below = cursor.map(|cursor| cursors.key(cursor)).transpose()?;
    let rows: Vec<(Uuid, Json<ApiKeyRecord>)> = sqlx::query_as(
        "select k.id, api_key_json(k) from api_keys k
          where k.tenant_id = $1 and ($2::uuid is null or k.account_id = $2)
            and ($3::text is null or k.prefix = $3) and ($4::uuid is null or k.id < $4)
          order by k.id desc limit $5",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(filter.account.map(|id| id.as_uuid()))
    .bind(filter.prefix.as_ref().map(KeyPrefix::as_str))
    .bind(below.map(Uuid::from_bytes))
    .bind(i64::from(limit) + 1)
    .fetch_all(tx.connection())
    .await?;
    let (rows, more) = cut(rows, limit as usize);
    let last = rows.last().filter(|_| more);
    Ok(Page {
        next_cursor: last.map(|(id, _)| cursors.after(id.as_bytes())),
        items: rows.into_iter().map(|(_, Json(key))| key).collect(),
    })
}

/// Who calls with a key, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOfCaller {
    /// The account's tenant.
    pub tenant_id: TenantId,
    /// Which key.
    pub id: ApiKeyId,
    /// The part of it that may be shown.
    pub prefix: String,
    /// SHA-256 over all of it.
    pub key_hash: Vec<u8>,
    /// What it is good for; everything without any.
    pub scopes: BTreeSet<ApiPermission>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// When it was taken back.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When its use was noted last.
    pub last_used_at: Option<DateTime<Utc>>,
    /// The account's name.
    pub code: Slug,
    /// What it is.
    pub kind: ActorKind,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// Whether it acts in any tenant.
    pub any_tenant: bool,
    /// Whether its keys are good.
    pub active: bool,
}

#[derive(FromRow)]
struct CallerRow {
    tenant_id: Uuid,
    id: Uuid,
    prefix: String,
    key_hash: Vec<u8>,
    scopes: Vec<String>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    code: String,
    kind: String,
    roles: Vec<String>,
    any_tenant: bool,
    active: bool,
}

/// The key with this hash, of whichever tenant.
pub async fn caller(pool: &PgPool, hash: &[u8; 32]) -> Result<Option<KeyOfCaller>, Error> {
    let row: Option<CallerRow> = sqlx::query_as("select * from api_key_of_caller($1)")
        .bind(hash.as_slice())
        .fetch_optional(pool)
        .await?;
    row.map(CallerRow::read).transpose()
}

impl CallerRow {
    fn read(self) -> Result<KeyOfCaller, Error> {
        Ok(KeyOfCaller {
            tenant_id: TenantId::from_uuid(self.tenant_id),
            id: ApiKeyId::from_uuid(self.id),
            scopes: words("api_keys", "scopes", self.id, &self.scopes)?,
            code: word("service_accounts", "code", self.id, &self.code)?,
            kind: word("service_accounts", "kind", self.id, &self.kind)?,
            roles: words("service_accounts", "roles", self.id, &self.roles)?,
            prefix: self.prefix,
            key_hash: self.key_hash,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            last_used_at: self.last_used_at,
            any_tenant: self.any_tenant,
            active: self.active,
        })
    }
}

fn word<T: DeserializeOwned>(
    table: &'static str,
    column: &'static str,
    row: Uuid,
    text: &str,
) -> Result<T, Error> {
    let read = serde_json::from_value(text.into());
    read.map_err(|error| Error::corrupt(table, column, row, error))
}

/// A scope of a version that is newer than this build is none that it could give: it stands for
/// nothing, and never for everything.
fn words<T: DeserializeOwned + Ord>(
    table: &'static str,
    column: &'static str,
    row: Uuid,
    texts: &[String],
) -> Result<BTreeSet<T>, Error> {
    let read: BTreeSet<T> = texts
        .iter()
        .filter_map(|text| serde_json::from_value(text.as_str().into()).ok())
        .collect();
    match read.is_empty() && !texts.is_empty() {
        true => Err(Error::corrupt(
            table,
            column,
            row,
            "none of its words is known",
        )),
        false => Ok(read),
    }
}

/// Notes that a key was used, unless that was noted within the minute before.
pub async fn note_use(tx: &mut TenantTx, id: ApiKeyId, at: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query(
        "update api_keys k set last_used_at = $3
          where k.tenant_id = $1 and k.id = $2
            and (k.last_used_at is null or k.last_used_at < $3 - interval '1 minute')",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(id.as_uuid())
    .bind(at)
    .execute(tx.connection())
    .await?;
    Ok(())
}
