//! What one query each can tell: rows that belong together and do not stand together.

use sqlx::PgConnection;

use super::{Findings, Invariant, MOST_PER_CHECK, Options};
use crate::Error;

struct Check {
    invariant: Invariant,
    /// What is wrong with each row that the query finds.
    what: &'static str,
    /// Selects the place of each violation, as text.
    sql: &'static str,
}

// None of these fails on a row that somebody tampered with: it has to be found, not tripped over.

/// The operation that an attempt's key is of. What carries out an approval is on record as what it
/// carries out, with who released it.
macro_rules! sent {
    () => {
        "case when a.payload ? 'approval' then 'execute_approval' else a.operation end"
    };
}

/// Attempts that leave no answer behind: what a repetition tries anew (see the pipeline's
/// `Outcome::is_stored`).
macro_rules! unanswered {
    () => {
        concat!(
            "(coalesce(a.refused, '') in ('IDEMPOTENCY_MISMATCH', 'AHEAD_OF_DATABASE', 'INTERNAL', 'UNAVAILABLE',
               'POLICY_UNAVAILABLE', 'TENANT_SUSPENDED', 'OUT_OF_SCOPE')
              or a.refused in ('KILL_SWITCH', 'STAGE') and a.actor_kind = 'workflow'
              or a.refused is not null and a.actor_kind = 'workflow' and ",
            sent!(),
            " in ('add_note', 'record_proposal', 'record_sla', 'add_evidence', 'comms_outbound',
                  'attach_message', 'comms_inbound', 'decide_approval', 'amend_approval',
                  'withdraw_approval', 'change_approval_due', 'record_approval_step',
                  'execute_approval', 'claim_approval', 'release_approval', 'take_over_approval',
                  'comment_approval', 'upsert_site', 'upsert_asset', 'upsert_contact',
                  'upsert_technician', 'record_absence', 'cancel_absence', 'engage_kill_switch',
                  'release_kill_switch', 'record_drill', 'delegate_approvals', 'revoke_delegation',
                  'record_gate_report', 'promote_stage', 'demote_stage', 'apply_stage_change',
                  'upload_bundle', 'activate_bundle', 'create_tenant', 'configure_tenant',
                  'limit_tenant', 'suspend_tenant', 'resume_tenant', 'request_tenant_deletion',
                  'cancel_tenant_deletion', 'erase_tenant', 'upsert_service_account',
                  'disable_service_account', 'issue_api_key', 'rotate_api_key', 'revoke_api_key', 'record_tenant_export'))"
        )
    };
}

/// An attempt that is held, and did nothing but tell people so.
macro_rules! held {
    () => {
        "(coalesce(a.changes #>> '{0,event,type}', a.changes #>> '{0,type}') = 'approval.requested'
          and not exists (select from jsonb_path_query(a.changes, '$[1 to last].event.type') t
                           where t <> '\"message.queued\"'))"
    };
}

