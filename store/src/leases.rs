//! Which relay delivers which partitions: rows with a holder, a fencing epoch and an expiry.
//!
//! All times are the database's, so that relays with different clocks agree. A lease only keeps
//! relays out of each other's way; that an event takes effect once is the workflow's `applied_seq`.
//! Runs as `dispatch_relay`.

use std::time::Duration;

use sqlx::{PgPool, postgres::types::PgInterval};
use uuid::Uuid;

use crate::Error;

/// Says that this relay lives, for `ttl`; answers how many do, this one included.
pub async fn announce(pool: &PgPool, holder: Uuid, ttl: Duration) -> Result<usize, Error> {
    let mut tx = pool.begin().await?;
    sqlx::query("delete from relays where expires_at <= clock_timestamp()")
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "insert into relays (holder, expires_at) values ($1, clock_timestamp() + $2)
         on conflict (holder) do update set expires_at = excluded.expires_at",
    )
    .bind(holder)
    .bind(interval(ttl)?)
    .execute(&mut *tx)
    .await?;
    let live: i64 = sqlx::query_scalar("select count(*) from relays")
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(usize::try_from(live).unwrap_or(1))
}

/// This relay ends.
pub async fn leave(pool: &PgPool, holder: Uuid) -> Result<(), Error> {
    sqlx::query("delete from relays where holder = $1")
        .bind(holder)
        .execute(pool)
        .await?;
    Ok(())
}

/// Prolongs what the holder still holds; answers those partitions in order.
pub async fn renew(pool: &PgPool, holder: Uuid, ttl: Duration) -> Result<Vec<u8>, Error> {
    let rows: Vec<i16> = sqlx::query_scalar(
        "with renewed as (
             update relay_leases set expires_at = clock_timestamp() + $2
             where holder = $1 and expires_at > clock_timestamp()
             returning partition)
         select partition from renewed order by partition",
    )
    .bind(holder)
    .bind(interval(ttl)?)
    .fetch_all(pool)
    .await?;
    Ok(partitions(rows))
}

/// Takes up to `most` partitions that nobody holds; each gets a higher epoch.
pub async fn acquire(
    pool: &PgPool,
    holder: Uuid,
    ttl: Duration,
    most: usize,
) -> Result<Vec<u8>, Error> {
    // Two relays that look at once take different rows; a row that is being changed is not free.
    let rows: Vec<i16> = sqlx::query_scalar(
        "with free as (
             select partition from relay_leases
             where holder is null or expires_at <= clock_timestamp()
             order by partition limit $3 for update skip locked),
         taken as (
             update relay_leases l
             set holder = $1, epoch = l.epoch + 1, expires_at = clock_timestamp() + $2
             from free where l.partition = free.partition
             returning l.partition)
         select partition from taken order by partition",
    )
    .bind(holder)
    .bind(interval(ttl)?)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    Ok(partitions(rows))
}

/// Gives these back.
pub async fn release(pool: &PgPool, holder: Uuid, partitions: &[u8]) -> Result<(), Error> {
    let partitions: Vec<i16> = partitions.iter().copied().map(i16::from).collect();
    sqlx::query(
        "update relay_leases set holder = null, expires_at = clock_timestamp()
         where holder = $1 and partition = any($2)",
    )
    .bind(holder)
    .bind(partitions)
    .execute(pool)
    .await?;
    Ok(())
}

/// Those of `partitions` whose open tickets were not resynced in this epoch of the database.
pub async fn resync_due(pool: &PgPool, epoch: u64, partitions: &[u8]) -> Result<Vec<u8>, Error> {
    let asked: Vec<i16> = partitions.iter().copied().map(i16::from).collect();
    let rows: Vec<i16> = sqlx::query_scalar(
        "select partition from relay_leases
         where partition = any($1) and resynced_epoch < $2 order by partition",
    )
    .bind(asked)
    .bind(i64::try_from(epoch).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    Ok(self::partitions(rows))
}

/// All open tickets of these partitions were resynced in this epoch.
pub async fn resynced(pool: &PgPool, epoch: u64, partitions: &[u8]) -> Result<(), Error> {
    let done: Vec<i16> = partitions.iter().copied().map(i16::from).collect();
    sqlx::query(
        "update relay_leases set resynced_epoch = $2
         where partition = any($1) and resynced_epoch < $2",
    )
    .bind(done)
    .bind(i64::try_from(epoch).unwrap_or(i64::MAX))
    .execute(pool)
    .await?;
    Ok(())
}

fn partitions(rows: Vec<i16>) -> Vec<u8> {
    // A check constraint keeps them in 0..64.
    rows.into_iter()
        .filter_map(|p| u8::try_from(p).ok())
        .collect()
}

fn interval(ttl: Duration) -> Result<PgInterval, Error> {
    PgInterval::try_from(ttl)
        .map_err(|_| Error::Configuration("a lease lasts whole microseconds".into()))
}
