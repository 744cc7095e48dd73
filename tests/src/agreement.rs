//! Whether every workflow knows what the database knows: no more, no less, and nothing left to do.

use contracts::{
    TenantId, TicketId,
    event::TicketLevel,
    proposal::ProposalKind,
    signal::WorkflowView,
    sla::{SlaRecordKey, SlaRecordKind},
    ticket::Ticket,
};
use sqlx::{PgPool, types::Json};
use uuid::Uuid;

use crate::namespace::{Key, Namespace};

/// A ticket as the database has it, in the terms of its workflow.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The ticket.
    pub ticket: Ticket,
    /// `seq` of its newest event.
    pub head_seq: u64,
    /// Warnings and breaches on record, in the view's order.
    pub sla_recorded: Vec<SlaRecordKey>,
    /// Proposals on record, in the view's order; escalations apart.
    pub proposed: Vec<(ProposalKind, u64)>,
    /// Warnings and breaches on which there is an escalation, in the view's order.
    pub escalated: Vec<SlaRecordKey>,
}

/// All tickets there are.
pub async fn tickets(admin: &PgPool) -> Vec<Key> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as("select tenant_id, id from tickets order by id")
        .fetch_all(admin)
        .await
        .expect("the superuser may");
    rows.into_iter()
        .map(|(tenant, ticket)| (TenantId::from_uuid(tenant), TicketId::from_uuid(ticket)))
        .collect()
}

/// Reads it as superuser, past dispatch-api.
pub async fn truth(admin: &PgPool, key: Key) -> Truth {
    let (doc, head_seq): (Json<Ticket>, i64) =
        sqlx::query_as("select doc, event_seq from tickets where tenant_id = $1 and id = $2")
            .bind(key.0.as_uuid())
            .bind(key.1.as_uuid())
            .fetch_one(admin)
            .await
            .expect("the ticket is there");
    let records: Vec<(String, String, i32)> = sqlx::query_as(
        "select clock, kind, revision from sla_records where tenant_id = $1 and ticket_id = $2",
    )
    .bind(key.0.as_uuid())
    .bind(key.1.as_uuid())
    .fetch_all(admin)
    .await
    .expect("the superuser may");
    let mut sla_recorded: Vec<_> = records
        .into_iter()
        .map(|(clock, kind, revision)| SlaRecordKey {
            clock: clock.parse().expect("a slug"),
            kind: kind.parse::<SlaRecordKind>().expect("a kind"),
            revision: revision.unsigned_abs(),
        })
        .collect();
    sla_recorded.sort();
    let proposals: Vec<(String, i64)> = sqlx::query_as(
        "select kind, based_on_version from proposals
         where tenant_id = $1 and ticket_id = $2 and kind <> 'escalation'",
    )
    .bind(key.0.as_uuid())
    .bind(key.1.as_uuid())
    .fetch_all(admin)
    .await
    .expect("the superuser may");
    let mut proposed: Vec<_> = proposals
        .into_iter()
        .map(|(kind, version)| (kind.parse().expect("a kind"), version.unsigned_abs()))
        .collect();
    proposed.sort();
    let escalated: Vec<Json<SlaRecordKey>> = sqlx::query_scalar(
        "select input -> 'record' from proposals
         where tenant_id = $1 and ticket_id = $2 and kind = 'escalation'",
    )
    .bind(key.0.as_uuid())
    .bind(key.1.as_uuid())
    .fetch_all(admin)
    .await
    .expect("the superuser may");
    let mut escalated: Vec<_> = escalated.into_iter().map(|Json(record)| record).collect();
    escalated.sort();
    Truth {
        ticket: doc.0,
        head_seq: head_seq.unsigned_abs(),
        sla_recorded,
        proposed,
        escalated,
    }
}

