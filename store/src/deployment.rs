//! The one row that says what this installation is: its epoch and its active policy bundle.

use contracts::policy::BundleRef;
use sqlx::PgPool;

use crate::Error;

/// What the installation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Rises when the database was set back to an earlier copy.
    pub epoch: u64,
    /// The bundle that decides; without one every command is refused.
    pub bundle: Option<BundleRef>,
}

/// Reads it; any login may.
pub async fn read(pool: &PgPool) -> Result<Deployment, Error> {
    let (epoch, version, sha256): (i64, Option<String>, Option<String>) =
        sqlx::query_as("select epoch, bundle_version, bundle_sha256 from deployment")
            .fetch_one(pool)
            .await?;
    Ok(Deployment {
        epoch: epoch.unsigned_abs(),
        bundle: version
            .zip(sha256)
            .map(|(version, sha256)| BundleRef { version, sha256 }),
    })
}

/// Raises the epoch after a restore; answers the new one. As `dispatch_relay`.
///
/// To the time in seconds, not by one: after a second restore of the same copy, one more would be
/// the number that the workflows know already.
pub async fn raise_epoch(pool: &PgPool) -> Result<u64, Error> {
    let epoch: i64 = sqlx::query_scalar(
        "update deployment
             set epoch = greatest(epoch + 1, extract(epoch from clock_timestamp())::bigint)
             returning epoch",
    )
    .fetch_one(pool)
    .await?;
    Ok(epoch.unsigned_abs())
}
