//! What was decided about attempts, and why.
//!
//! Decisions are ordered by their ids: UUIDv7, made at the time of the attempt. No other index is
//! kept, because every command would pay for it; instead a page looks at no more than [`SCAN`]
//! decisions and its cursor leads on.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    AuditId, CommandId, CorrelationId, DecisionId, Role, TicketId,
    approval::ApprovalNeed,
    policy::{BundleRef, PolicyDecision, Reason},
    read::{DecisionDetail, DecisionFilter, DecisionPage, DecisionRecord},
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow, types::Json};
use uuid::Uuid;

use super::{cursor::Cursors, cut, texts};
use crate::{Error, TenantTx, audit::ticket_stream};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
/// Decisions that one page looks at.
const SCAN: i64 = 5_000;
/// Decisions that one part of an export looks at: what it holds in memory.
const PART: i64 = 500;
/// By how much an id's time and the attempt's may differ, generously.
const SLACK: TimeDelta = TimeDelta::minutes(10);

#[derive(FromRow)]
struct Row {
    id: Uuid,
    command_id: Uuid,
    audit_id: Uuid,
    ticket_id: Option<Uuid>,
    operation: String,
    at: DateTime<Utc>,
    result: String,
    reasons: Json<Vec<Reason>>,
    obligations: Json<Vec<String>>,
    approval: Option<Json<ApprovalNeed>>,
    bundle_version: String,
    bundle_sha256: String,
    input: String,
    refused: Option<String>,
    actor_id: String,
    actor_kind: String,
    actor_roles: Json<Vec<Role>>,
    tool_name: Option<String>,
    request_id: String,
    correlation_id: String,
    trace_id: String,
    evaluation_micros: i64,
}

const COLUMNS: &str = "d.id, d.command_id, a.id as audit_id, d.ticket_id, d.operation, d.at, \
    d.result, d.reasons, d.obligations, d.approval, d.bundle_version, d.bundle_sha256, d.input, a.refused, \
    a.actor_id, a.actor_kind, a.actor_roles, a.tool_name, a.request_id, d.correlation_id, \
    d.trace_id, d.evaluation_micros";

/// The attempt of each decision, looked up one by one: there is exactly one.
const WITH_ATTEMPT: &str = "cross join lateral (select * from audit_events a
    where a.tenant_id = d.tenant_id and a.command_id = d.command_id limit 1) a";

/// Which decisions are looked at, in which order.
struct Window {
    newest_first: bool,
    /// Only behind this one.
    after: Option<Uuid>,
    /// Only up to this one.
    last: Option<Uuid>,
    scan: i64,
}

impl Window {
    /// The decisions that are looked at, by $1 to $6.
    fn sql(&self, columns: &str, filter: &DecisionFilter, end: &str) -> String {
        let (beyond, order) = match self.newest_first {
            true => ("<", "desc"),
            false => (">", "asc"),
        };
        // Of one ticket the audit chain knows the decisions.
        let from = match filter.ticket_id {
            Some(_) => {
                "audit_events s join policy_decisions d
                     on d.tenant_id = s.tenant_id and d.id = s.decision_id and s.stream = $6"
            }
            None => "policy_decisions d",
        };
        format!(
            "select {columns} from {from} where d.tenant_id = $1
               and ($2::uuid is null or d.id {beyond} $2) and ($3::uuid is null or d.id <= $3)
               and ($4::uuid is null or d.id >= $4) and ($5::uuid is null or d.id <= $5)
             order by d.id {order} {end}"
        )
    }

    /// Those of them that the filter leaves.
    async fn rows(
        &self,
        tx: &mut TenantTx,
        filter: &DecisionFilter,
        limit: i64,
    ) -> Result<Vec<Row>, Error> {
        let looked_at = self.sql("d.*", filter, &format!("limit {}", self.scan));
        let order = if self.newest_first { "desc" } else { "asc" };
        let sql = format!(
            "select {COLUMNS} from ({looked_at}) d {WITH_ATTEMPT}
             where ($7::text[] is null or d.operation = any($7))
               and ($8::text[] is null or d.result = any($8))
               and ($9::jsonb is null or d.reasons @> $9)
               and ($10::timestamptz is null or d.at >= $10)
               and ($11::timestamptz is null or d.at < $11)
               and ($12::text is null or a.actor_id = $12)
             order by d.id {order} limit $13"
        );
        let reason = filter.reason.as_ref();
        let rows = sqlx::query_as(AssertSqlSafe(sql))
            .persistent(false)
            .bind(tx.tenant_id().as_uuid())
            .bind(self.after)
            .bind(self.last)
            .bind(filter.from.map(|at| first_id(at - SLACK)))
            .bind(filter.to.map(|at| first_id(at + SLACK)))
            .bind(filter.ticket_id.map(ticket_stream))
            .bind(texts(&filter.operation))
            .bind(texts(&filter.result))
            .bind(reason.map(|code| serde_json::json!([{ "code": code }])))
            .bind(filter.from)
            .bind(filter.to)
            .bind(&filter.actor)
            .bind(limit)
            .fetch_all(tx.connection())
            .await?;
        Ok(rows)
    }

    /// The last one that was looked at, when there may be more behind it.
    async fn end(&self, tx: &mut TenantTx, filter: &DecisionFilter) -> Result<Option<Uuid>, Error> {
        let end = format!("offset {} limit 1", self.scan - 1);
        let found = sqlx::query_scalar(AssertSqlSafe(self.sql("d.id", filter, &end)))
            .persistent(false)
            .bind(tx.tenant_id().as_uuid())
            .bind(self.after)
            .bind(self.last)
            .bind(filter.from.map(|at| first_id(at - SLACK)))
            .bind(filter.to.map(|at| first_id(at + SLACK)))
            .bind(filter.ticket_id.map(ticket_stream))
            .fetch_optional(tx.connection())
            .await?;
        Ok(found)
    }
}