/// What differs between a workflow's view and the database; empty when they agree. A workflow may
/// know fewer proposals, as it needs none but the one that is due; and of a ticket that has ended
/// fewer records, as a run that finds it ended looks no further.
pub fn differences(view: &WorkflowView, truth: &Truth) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, same: bool, ours: String, theirs: String| {
        if !same {
            found.push(format!(
                "{what}: the workflow has {ours}, the database {theirs}"
            ));
        }
    };
    let level = domain::bare_level(&truth.ticket);
    compare(
        "applied_seq",
        view.applied_seq == truth.head_seq,
        view.applied_seq.to_string(),
        truth.head_seq.to_string(),
    );
    compare(
        "level",
        view.level.as_ref().map(TicketLevel::of_the_ticket) == Some(level.clone()),
        format!("{:?}", view.level),
        format!("{level:?}"),
    );
    let ended = level.state.is_terminal();
    let mut records = view.sla_recorded.clone();
    records.sort();
    compare(
        "SLA records",
        records == truth.sla_recorded
            || ended
                && records
                    .iter()
                    .all(|record| truth.sla_recorded.contains(record)),
        format!("{records:?}"),
        format!("{:?}", truth.sla_recorded),
    );
    let mut proposed = view.proposed.clone();
    proposed.sort();
    compare(
        "proposals",
        proposed
            .iter()
            .all(|proposal| truth.proposed.contains(proposal)),
        format!("{proposed:?}"),
        format!("{:?}", truth.proposed),
    );
    let is_silent = |kind: &ProposalKind| {
        let known = view.level.as_ref();
        known.is_some_and(|level| level.silent_on.contains(kind))
    };
    let due = domain::advice_due(&level).into_iter();
    let due = due.filter(|kind| !is_silent(kind));
    let mut due = due.map(|kind| (kind, level.version));
    compare(
        "advice that is due",
        ended || due.all(|due| proposed.contains(&due)),
        format!("{proposed:?}"),
        format!("{:?}", domain::advice_due(&level)),
    );
    let told = &view.escalated;
    compare(
        "escalations",
        told.iter().all(|record| truth.escalated.contains(record)),
        format!("{told:?}"),
        format!("{:?}", truth.escalated),
    );
    let due = domain::escalations_due(&level.sla, &truth.sla_recorded);
    compare(
        "escalations that are due",
        ended || due.iter().all(|record| told.contains(record)),
        format!("{told:?}"),
        format!("{due:?}"),
    );
    compare(
        "buffer",
        view.buffered.is_empty(),
        format!("{:?}", view.buffered),
        "none".into(),
    );
    compare(
        "trouble",
        view.trouble.is_none(),
        format!("{:?}", view.trouble),
        "none".into(),
    );
    found
}

/// Whether one ticket's workflow agrees with the database, and has ended exactly if the ticket has.
pub async fn agrees(
    admin: &PgPool,
    namespace: &Namespace,
    key: Key,
) -> Result<WorkflowView, String> {
    use temporalio_common::protos::temporal::api::enums::v1::WorkflowExecutionStatus as Status;
    let truth = truth(admin, key).await;
    let status = namespace.status(key).await;
    let wanted = match truth.ticket.state.is_terminal() {
        true => Status::Completed,
        false => Status::Running,
    };
    if status != Some(wanted) {
        let state = truth.ticket.state;
        return Err(format!(
            "{}: the ticket is {state}, its workflow {status:?}",
            key.1
        ));
    }
    let view = namespace
        .view(key)
        .await
        .map_err(|error| format!("{}: {error}", key.1))?;
    match differences(&view, &truth).as_slice() {
        [] => Ok(view),
        found => Err(format!("{}: {}", key.1, found.join("; "))),
    }
}

/// Whether all workflows agree with the database and nothing waits to be delivered.
pub async fn all_agree(admin: &PgPool, namespace: &Namespace) -> Result<(), String> {
    let pending: i64 = sqlx::query_scalar("select count(*) from outbox_events where pending")
        .fetch_one(admin)
        .await
        .expect("the superuser may");
    if pending > 0 {
        return Err(format!("{pending} events wait to be delivered"));
    }
    for key in tickets(admin).await {
        agrees(admin, namespace, key).await?;
    }
    Ok(())
}
