//! Policy bundles in the database: every one that was uploaded, and which decided when.

use chrono::{DateTime, Utc};
use contracts::{
    policy::BundleRef,
    read::{BundleActivation, StoredBundle},
};
use sqlx::{FromRow, PgPool};

use crate::{Error, TenantTx, read::Sees};

/// Where an archive can be read: in a transaction that has begun, or on a connection of one's own.
#[derive(Debug)]
pub enum Place<'a> {
    /// In this transaction.
    Tx(&'a mut TenantTx),
    /// On one of these.
    Pool(&'a PgPool),
}

/// The archives with this hash, as they were uploaded: one for each key that signed it, and one that
/// is not signed. The newest first.
pub async fn archives(place: Place<'_>, sha256: &str) -> Result<Vec<Vec<u8>>, Error> {
    let query = sqlx::query_scalar(
        "select archive from policy_bundles where sha256 = $1 order by uploaded_at desc, signed_by",
    )
    .bind(sha256);
    Ok(match place {
        Place::Tx(tx) => query.fetch_all(tx.connection()).await?,
        Place::Pool(pool) => query.fetch_all(pool).await?,
    })
}

#[derive(FromRow)]
struct BundleRow {
    version: String,
    sha256: String,
    signed_by: Option<String>,
    uploaded_at: DateTime<Utc>,
    uploaded_by: String,
    active: bool,
}

/// All that were uploaded, the newest first. One that was uploaded again with a signature is there as
/// it was uploaded last.
pub async fn bundles(tx: &mut TenantTx, sees: Sees) -> Result<Vec<StoredBundle>, Error> {
    let rows: Vec<BundleRow> = sqlx::query_as(
        "select b.version, b.sha256, b.signed_by, b.uploaded_at, b.uploaded_by,
                b.sha256 = d.bundle_sha256 is true as active
           from (select distinct on (sha256) *
                   from policy_bundles order by sha256, uploaded_at desc, signed_by) b
          cross join deployment d
          order by b.uploaded_at desc, b.sha256",
    )
    .fetch_all(tx.connection())
    .await?;
    let bundle = |row: BundleRow| StoredBundle {
        bundle: BundleRef {
            version: row.version,
            sha256: row.sha256,
        },
        signed_by: row.signed_by,
        uploaded_at: row.uploaded_at,
        uploaded_by: sees.of_others(row.uploaded_by),
        active: row.active,
    };
    Ok(rows.into_iter().map(bundle).collect())
}

#[derive(FromRow)]
struct ActivationRow {
    position: i64,
    version: String,
    sha256: String,
    previous_sha256: Option<String>,
    activated_at: DateTime<Utc>,
    activated_by: String,
    reason: String,
}

/// Which decided when, the newest first.
pub async fn activations(tx: &mut TenantTx, sees: Sees) -> Result<Vec<BundleActivation>, Error> {
    let rows: Vec<ActivationRow> = sqlx::query_as(
        "select position, version, sha256, previous_sha256, activated_at, activated_by, reason
           from bundle_activations order by position desc limit 1000",
    )
    .fetch_all(tx.connection())
    .await?;
    let activation = |row: ActivationRow| BundleActivation {
        position: row.position.unsigned_abs(),
        bundle: BundleRef {
            version: row.version,
            sha256: row.sha256,
        },
        previous_sha256: row.previous_sha256,
        activated_at: row.activated_at,
        activated_by: sees.of_others(row.activated_by),
        reason: sees.of_others(row.reason),
    };
    Ok(rows.into_iter().map(activation).collect())
}

/// Keeps the bundle that comes with a program, so that processes of the version before and after
/// can load it, and makes it the one that decides. `signed_by` is the key whose signature over it was
/// verified, if one was asked for. As `dispatch_owner`; commands do the same for everybody else.
pub async fn install(
    owner: &PgPool,
    bundle: &BundleRef,
    archive: &[u8],
    signed_by: Option<&str>,
    by: &str,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut tx = owner.begin().await?;
    sqlx::query(
        "insert into policy_bundles (sha256, version, archive, signed_by, uploaded_at, uploaded_by)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
    )
    .bind(&bundle.sha256)
    .bind(&bundle.version)
    .bind(archive)
    .bind(signed_by)
    .bind(now)
    .bind(by)
    .execute(&mut *tx)
    .await?;
    let previous: Option<String> =
        sqlx::query_scalar("select bundle_sha256 from deployment for update")
            .fetch_one(&mut *tx)
            .await?;
    if previous.as_ref() != Some(&bundle.sha256) {
        sqlx::query("update deployment set bundle_version = $1, bundle_sha256 = $2")
            .bind(&bundle.version)
            .bind(&bundle.sha256)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "insert into bundle_activations
                 (sha256, version, previous_sha256, activated_at, activated_by, reason)
             values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&bundle.sha256)
        .bind(&bundle.version)
        .bind(previous)
        .bind(now)
        .bind(by)
        .bind(reason)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}
