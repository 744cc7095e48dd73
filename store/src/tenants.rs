//! Which tenants there are, for whoever serves all of them.

use contracts::TenantId;
use sqlx::PgPool;
use uuid::Uuid;

use crate::Error;

/// All tenants.
pub async fn all(pool: &PgPool) -> Result<Vec<TenantId>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar("select tenant_id from tenants order by tenant_id")
        .fetch_all(pool)
        .await?;
    Ok(ids.into_iter().map(TenantId::from_uuid).collect())
}
