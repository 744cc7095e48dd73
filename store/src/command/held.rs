//! What a command on an approval is about, before anything is locked.

use contracts::{ApprovalId, TicketId, approval::Approval, policy::PolicyActor};
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
    /// What policy was asked about a change order.
    #[serde(default)]
    pub asked: Option<AskedRow>,
    /// SHA-256 of the bundle that wanted people to be asked.
    #[serde(default)]
    pub asked_under: Option<String>,
}

/// A question that policy has answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AskedRow {
    /// The bundle that answered.
    pub bundle_sha256: String,
    /// Canonical JSON of the question.
    pub input: String,
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

/// Approvals of this proposer that hold this command and of which something is still to come, the first
/// one first. Asked for under the ticket's lock, so that of two at once the second finds the first.
pub async fn asked_before(
    tx: &mut TenantTx,
    ticket: Option<TicketId>,
    proposer: &str,
    request_sha256: &str,
) -> Result<Vec<Approval>, Error> {
    // Planned with the values at hand: with a ticket there is an index.
    let rows: Vec<Json<Approval>> = sqlx::query_scalar(
        "select approval_json(a) from approvals a
          where a.tenant_id = $1 and a.state in ('pending', 'approved')
            and (a.ticket_id = $2 or $2::uuid is null and a.ticket_id is null)
            and a.requested_by = $3 and a.request_sha256 = $4
          order by a.requested_at, a.id",
    )
    .persistent(false)
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket.map(|id| id.as_uuid()))
    .bind(proposer)
    .bind(request_sha256)
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|Json(approval)| approval).collect())
}
