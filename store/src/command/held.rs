//! What a command on an approval is about, before anything is locked.

use contracts::{ApprovalId, approval::Approval, policy::PolicyActor};
use serde::Deserialize;
use sqlx::types::Json;

use crate::{Error, TenantTx};

/// An approval with the command that it holds; a change order holds none.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HeldRow {
    /// The approval.
    pub approval: Approval,
    /// Canonical JSON of the command, as it was sent.
    pub command: Option<String>,
    /// SHA-256 over it, as it was written beside it.
    pub sha256: Option<String>,
    /// Who asked.
    pub proposer: Option<PolicyActor>,
}

/// Reads it; `None` when there is no such approval.
pub async fn held(tx: &mut TenantTx, id: ApprovalId) -> Result<Option<HeldRow>, Error> {
    let row: Option<Json<HeldRow>> = sqlx::query_scalar("select held_command($1, $2)")
        .bind(tx.tenant_id().as_uuid())
        .bind(id.as_uuid())
        .fetch_one(tx.connection())
        .await?;
    Ok(row.map(|Json(row)| row))
}
