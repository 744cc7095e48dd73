//! What was attempted on a ticket and what happened: the audit rows for people.

use chrono::{DateTime, Utc};
use contracts::{
    AuditId, CommandId, CorrelationId, DecisionId, Role, TicketId,
    event::TicketChange,
    read::{TimelineEntry, TimelinePage},
};
use serde_json::Value;
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use super::{cursor, cut, exists};
use crate::{Error, TenantTx, audit::ticket_stream};

/// Rows per page.
const PAGE: usize = 100;

#[derive(FromRow)]
struct Row {
    position: i64,
    id: Uuid,
    command_id: Uuid,
    decision_id: Uuid,
    result: String,
    operation: String,
    at: DateTime<Utc>,
    actor_id: String,
    actor_kind: String,
    actor_roles: Json<Vec<Role>>,
    tool_name: Option<String>,
    request_id: String,
    correlation_id: String,
    trace_id: String,
    refused: Option<String>,
    before: Option<String>,
    after: Option<String>,
    applied_to_version: i64,
    produced_version: i64,
    payload: Value,
    changes: Json<Vec<TicketChange>>,
    chain_hash: Vec<u8>,
}

/// A page of a ticket's timeline, oldest first.
///
/// # Errors
/// [`Error::InvalidCursor`] for a cursor that is not of a timeline.
pub async fn timeline(
    tx: &mut TenantTx,
    ticket_id: TicketId,
    cursor: Option<&str>,
) -> Result<Option<TimelinePage>, Error> {
    let after = cursor.map(cursor::position).transpose()?.unwrap_or(0);
    if !exists(tx, ticket_id).await? {
        return Ok(None);
    }
    let rows: Vec<Row> = sqlx::query_as(
        "select a.position, a.id, a.command_id, a.decision_id, d.result, a.operation, a.at,
                a.actor_id, a.actor_kind, a.actor_roles, a.tool_name, a.request_id,
                a.correlation_id, a.trace_id, a.refused, a.before, a.after, a.applied_to_version,
                a.produced_version, a.payload, a.changes, a.chain_hash
         from audit_events a
         join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
         where a.tenant_id = $1 and a.stream = $2 and a.position > $3
         order by a.position limit $4",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_stream(ticket_id))
    .bind(i64::try_from(after).map_err(|_| Error::InvalidCursor)?)
    .bind(PAGE as i64 + 1)
    .fetch_all(tx.connection())
    .await?;
    let (rows, more) = cut(rows, PAGE);
    let items = rows
        .into_iter()
        .map(TimelineEntry::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    let last = items.last().filter(|_| more);
    Ok(Some(TimelinePage {
        next_cursor: last.map(|entry| cursor::of_position(entry.position)),
        items,
    }))
}

impl TryFrom<Row> for TimelineEntry {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let audit_id = AuditId::from_uuid(row.id);
        let corrupt = |column, reason: &dyn std::fmt::Display| {
            Error::corrupt("audit_events", column, audit_id, reason)
        };
        let state = |column, word: Option<String>| {
            word.map(|w| w.parse().map_err(|e| corrupt(column, &e)))
                .transpose()
        };
        Ok(Self {
            position: row.position.unsigned_abs(),
            audit_id,
            command_id: CommandId::from_uuid(row.command_id),
            decision_id: DecisionId::from_uuid(row.decision_id),
            decision: row.result.parse().map_err(|e| corrupt("decision_id", &e))?,
            operation: row
                .operation
                .parse()
                .map_err(|e| corrupt("operation", &e))?,
            at: row.at,
            actor_id: row.actor_id,
            actor_kind: row
                .actor_kind
                .parse()
                .map_err(|e| corrupt("actor_kind", &e))?,
            actor_roles: row.actor_roles.0,
            tool_name: row.tool_name,
            request_id: row.request_id,
            correlation_id: CorrelationId::new(row.correlation_id)
                .map_err(|e| corrupt("correlation_id", &e))?,
            trace_id: row.trace_id,
            refused: row
                .refused
                .map(|w| w.parse().map_err(|e| corrupt("refused", &e)))
                .transpose()?,
            before: state("before", row.before)?,
            after: state("after", row.after)?,
            applied_to_version: row.applied_to_version.unsigned_abs(),
            produced_version: row.produced_version.unsigned_abs(),
            payload: row.payload,
            changes: row.changes.0,
            chain_hash: hex::encode(row.chain_hash),
        })
    }
}