/// The first id that can be made at this moment (RFC 9562 §5.7: milliseconds in 48 bits).
fn first_id(at: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128((millis & 0xffff_ffff_ffff) << 80)
}

/// A page of decisions, newest first.
///
/// # Errors
/// [`Error::InvalidCursor`] for a cursor that is not of this list and these filters.
pub async fn decisions(tx: &mut TenantTx, filter: &DecisionFilter) -> Result<DecisionPage, Error> {
    let asked = DecisionFilter {
        cursor: None,
        limit: None,
        ..filter.clone()
    };
    let cursors = Cursors::new(b'd', &asked);
    let after = filter.cursor.as_deref().map(|cursor| cursors.key(cursor));
    let window = Window {
        newest_first: true,
        after: after.transpose()?.map(Uuid::from_bytes),
        last: None,
        scan: SCAN,
    };
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT) as usize;
    let rows = window.rows(tx, filter, limit as i64 + 1).await?;
    let (rows, more) = cut(rows, limit);
    let last = match rows.last().filter(|_| more) {
        Some(row) => Some(row.id),
        None => window.end(tx, filter).await?,
    };
    let records = rows.into_iter().map(|row| Ok(row.detail()?.record));
    Ok(DecisionPage {
        items: records.collect::<Result<_, Error>>()?,
        next_cursor: last.map(|id| cursors.after(id.as_bytes())),
    })
}

/// One decision with its input.
pub async fn decision(tx: &mut TenantTx, id: DecisionId) -> Result<Option<DecisionDetail>, Error> {
    let sql = format!(
        "select {COLUMNS} from policy_decisions d {WITH_ATTEMPT}
         where d.tenant_id = $1 and d.id = $2"
    );
    let row: Option<Row> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(tx.tenant_id().as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(tx.connection())
        .await?;
    row.map(Row::detail).transpose()
}

/// How far an export came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    after: Option<Uuid>,
    last: Uuid,
}

impl Exported {
    /// Nothing yet; it ends with what was decided before `at`.
    pub fn nothing(at: DateTime<Utc>) -> Self {
        Self {
            after: None,
            last: first_id(at + TimeDelta::milliseconds(1)),
        }
    }
}

/// The next part of an export, oldest first, and how far it came; `None` after the last one. A part
/// may be empty.
pub async fn decisions_from(
    tx: &mut TenantTx,
    filter: &DecisionFilter,
    so_far: Exported,
) -> Result<(Vec<DecisionDetail>, Option<Exported>), Error> {
    let window = Window {
        newest_first: false,
        after: so_far.after,
        last: Some(so_far.last),
        scan: PART,
    };
    let rows = window.rows(tx, filter, PART).await?;
    let next = window.end(tx, filter).await?.map(|id| Exported {
        after: Some(id),
        ..so_far
    });
    let part = rows.into_iter().map(Row::detail);
    Ok((part.collect::<Result<_, _>>()?, next))
}

impl Row {
    fn detail(self) -> Result<DecisionDetail, Error> {
        let id = DecisionId::from_uuid(self.id);
        let corrupt = |column, reason: &dyn std::fmt::Display| {
            Error::corrupt("policy_decisions", column, id, reason)
        };
        let input: Value = serde_json::from_str(&self.input).map_err(|e| corrupt("input", &e))?;
        let record = DecisionRecord {
            id,
            command_id: CommandId::from_uuid(self.command_id),
            audit_id: AuditId::from_uuid(self.audit_id),
            ticket_id: self.ticket_id.map(TicketId::from_uuid),
            operation: self
                .operation
                .parse()
                .map_err(|e| corrupt("operation", &e))?,
            at: self.at,
            decision: PolicyDecision {
                result: self.result.parse().map_err(|e| corrupt("result", &e))?,
                reasons: self.reasons.0,
                obligations: self.obligations.0,
                approval: self.approval.map(|Json(need)| need),
                bundle: BundleRef {
                    version: self.bundle_version,
                    sha256: self.bundle_sha256,
                },
            },
            refused: self
                .refused
                .map(|code| code.parse().map_err(|e| corrupt("refused", &e)))
                .transpose()?,
            actor_id: self.actor_id,
            actor_kind: self
                .actor_kind
                .parse()
                .map_err(|e| corrupt("actor_kind", &e))?,
            actor_roles: self.actor_roles.0,
            tool_name: self.tool_name,
            request_id: self.request_id,
            correlation_id: CorrelationId::new(self.correlation_id)
                .map_err(|e| corrupt("correlation_id", &e))?,
            trace_id: self.trace_id,
            evaluation_micros: self.evaluation_micros.unsigned_abs(),
        };
        Ok(DecisionDetail { record, input })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_id_of_a_moment_is_below_all_ids_made_then() {
        let at: DateTime<Utc> = "2026-11-21T12:00:00Z".parse().unwrap();
        let made = Uuid::new_v7(uuid::Timestamp::from_unix(
            uuid::NoContext,
            u64::try_from(at.timestamp()).unwrap(),
            0,
        ));
        assert!(first_id(at) < made);
        assert!(made < first_id(at + TimeDelta::milliseconds(1)));
        assert_eq!(first_id(DateTime::UNIX_EPOCH - SLACK), Uuid::nil());
    }
}
