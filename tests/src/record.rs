//! What is on record: read as superuser, past everything that the code believes about itself.

use std::collections::BTreeMap;

use contracts::{CommandId, ErrorCode, Operation, command::CommandClass};
use serde_json::Value;
use sqlx::{AssertSqlSafe, FromRow, PgPool, types::Uuid};

use crate::who::Who;

/// What a refused attempt leaves behind, and nothing else: a decision, an audit row at the end of a
/// chain, and the answer for whoever asks again.
pub const REFUSAL: &[&str] = &[
    "audit_events",
    "chains",
    "idempotency_keys",
    "policy_decisions",
];

/// The same for a refusal that is not the answer for ever.
pub const PASSING_REFUSAL: &[&str] = &["audit_events", "chains", "policy_decisions"];

/// What a refusal leaves behind. A workflow's key names what must be on record in the end, so a
/// refusal does not use it up; nor does one that is about the key itself, or about a database that
/// was set back.
pub fn left_by(who: Who, operation: Operation, code: ErrorCode) -> &'static [&'static str] {
    let beside = operation.class() != CommandClass::Change;
    let about_now = [
        ErrorCode::IdempotencyMismatch,
        ErrorCode::AheadOfDatabase,
        ErrorCode::TenantSuspended,
    ]
    .contains(&code);
    let for_now = [ErrorCode::KillSwitch, ErrorCode::Stage].contains(&code);
    if about_now || (who == Who::Workflow && (beside || for_now)) {
        PASSING_REFUSAL
    } else {
        REFUSAL
    }
}

/// An attempt: its audit row with its decision.
#[derive(Debug, Clone, PartialEq, FromRow)]
#[expect(missing_docs, reason = "the names are those of the columns")]
pub struct Attempt {
    pub tenant_id: Uuid,
    pub stream: String,
    pub position: i64,
    pub ticket_id: Option<Uuid>,
    pub decision_id: Uuid,
    pub request_id: String,
    pub correlation_id: String,
    pub trace_id: String,
    pub actor_id: String,
    pub actor_kind: String,
    pub actor_roles: Value,
    pub tool_name: Option<String>,
    pub operation: String,
    pub refused: Option<String>,
    pub before: Option<String>,
    pub after: Option<String>,
    pub applied_to_version: i64,
    pub produced_version: i64,
    pub payload: Value,
    pub changes: Value,
    /// Of the decision.
    pub result: String,
    /// Of the decision.
    pub reasons: Value,
    /// Of the decision.
    pub input: String,
    /// Of the decision.
    pub bundle_sha256: String,
}

/// The attempt that a command id names.
pub async fn attempt(admin: &PgPool, command: CommandId) -> Option<Attempt> {
    sqlx::query_as(
        "select a.*, d.result, d.reasons, d.input, d.bundle_sha256
         from audit_events a
         join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
                                and d.command_id = a.command_id and d.operation = a.operation
         where a.command_id = $1",
    )
    .bind(command.as_uuid())
    .fetch_optional(admin)
    .await
    .expect("the superuser may")
}

/// A digest of everything that commands write, by table. `tickets` is what a ticket is; `chains`
/// is where its audit chain, and those of actors, end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint(BTreeMap<&'static str, String>);

const TABLES: &[(&str, &str)] = &[
    ("approvals", "select to_jsonb(t) from approvals t"),
    (
        "approval_comments",
        "select to_jsonb(t) from approval_comments t",
    ),
    ("held_commands", "select to_jsonb(t) from held_commands t"),
    ("delegations", "select to_jsonb(t) from delegations t"),
    ("audit_events", "select to_jsonb(t) from audit_events t"),
    (
        "chains",
        "select to_jsonb(t) from (select id::text as stream, chain_length, chain_head from tickets
         union all select stream, length, head from audit_streams) t",
    ),
    ("comms_contents", "select to_jsonb(t) from comms_contents t"),
    ("comms_messages", "select to_jsonb(t) from comms_messages t"),
    ("evidence", "select to_jsonb(t) from evidence t"),
    (
        "idempotency_keys",
        "select to_jsonb(t) from idempotency_keys t",
    ),
    // A series that has not begun is a row with the first number, or none.
    (
        "invoice_counters",
        "select to_jsonb(t) from invoice_counters t where next > 1",
    ),
    ("notes", "select to_jsonb(t) from notes t"),
    ("outbox_events", "select to_jsonb(t) from outbox_events t"),
    (
        "policy_decisions",
        "select to_jsonb(t) from policy_decisions t",
    ),
    ("proposals", "select to_jsonb(t) from proposals t"),
    ("sla_records", "select to_jsonb(t) from sla_records t"),
    (
        "tickets",
        "select to_jsonb(t) from (select tenant_id, id, doc, event_seq from tickets) t",
    ),
    ("visits", "select to_jsonb(t) from visits t"),
    ("sites", "select to_jsonb(t) from sites t"),
    ("assets", "select to_jsonb(t) from assets t"),
    ("contacts", "select to_jsonb(t) from contacts t"),
    ("technicians", "select to_jsonb(t) from technicians t"),
    (
        "technician_absences",
        "select to_jsonb(t) from technician_absences t",
    ),
    ("kill_switches", "select to_jsonb(t) from kill_switches t"),
    (
        "kill_switch_of_everything",
        "select to_jsonb(t) from kill_switch_of_everything t",
    ),
    (
        "autonomy_stages",
        "select to_jsonb(t) from autonomy_stages t",
    ),
    ("stage_changes", "select to_jsonb(t) from stage_changes t"),
    ("autonomy_hours", "select to_jsonb(t) from autonomy_hours t"),
    ("control_events", "select to_jsonb(t) from control_events t"),
    ("reports", "select to_jsonb(t) from reports t"),
    (
        "service_accounts",
        "select to_jsonb(t) from service_accounts t",
    ),
    // When a key was used last is no matter of a command.
    (
        "api_keys",
        "select to_jsonb(t) - 'last_used_at' as to_jsonb from api_keys t",
    ),
    (
        "policy_bundles",
        "select to_jsonb(t) from (select sha256, version from policy_bundles) t",
    ),
    (
        "bundle_activations",
        "select to_jsonb(t) from bundle_activations t",
    ),
];

impl Footprint {
    /// Takes it.
    pub async fn take(admin: &PgPool) -> Self {
        let parts: Vec<_> = TABLES
            .iter()
            .map(|(name, rows)| {
                format!(
                    "select '{name}', coalesce(md5(string_agg(r.to_jsonb::text, '|' order by \
                     r.to_jsonb::text)), '') from ({rows}) r"
                )
            })
            .collect();
        let rows: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(parts.join(" union all ")))
            .fetch_all(admin)
            .await
            .expect("the superuser may");
        let digest_of: BTreeMap<_, _> = rows.into_iter().collect();
        let digests = TABLES
            .iter()
            .map(|(name, _)| (*name, digest_of[*name].clone()));
        Self(digests.collect())
    }

    /// The tables that changed since then.
    pub async fn changes(&self, admin: &PgPool) -> Vec<&'static str> {
        let now = Self::take(admin).await;
        let pairs = self.0.iter().zip(now.0.values());
        pairs
            .filter(|((_, before), after)| before != after)
            .map(|((name, _), _)| *name)
            .collect()
    }
}
