//! Writes one attempt: decision, audit row, stored answer, and what it changed.

use chrono::{DateTime, Utc};
use contracts::{
    DecisionId, Operation, TraceContext,
    policy::{PolicyDecision, PolicyResult},
    sla::SlaClock,
    ticket::Ticket,
};
use serde_json::json;
use sqlx::types::Json;

use super::Writes;
use crate::{
    Error, TenantTx,
    audit::{AuditRow, decision_sha256},
};

/// A finished attempt, accepted or refused.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Its audit row.
    pub audit: AuditRow,
    /// Its policy decision.
    pub decision: DecisionRow<'a>,
    /// The decision on what an approval is about, where one was made besides: with a last yes to one
    /// without a ticket, or to a change order that was asked for under another bundle; and with an
    /// amendment. The audit row's payload names it with its hash.
    pub beside: Option<BesideRow<'a>>,
    /// The trace that its events carry on.
    pub trace: &'a TraceContext,
    /// `seq` of the ticket's last event before it.
    pub event_seq: u64,
    /// Scope of the request's key: what was sent, where the record tells of what it carried out.
    pub key_operation: Operation,
    /// The ticket after it; `None` when it is the same.
    pub ticket: Option<&'a Ticket>,
    /// Rows beside the ticket; `None` for a refusal.
    pub writes: Option<Writes<'a>>,
    /// What a repetition gets; `None` when it is to be tried anew.
    pub answer: Option<StoredAnswer<'a>>,
}

/// The policy's decision with what it was based on.
#[derive(Debug)]
pub struct DecisionRow<'a> {
    /// The decision.
    pub decision: &'a PolicyDecision,
    /// Canonical JSON of the input.
    pub input: String,
    /// How long the evaluation took.
    pub evaluation_micros: u64,
}

impl DecisionRow<'_> {
    /// What the audit row holds of it.
    pub fn sha256(&self) -> String {
        decision_sha256(self.decision, &self.input)
    }
}

/// The policy's decision on what an approval is about, made when its last yes was given or when it was
/// amended.
#[derive(Debug)]
pub struct BesideRow<'a> {
    /// Its id.
    pub id: DecisionId,
    /// What was asked for.
    pub operation: Operation,
    /// The decision.
    pub decision: DecisionRow<'a>,
}

/// An answer to keep.
#[derive(Debug, Clone, Copy)]
pub struct StoredAnswer<'a> {
    /// SHA-256 of what was asked for.
    pub intent_sha256: [u8; 32],
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: &'a str,
}

/// Writes it all; [`TenantTx::commit`] makes it durable.
///
/// # Errors
/// [`Error::Guard`] when the ticket is not what was decided on.
pub async fn commit(tx: &mut TenantTx, attempt: Attempt<'_>) -> Result<(), Error> {
    let content = attempt.audit.content();
    commit_with_content(tx, attempt, &content).await
}

/// [`commit`] with a chain that covers nothing: to measure what the chain costs. The checker
/// rejects what this writes.
#[cfg(feature = "bench")]
pub async fn commit_unchained(tx: &mut TenantTx, attempt: Attempt<'_>) -> Result<(), Error> {
    commit_with_content(tx, attempt, "").await
}

