//! What was attempted on a ticket and what happened: the audit rows for people.

use chrono::{DateTime, Utc};
use contracts::{
    AuditId, CommandId, CorrelationId, DecisionId, Role, TicketId,
    event::TicketChange,
    policy::Reason,
    read::{AttemptOutcome, TimelineEntry, TimelineFilter, TimelinePage},
    schedule::TenantSettings,
};
use domain::explain::{Attempt, Place, explain};
use serde_json::{Value, json};
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use super::{cursor::Cursors, cut, texts};
use crate::{Error, TenantTx, audit::ticket_stream};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 200;
/// Positions that one page looks at.
const SCAN: i64 = 1_000;

#[derive(FromRow)]
struct Row {
    position: i64,
    id: Uuid,
    command_id: Uuid,
    decision_id: Uuid,
    result: String,
    reasons: Json<Vec<Reason>>,
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
/// A page looks at no more than [`SCAN`] positions: when the filters leave fewer of those than a
/// page holds, it is short and its cursor leads on. Its cost therefore depends neither on how long
/// the timeline is nor on how rare the answer.
///
/// # Errors
/// [`Error::InvalidCursor`] for a cursor that is not of this timeline and these filters.
pub async fn timeline(
    tx: &mut TenantTx,
    ticket_id: TicketId,
    filter: &TimelineFilter,
) -> Result<Option<TimelinePage>, Error> {
    let asked = TimelineFilter {
        cursor: None,
        limit: None,
        ..filter.clone()
    };
    let cursors = Cursors::new(b'p', &(ticket_id, &asked));
    let after = match filter.cursor.as_deref() {
        Some(cursor) => i64::from_be_bytes(cursors.key(cursor)?),
        None => 0,
    };
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT) as usize;
    let known: Option<(i64, Json<TenantSettings>)> = sqlx::query_as(
        "select t.chain_length, n.settings from tickets t join tenants n using (tenant_id)
         where t.tenant_id = $1 and t.id = $2",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_id.as_uuid())
    .fetch_optional(tx.connection())
    .await?;
    let Some((length, Json(settings))) = known else {
        return Ok(None);
    };
    let looked_at = after.saturating_add(SCAN);
    let event = filter
        .event
        .map(|event| json!([{ "event": { "type": event.name() } }]));
    let rows: Vec<Row> = sqlx::query_as(
        "select a.position, a.id, a.command_id, a.decision_id, d.result, d.reasons, a.operation,
                a.at, a.actor_id, a.actor_kind, a.actor_roles, a.tool_name, a.request_id,
                a.correlation_id, a.trace_id, a.refused, a.before, a.after, a.applied_to_version,
                a.produced_version, a.payload, a.changes, a.chain_hash
         from audit_events a
         join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
         where a.tenant_id = $1 and a.stream = $2 and a.position > $3 and a.position <= $4
           and ($5::text[] is null or a.operation = any($5))
           and ($6::text[] is null or a.actor_kind = any($6))
           and ($7::text is null or a.actor_id = $7)
           and ($8::boolean is null or (a.refused is null) = $8)
           and ($9::jsonb is null or a.changes @> $9)
           and ($10::timestamptz is null or a.at >= $10)
           and ($11::timestamptz is null or a.at < $11)
         order by a.position limit $12",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_stream(ticket_id))
    .bind(after)
    .bind(looked_at)
    .bind(texts(&filter.operation))
    .bind(texts(&filter.actor_kind))
    .bind(&filter.actor)
    .bind(
        filter
            .outcome
            .map(|outcome| outcome == AttemptOutcome::Accepted),
    )
    .bind(event)
    .bind(filter.from)
    .bind(filter.to)
    .bind(limit as i64 + 1)
    .fetch_all(tx.connection())
    .await?;
    let (rows, more) = cut(rows, limit);
    let last = match rows.last().filter(|_| more) {
        Some(row) => Some(row.position),
        None => (looked_at < length).then_some(looked_at),
    };
    let place = Place::of(&settings);
    let items = rows
        .into_iter()
        .map(|row| row.entry(&place))
        .collect::<Result<_, _>>()?;
    Ok(Some(TimelinePage {
        items,
        next_cursor: last.map(|position| cursors.after(&position.to_be_bytes())),
    }))
}

impl Row {
    fn entry(self, place: &Place) -> Result<TimelineEntry, Error> {
        let row = self;
        let audit_id = AuditId::from_uuid(row.id);
        let corrupt = |column, reason: &dyn std::fmt::Display| {
            Error::corrupt("audit_events", column, audit_id, reason)
        };
        let state = |column, word: Option<String>| {
            word.map(|w| w.parse().map_err(|e| corrupt(column, &e)))
                .transpose()
        };
        let operation = row
            .operation
            .parse()
            .map_err(|e| corrupt("operation", &e))?;
        let refused = row
            .refused
            .map(|w| w.parse().map_err(|e| corrupt("refused", &e)))
            .transpose()?;
        let before = state("before", row.before)?;
        let attempt = Attempt {
            operation,
            refused,
            before,
            reasons: &row.reasons,
            changes: &row.changes,
        };
        Ok(TimelineEntry {
            explanation: explain(&attempt, place),
            position: row.position.unsigned_abs(),
            audit_id,
            command_id: CommandId::from_uuid(row.command_id),
            decision_id: DecisionId::from_uuid(row.decision_id),
            decision: row.result.parse().map_err(|e| corrupt("decision_id", &e))?,
            operation,
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
            refused,
            before,
            after: state("after", row.after)?,
            applied_to_version: row.applied_to_version.unsigned_abs(),
            produced_version: row.produced_version.unsigned_abs(),
            payload: row.payload,
            changes: row.changes.0,
            chain_hash: hex::encode(row.chain_hash),
        })
    }
}
