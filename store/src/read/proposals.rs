//! What software would have done, and what people were asked to decide.

use chrono::{DateTime, Utc};
use contracts::{
    CommandId, ProposalId, TicketId,
    approval::Approval,
    proposal::{Advice, AdvisorInput, Pairing, Proposal},
    read::ProposalPage,
};
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use super::exists;
use crate::{Error, TenantTx};

#[derive(FromRow)]
struct Row {
    id: Uuid,
    ticket_id: Uuid,
    kind: String,
    based_on_version: i64,
    input: Json<AdvisorInput>,
    input_sha256: String,
    advice: Json<Advice>,
    recorded_at: DateTime<Utc>,
    paired_command_id: Option<Uuid>,
    paired_actor_id: Option<String>,
    paired_outcome: Option<String>,
    paired_at: Option<DateTime<Utc>>,
}

/// All proposals of a ticket, oldest first.
pub async fn proposals(
    tx: &mut TenantTx,
    ticket_id: TicketId,
) -> Result<Option<ProposalPage>, Error> {
    if !exists(tx, ticket_id).await? {
        return Ok(None);
    }
    let rows: Vec<Row> = sqlx::query_as(
        "select id, ticket_id, kind, based_on_version, input, input_sha256, advice, recorded_at,
                paired_command_id, paired_actor_id, paired_outcome, paired_at
         from proposals where tenant_id = $1 and ticket_id = $2 order by recorded_at, id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_id.as_uuid())
    .fetch_all(tx.connection())
    .await?;
    let items = rows
        .into_iter()
        .map(Proposal::try_from)
        .collect::<Result<_, _>>()?;
    Ok(Some(ProposalPage {
        items,
        next_cursor: None,
    }))
}

/// All approvals of a ticket, oldest first.
pub async fn approvals(
    tx: &mut TenantTx,
    ticket_id: TicketId,
) -> Result<Option<Vec<Approval>>, Error> {
    if !exists(tx, ticket_id).await? {
        return Ok(None);
    }
    let rows: Vec<Json<Approval>> = sqlx::query_scalar(
        "select approval_json(a) from approvals a
         where tenant_id = $1 and ticket_id = $2 order by requested_at, id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_id.as_uuid())
    .fetch_all(tx.connection())
    .await?;
    Ok(Some(rows.into_iter().map(|Json(a)| a).collect()))
}

impl TryFrom<Row> for Proposal {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let id = ProposalId::from_uuid(row.id);
        let corrupt = |column, reason: &dyn std::fmt::Display| {
            Error::corrupt("proposals", column, id, reason)
        };
        let pairing = match (
            row.paired_command_id,
            row.paired_actor_id,
            row.paired_outcome,
            row.paired_at,
        ) {
            (Some(command_id), Some(actor_id), Some(outcome), Some(at)) => Some(Pairing {
                command_id: CommandId::from_uuid(command_id),
                actor_id,
                outcome: outcome.parse().map_err(|e| corrupt("paired_outcome", &e))?,
                at,
            }),
            _ => None,
        };
        Ok(Self {
            id,
            ticket_id: TicketId::from_uuid(row.ticket_id),
            kind: row.kind.parse().map_err(|e| corrupt("kind", &e))?,
            based_on_version: row.based_on_version.unsigned_abs(),
            input_sha256: row.input_sha256,
            input: row.input.0,
            advice: row.advice.0,
            recorded_at: row.recorded_at,
            pairing,
        })
    }
}