async fn commit_with_content(
    tx: &mut TenantTx,
    attempt: Attempt<'_>,
    content: &str,
) -> Result<(), Error> {
    let Attempt {
        audit,
        decision,
        beside,
        trace,
        event_seq,
        key_operation,
        ticket,
        mut writes,
        answer,
    } = attempt;
    let PolicyDecision {
        result,
        reasons,
        obligations,
        approval,
        bundle,
    } = decision.decision;
    if let Some(beside) = beside {
        write_beside(tx, &audit, beside).await?;
    }
    let apart = writes.as_mut().and_then(Writes::apart);
    let head_seq = writes.as_ref().map_or(event_seq, Writes::head_seq);
    if audit.operation == Operation::SetTicketAutonomy.to_string() && audit.refused.is_none() {
        // Shared by the sender's last look (`comms_begin`): what software let pass by itself does not
        // begin to leave after the answer.
        sqlx::query(
            "select pg_advisory_xact_lock(hashtextextended('autonomy of ' || $1::text, 0))",
        )
        .bind(audit.ticket_id.map(|id| id.as_uuid().to_string()))
        .execute(tx.connection())
        .await?;
    }
    let scalars = json!({
        "tenant_id": audit.tenant_id.as_uuid(),
        "ticket_id": audit.ticket_id.map(|id| id.as_uuid()),
        "command_id": audit.command_id.as_uuid(),
        "decision_id": audit.decision_id.as_uuid(),
        "decision_sha256": audit.decision_sha256,
        "audit_id": audit.id.as_uuid(),
        "stream": audit.stream,
        "request_id": audit.request_id,
        "correlation_id": audit.correlation_id,
        "trace_id": audit.trace_id,
        "traceparent": trace.traceparent,
        "tracestate": trace.tracestate,
        "actor_id": audit.actor_id,
        "actor_kind": audit.actor_kind,
        "actor_roles": audit.actor_roles,
        "tool_name": audit.tool_name,
        "operation": audit.operation,
        "key_operation": key_operation,
        "at": audit.at,
        "refused": audit.refused,
        "before": audit.before,
        "after": audit.after,
        "applied_to_version": audit.applied_to_version,
        "produced_version": audit.produced_version,
        "waiting_for": ticket.map(domain::waiting_for),
        "due_at": ticket.and_then(next_due),
        "technician_id": ticket
            .and_then(Ticket::current_visit)
            .and_then(|visit| visit.technician_id)
            .map(|id| id.as_uuid()),
        "previous_event_seq": event_seq,
        "event_seq": head_seq,
        "result": result_word(*result),
        "reasons": reasons,
        "obligations": obligations,
        "approval": approval,
        "bundle_version": bundle.version,
        "bundle_sha256": bundle.sha256,
        "evaluation_micros": decision.evaluation_micros,
        "intent_sha256": answer.map(|a| hex::encode(a.intent_sha256)),
        "status": answer.map(|a| a.status),
    });
    sqlx::query("select command_commit($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(Json(scalars))
        .bind(decision.input)
        .bind(content)
        .bind(Json(audit.payload))
        .bind(Json(audit.changes))
        .bind(ticket.map(Json))
        .bind(writes.map(Json))
        .bind(answer.map(|a| a.body))
        .execute(tx.connection())
        .await?;
    if let Some((apart, row)) = apart {
        // Rare enough for a round trip of its own.
        sqlx::query(apart.sql())
            .bind(audit.tenant_id.as_uuid())
            .bind(audit.command_id.as_uuid())
            .bind(audit.at)
            .bind(&audit.operation)
            .bind(Json(row))
            .execute(tx.connection())
            .await?;
    }
    if audit.operation == Operation::EraseTenant.to_string() && audit.refused.is_none() {
        sqlx::query("select erase_tenant_answers($1)")
            .bind(audit.tenant_id.as_uuid())
            .execute(tx.connection())
            .await?;
    }
    Ok(())
}

/// Rare enough for a round trip of its own.
async fn write_beside(
    tx: &mut TenantTx,
    audit: &AuditRow,
    beside: BesideRow<'_>,
) -> Result<(), Error> {
    let made = beside.decision.decision;
    sqlx::query(
        "insert into policy_decisions
             (tenant_id, id, command_id, ticket_id, correlation_id, trace_id, operation, at, result,
              reasons, obligations, approval, bundle_version, bundle_sha256, input, evaluation_micros)
         values ($1, $2, $3, $16, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(audit.tenant_id.as_uuid())
    .bind(beside.id.as_uuid())
    .bind(audit.command_id.as_uuid())
    .bind(&audit.correlation_id)
    .bind(&audit.trace_id)
    .bind(beside.operation.to_string())
    .bind(audit.at)
    .bind(result_word(made.result))
    .bind(Json(&made.reasons))
    .bind(Json(&made.obligations))
    .bind(made.approval.as_ref().map(Json))
    .bind(&made.bundle.version)
    .bind(&made.bundle.sha256)
    .bind(beside.decision.input)
    .bind(i64::try_from(beside.decision.evaluation_micros).unwrap_or(i64::MAX))
    .bind(audit.ticket_id.map(|id| id.as_uuid()))
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The nearest deadline of a running clock.
fn next_due(ticket: &Ticket) -> Option<DateTime<Utc>> {
    ticket.sla.iter().filter_map(SlaClock::due_at).min()
}

fn result_word(result: PolicyResult) -> String {
    result.to_string()
}
