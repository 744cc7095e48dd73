//! Seals the audit chains: every few seconds the ends of all chains that grew go into a signed
//! checkpoint of their tenant, which is itself chained.
//!
//! A chain alone shows that a row was changed, not that its newest rows were cut off or that all of
//! it was computed anew. After a checkpoint both show, to whoever has the key or an old checkpoint.
//! One sealer works at a time (an advisory lock); any number may run. Runs as
//! `dispatch_maintenance`.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use contracts::{TenantId, canonical::canonical_json};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool, types::Json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Error;

/// How far back a pass looks behind the moment up to which all is sealed. A transaction may commit
/// this much later than it wrote; the application login's timeouts end it long before.
const OVERLAP: &str = "2 minutes";

/// Chain ends in one checkpoint.
const MOST_HEADS: usize = 5_000;

/// Signs checkpoints.
#[derive(Clone)]
pub struct SealingKey {
    id: String,
    key: Vec<u8>,
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

impl SealingKey {
    /// Any bytes; 32 random ones are right.
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        let id = Sha256::new()
            .chain_update("dispatch sealing key ")
            .chain_update(&key)
            .finalize();
        Self {
            id: hex::encode(&id[..8]),
            key,
        }
    }

    /// Names the key without telling it.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn mac(&self, hash: &str) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(&self.key)
            .expect("HMAC takes a key of any length")
            .chain_update(hash)
    }

    /// HMAC-SHA256 of a checkpoint's hash, in hex.
    pub fn sign(&self, hash: &str) -> String {
        hex::encode(self.mac(hash).finalize().into_bytes())
    }

    /// Whether the signature is ours.
    pub fn verify(&self, hash: &str, signature: &str) -> bool {
        hex::decode(signature).is_ok_and(|tag| self.mac(hash).verify_slice(&tag).is_ok())
    }
}

/// The end of one chain: stream, length, hash in hex.
pub type Head = (String, u64, String);

/// What a checkpoint's hash covers.
pub(crate) fn checkpoint_hash(
    tenant_id: TenantId,
    number: u64,
    at: DateTime<Utc>,
    prev_hash: &str,
    heads: &[Head],
) -> String {
    let content = json!({
        "tenant_id": tenant_id,
        "number": number,
        "at": at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "prev_hash": prev_hash,
        "heads": heads,
    });
    let text = canonical_json(&content).expect("a JSON value always serialises");
    hex::encode(Sha256::digest(text))
}

/// Seals at every interval, and once more at the end.
pub async fn run(pool: PgPool, key: Vec<u8>, interval: Duration, shutdown: CancellationToken) {
    let key = SealingKey::new(key);
    loop {
        let ending = tokio::select! {
            () = shutdown.cancelled() => true,
            () = tokio::time::sleep(interval) => false,
        };
        if let Err(error) = seal(&pool, &key).await {
            tracing::warn!(%error, "audit chains were not sealed; the next pass does it");
        }
        if ending {
            return;
        }
    }
}

/// Seals whatever grew since the last pass; answers how many chains.
pub async fn seal(pool: &PgPool, key: &SealingKey) -> Result<usize, Error> {
    let mut sealed = 0;
    loop {
        let some = pass(pool, key, MOST_HEADS).await?;
        sealed += some;
        if some < MOST_HEADS {
            return Ok(sealed);
        }
    }
}