const CHECKS: &[Check] = &[
    Check {
        invariant: Invariant::I1,
        what: "an attempt without its stored answer",
        sql: concat!(
            "select 'audit_events ' || a.command_id from audit_events a
             left join idempotency_keys k on k.tenant_id = a.tenant_id and k.actor_id = a.actor_id
               and k.operation = ", sent!(), " and k.request_id = a.request_id
               and k.command_id = a.command_id
             where k.command_id is null and not ", unanswered!()),
    },
    Check {
        invariant: Invariant::I1,
        what: "a stored answer that does not say what the audit row says",
        sql: concat!(
            "select 'idempotency_keys ' || k.command_id from idempotency_keys k
              join audit_events a on a.tenant_id = k.tenant_id and a.command_id = k.command_id
              where (a.refused is null) <> (k.status < 400) or a.decision_id <> k.decision_id
                 or (k.status = 202) <> (a.refused is null and ", held!(), ")
                 or position('\"command_id\":\"' || wire_id('cmd', k.command_id) || '\"' in k.body) = 0
                 or (a.refused is not null
                     and position('\"code\":\"' || a.refused || '\"' in k.body) = 0)
                 or (a.refused is null and k.status <> 202
                     and position('\"produced_version\":' || a.produced_version || ',' in k.body) = 0)"),
    },
    Check {
        invariant: Invariant::I1,
        what: "an accepted attempt whose events are not its changes",
        sql: "select 'audit_events ' || a.command_id from audit_events a
              where a.refused is null and a.ticket_id is not null
                and jsonb_array_length(jsonb_path_query_array(a.changes, '$[*]')) <> (
                  select count(*) from outbox_events o
                  where o.tenant_id = a.tenant_id and o.ticket_id = a.ticket_id
                    and o.command_id = a.command_id)",
    },
    Check {
        invariant: Invariant::I1,
        what: "an accepted attempt without any change",
        sql: "select 'audit_events ' || command_id from audit_events
              where refused is null and jsonb_array_length(jsonb_path_query_array(changes, '$[*]')) = 0",
    },
    Check {
        invariant: Invariant::I1,
        what: "a refused attempt with an effect",
        sql: "select 'audit_events ' || a.command_id from audit_events a
              where a.refused is not null and (
                  jsonb_array_length(jsonb_path_query_array(a.changes, '$[*]')) > 0 or a.produced_version <> a.applied_to_version
                  or a.before is distinct from a.after
                  or exists (select from outbox_events o where o.tenant_id = a.tenant_id
                     and o.ticket_id = a.ticket_id and o.command_id = a.command_id))",
    },
    Check {
        invariant: Invariant::I1,
        what: "an accepted attempt that the policy did not allow",
        // Held is not done. That what was released may not be done any more is on record too.
        sql: concat!(
            "select 'audit_events ' || a.command_id from audit_events a
              join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
              where a.refused is null and d.result <> 'ALLOW'
                and not (d.result = 'REQUIRE_APPROVAL' and ", held!(), ")
                and not (a.payload ? 'approval' and a.changes #>> '{0,event,type}' = 'approval.stale'
                         and a.changes #> '{0,event,data,approval_id}'
                             = a.payload #> '{approval,approval_id}')"),
    },
    Check {
        invariant: Invariant::I1,
        what: "a held attempt that the policy did not hold",
        sql: concat!(
            "select 'audit_events ' || a.command_id from audit_events a
              join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
              where a.refused is null and d.result <> 'REQUIRE_APPROVAL' and ", held!()),
    },
    Check {
        invariant: Invariant::I2,
        what: "a decision without its audit row",
        sql: "select 'policy_decisions ' || d.id from policy_decisions d
              left join audit_events a on a.tenant_id = d.tenant_id and a.command_id = d.command_id
                and (a.decision_id = d.id
                     or coalesce(a.payload #>> '{released,decision_id}',
                                 a.payload #>> '{amended,decision_id}') = wire_id('dec', d.id))
              where a.id is null",
    },
    Check {
        invariant: Invariant::I2,
        what: "a decision about something else than its audit row",
        sql: "select 'policy_decisions ' || d.id from policy_decisions d
              join audit_events a on a.tenant_id = d.tenant_id and a.decision_id = d.id
              where a.operation <> d.operation or a.at <> d.at or a.ticket_id is distinct from d.ticket_id
                 or a.correlation_id <> d.correlation_id or a.trace_id <> d.trace_id",
    },
    Check {
        invariant: Invariant::I2,
        what: "an audit row without its decision",
        sql: "select 'audit_events ' || a.command_id from audit_events a
              left join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
                and d.command_id = a.command_id
              where d.id is null",
    },
    Check {
        invariant: Invariant::I2,
        what: "a stored answer without its audit row",
        sql: concat!(
            "select 'idempotency_keys ' || k.command_id from idempotency_keys k
              left join audit_events a on a.tenant_id = k.tenant_id and a.command_id = k.command_id
                and a.actor_id = k.actor_id and k.operation = ", sent!(), "
                and a.request_id = k.request_id
              where a.id is null"),
    },
    Check {
        invariant: Invariant::I2,
        what: "a row beside the ticket without an accepted attempt that wrote it",
        sql: "select r.kind || ' ' || r.id from (
                  select 'outbox_events' as kind, id::text, tenant_id, ticket_id, command_id from outbox_events
                  union all select 'notes', id::text, tenant_id, ticket_id, command_id from notes
                  union all select 'proposals', id::text, tenant_id, ticket_id, command_id from proposals
                  union all select 'proposals (pairing)', id::text, tenant_id, ticket_id, paired_command_id
                      from proposals where paired_command_id is not null
                  union all select 'approvals', id::text, tenant_id, ticket_id, command_id from approvals
                  union all select 'approvals (decision)', id::text, tenant_id, ticket_id, decided_command_id
                      from approvals where decided_command_id is not null
                  union all select 'approvals (execution)', id::text, tenant_id, ticket_id, executed_command_id
                      from approvals where executed_command_id is not null
                  union all select 'approval_comments', c.id::text, c.tenant_id, a.ticket_id, c.command_id
                      from approval_comments c
                      left join approvals a on a.tenant_id = c.tenant_id and a.id = c.approval_id
                  union all select 'evidence', id::text, tenant_id, ticket_id, command_id from evidence
                  union all select 'sla_records', ticket_id || '/' || clock || '/' || kind, tenant_id,
                      ticket_id, command_id from sla_records) r
              left join audit_events a on a.tenant_id = r.tenant_id and a.command_id = r.command_id
                and a.ticket_id is not distinct from r.ticket_id and a.refused is null
              where a.id is null",
    },
    Check {
        invariant: Invariant::I2,
        what: "a ticket's visits are not those of its document",
        sql: r#"select 'tickets ' || t.id from tickets t
              where (select count(*) from visits v
                     where v.tenant_id = t.tenant_id and v.ticket_id = t.id)
                    <> jsonb_array_length(jsonb_path_query_array(t.doc, '$.visits[*]'))
                 or exists (
                    select from jsonb_to_recordset(jsonb_path_query_array(t.doc, '$.visits[*]')) as n (
                        id text, number integer, stage text, technician_id text, "window" jsonb,
                        eta timestamptz, checked_in_at timestamptz, ended_at timestamptz)
                    left join visits v on v.tenant_id = t.tenant_id and v.id = row_id(n.id)
                    where v.id is null or v.ticket_id <> t.id or v.number <> n.number
                       or v.stage <> n.stage or v.ended_at is distinct from n.ended_at
                       or v.starts_at is distinct from (n."window" ->> 'start')::timestamptz
                       or v.ends_at is distinct from (n."window" ->> 'end')::timestamptz
                       or v.eta is distinct from n.eta
                       or v.checked_in_at is distinct from n.checked_in_at
                       or v.technician_id is distinct from row_id(n.technician_id))"#,
    },
    Check {
        invariant: Invariant::I4,
        what: "events to the workflow are not numbered 1..n up to the ticket's counter",
        sql: "select 'tickets ' || t.id from tickets t
              left join (select tenant_id, ticket_id, count(seq) as n, min(seq) as least, max(seq) as most
                         from outbox_events where seq is not null group by 1, 2) o
                on o.tenant_id = t.tenant_id and o.ticket_id = t.id
              where coalesce(o.n, 0) <> t.event_seq or coalesce(o.most, 0) <> t.event_seq
                 or o.least is distinct from 1",
    },
    Check {
        invariant: Invariant::I4,
        what: "a workflow that is on record as knowing more than there was",
        sql: "select 'audit_events ' || a.command_id from audit_events a
              join tickets t on t.tenant_id = a.tenant_id and t.id = a.ticket_id
              where a.refused is null and jsonb_path_exists(
                  a.payload, '$.applied_seq ? (@ > $seq)', jsonb_build_object('seq', t.event_seq))",
    },
    Check {
        invariant: Invariant::I6,
        what: "a key under which two attempts were accepted",
        sql: concat!(
            "select 'audit_events ' || min(a.command_id::text) from audit_events a where a.refused is null
              group by a.tenant_id, a.actor_id, ", sent!(), ", a.request_id having count(*) > 1"),
    },
    Check {
        invariant: Invariant::I6,
        what: "a mismatch that took the place of the first request",
        sql: "select 'idempotency_keys ' || k.command_id from idempotency_keys k
              join audit_events a on a.tenant_id = k.tenant_id and a.command_id = k.command_id
              where a.refused = 'IDEMPOTENCY_MISMATCH'",
    },
    Check {
        invariant: Invariant::I7,
        what: "a parked event: see `dispatch relay parked list`",
        sql: "select 'outbox_events ' || id from outbox_events where pending and parked_at is not null",
    },
];

/// Also counts the numbered series: an invoice number is never skipped.
const GAPLESS: Check = Check {
    invariant: Invariant::I1,
    what: "a series of numbers with a gap or a repeat",
    sql: "select 'invoice_counters ' || c.tenant_id || ' ' || c.series from invoice_counters c
          where c.next - 1 <> (
              select count(distinct n.number) from audit_events a
              cross join lateral jsonb_path_query(a.changes, '$[*]') as change
              cross join lateral (select case c.series
                  when 'invoice' then change #>> '{event,data,invoice,number}'
                  else change #>> '{event,data,credit_note}' end as number) n
              where a.tenant_id = c.tenant_id and n.number is not null
                and a.operation in ('generate_invoice', 'reopen'))",
};

const OVERDUE: &str = "select 'outbox_events ' || id from outbox_events
     where pending and parked_at is null and created_at < now() - make_interval(secs => $1)";

/// By the sealer's own account, which is compared with the checkpoints elsewhere.
const UNSEALED: &str =
    "select 'audit_events ' || a.tenant_id || ' ' || a.stream || ' #' || min(a.position)
     from audit_events a
     left join audit_sealed_heads s on s.tenant_id = a.tenant_id and s.stream = a.stream
     where a.position > coalesce(s.length, 0)
       and a.recorded_at < now() - make_interval(secs => $1)
     group by a.tenant_id, a.stream";

pub(super) async fn check(
    tx: &mut PgConnection,
    options: &Options,
    found: &mut Findings,
) -> Result<(), Error> {
    for check in CHECKS.iter().chain([&GAPLESS]) {
        let places: Vec<String> = sqlx::query_scalar(check.sql).fetch_all(&mut *tx).await?;
        for place in places.into_iter().take(MOST_PER_CHECK) {
            found.add(check.invariant, place, check.what);
        }
    }
    let waiting = [
        (
            options.delivery_within,
            Invariant::I7,
            OVERDUE,
            "an event that waits for delivery",
        ),
        (
            options.sealed_within,
            Invariant::I9,
            UNSEALED,
            "a row that no checkpoint covers",
        ),
    ];
    for (within, invariant, sql, what) in waiting {
        let Some(within) = within else { continue };
        let places: Vec<String> = sqlx::query_scalar(sql)
            .bind(within.as_secs_f64())
            .fetch_all(&mut *tx)
            .await?;
        for place in places.into_iter().take(MOST_PER_CHECK) {
            found.add(invariant, place, format!("{what} for more than {within:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use contracts::{Operation, command::CommandClass};
    use strum::VariantArray;

    #[test]
    fn whatever_changes_no_ticket_may_be_tried_anew() {
        for operation in Operation::VARIANTS {
            let listed = unanswered!().contains(&format!("'{operation}'"));
            assert_eq!(
                listed,
                operation.class() != CommandClass::Change,
                "{operation}"
            );
        }
    }
}
