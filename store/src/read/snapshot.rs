//! The truth that heals a workflow.

use contracts::{
    EventId, TicketId, proposal::ProposalKind, signal::TicketSnapshot, sla::SlaRecordKey,
    ticket::Ticket,
};
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use crate::{Error, TenantTx};

#[derive(FromRow)]
struct Row {
    epoch: i64,
    event_seq: i64,
    head_event_id: Option<Uuid>,
    doc: Json<Ticket>,
    sla_recorded: Json<Vec<SlaRecordKey>>,
    proposed: Json<Vec<(ProposalKind, u64)>>,
    escalated: Json<Vec<SlaRecordKey>>,
}

/// All that a ticket's workflow needs to know, as of one moment.
pub async fn snapshot(
    tx: &mut TenantTx,
    ticket_id: TicketId,
) -> Result<Option<TicketSnapshot>, Error> {
    let row: Option<Row> = sqlx::query_as(
        "select (select epoch from deployment) as epoch, t.event_seq, t.doc,
                (select e.id from outbox_events e
                 where e.tenant_id = t.tenant_id and e.ticket_id = t.id and e.seq = t.event_seq)
                    as head_event_id,
                (select coalesce(jsonb_agg(jsonb_build_object(
                            'clock', r.clock, 'kind', r.kind, 'revision', r.revision)
                            order by r.clock, r.kind, r.revision), '[]')
                 from sla_records r where r.tenant_id = t.tenant_id and r.ticket_id = t.id)
                    as sla_recorded,
                (select coalesce(jsonb_agg(jsonb_build_array(p.kind, p.based_on_version)
                            order by p.recorded_at, p.id), '[]')
                 from proposals p where p.tenant_id = t.tenant_id and p.ticket_id = t.id
                   and p.kind <> 'escalation') as proposed,
                (select coalesce(jsonb_agg(p.input -> 'record' order by p.recorded_at, p.id), '[]')
                 from proposals p where p.tenant_id = t.tenant_id and p.ticket_id = t.id
                   and p.kind = 'escalation') as escalated
         from tickets t where t.tenant_id = $1 and t.id = $2",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_id.as_uuid())
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| TicketSnapshot {
        epoch: row.epoch.unsigned_abs(),
        head_seq: row.event_seq.unsigned_abs(),
        head_event_id: row.head_event_id.map(EventId::from_uuid),
        level: domain::level(&row.doc),
        sla_recorded: row.sla_recorded.0,
        proposed: row.proposed.0,
        escalated: row.escalated.0,
    }))
}