/// Seals at most `limit` chains. Only a pass that found fewer says that all before it is sealed: one
/// that stopped at the limit, or was the last before a crash, leaves the rest to the next.
async fn pass(pool: &PgPool, key: &SealingKey, limit: usize) -> Result<usize, Error> {
    let mut tx = pool.begin().await?;
    let (alone, at): (bool, DateTime<Utc>) = sqlx::query_as(
        "select pg_try_advisory_xact_lock(hashtextextended('dispatch sealer', 0)), clock_timestamp()",
    )
    .fetch_one(&mut *tx)
    .await?;
    if !alone {
        return Ok(0);
    }
    let grown = grown(&mut tx, limit).await?;
    let count: usize = grown.values().map(Vec::len).sum();
    for (tenant_id, heads) in grown {
        insert(&mut tx, key, tenant_id, at, heads).await?;
    }
    if count < limit {
        sqlx::query("update audit_sealer set sealed_through = $1")
            .bind(at)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    Ok(count)
}

/// The chains that grew since all was sealed and are longer than their last sealed end.
async fn grown(
    tx: &mut PgConnection,
    limit: usize,
) -> Result<BTreeMap<TenantId, Vec<Head>>, Error> {
    let rows: Vec<(Uuid, String, i64, Vec<u8>)> = sqlx::query_as(
        "with recent as (
             select tenant_id, stream, max(position) as length from audit_events
             where recorded_at >= (select sealed_through - $1::interval from audit_sealer)
             group by tenant_id, stream)
         select r.tenant_id, r.stream, r.length, a.chain_hash
         from recent r
         left join audit_sealed_heads s on s.tenant_id = r.tenant_id and s.stream = r.stream
         join audit_events a
           on a.tenant_id = r.tenant_id and a.stream = r.stream and a.position = r.length
         where r.length > coalesce(s.length, 0)
         order by r.tenant_id, r.stream limit $2",
    )
    .bind(OVERLAP)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await?;
    let mut grown: BTreeMap<TenantId, Vec<Head>> = BTreeMap::new();
    for (tenant, stream, length, hash) in rows {
        grown.entry(TenantId::from_uuid(tenant)).or_default().push((
            stream,
            length.unsigned_abs(),
            hex::encode(hash),
        ));
    }
    Ok(grown)
}

async fn insert(
    tx: &mut PgConnection,
    key: &SealingKey,
    tenant_id: TenantId,
    at: DateTime<Utc>,
    heads: Vec<Head>,
) -> Result<(), Error> {
    let last: Option<(i64, String)> = sqlx::query_as(
        "select number, hash from audit_checkpoints where tenant_id = $1
         order by number desc limit 1",
    )
    .bind(tenant_id.as_uuid())
    .fetch_optional(&mut *tx)
    .await?;
    let (number, prev_hash) = last.map_or((1, String::new()), |(n, hash)| (n + 1, hash));
    let hash = checkpoint_hash(tenant_id, number.unsigned_abs(), at, &prev_hash, &heads);
    sqlx::query(
        "insert into audit_checkpoints
             (tenant_id, number, at, heads, prev_hash, hash, key_id, signature)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(tenant_id.as_uuid())
    .bind(number)
    .bind(at)
    .bind(Json(&heads))
    .bind(&prev_hash)
    .bind(&hash)
    .bind(key.id())
    .bind(key.sign(&hash))
    .execute(&mut *tx)
    .await?;
    let (streams, lengths): (Vec<_>, Vec<_>) = heads
        .iter()
        .map(|(stream, length, _)| (stream.as_str(), *length as i64))
        .unzip();
    sqlx::query(
        "insert into audit_sealed_heads (tenant_id, stream, length)
         select $1, * from unnest($2::text[], $3::bigint[])
         on conflict (tenant_id, stream) do update set length = excluded.length",
    )
    .bind(tenant_id.as_uuid())
    .bind(streams)
    .bind(lengths)
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_needs_the_key() {
        let (ours, theirs) = (SealingKey::new("one"), SealingKey::new("two"));
        let signature = ours.sign("abc");
        assert!(ours.verify("abc", &signature));
        assert!(!ours.verify("abd", &signature));
        assert!(!theirs.verify("abc", &signature));
        assert!(!ours.verify("abc", "not hex"));
        assert_ne!(ours.id(), theirs.id());
        assert!(!format!("{ours:?}").contains("one"));
    }

    #[test]
    fn a_checkpoint_covers_its_place_and_its_heads() {
        let tenant = TenantId::from_uuid(Uuid::nil());
        let at = DateTime::UNIX_EPOCH;
        let heads = |n| vec![("tkt_1".to_owned(), n, "aa".to_owned())];
        let hash = checkpoint_hash(tenant, 1, at, "", &heads(1));
        assert_eq!(hash, checkpoint_hash(tenant, 1, at, "", &heads(1)));
        assert_ne!(hash, checkpoint_hash(tenant, 1, at, "", &heads(2)));
        assert_ne!(hash, checkpoint_hash(tenant, 2, at, "", &heads(1)));
        assert_ne!(hash, checkpoint_hash(tenant, 1, at, "x", &heads(1)));
    }
}
