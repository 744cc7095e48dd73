//! The truth that heals a workflow.

use chrono::{DateTime, Utc};
use contracts::{
    EventId, TicketId,
    autonomy::{AutonomyRules, StageSetting},
    event::AutonomyMode,
    kill_switch::KillSwitchRow,
    proposal::ProposalKind,
    signal::TicketSnapshot,
    sla::SlaRecordKey,
    ticket::Ticket,
};
use domain::Autonomy;
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use crate::{Error, TenantTx};

/// A ticket with what is recorded about it, as of one moment.
#[derive(Debug, FromRow)]
pub struct SnapshotRows {
    epoch: i64,
    event_seq: i64,
    head_event_id: Option<Uuid>,
    doc: Json<Ticket>,
    sla_recorded: Json<Vec<SlaRecordKey>>,
    proposed: Json<Vec<(ProposalKind, u64)>>,
    escalated: Json<Vec<SlaRecordKey>>,
    stages: Json<Vec<StageSetting>>,
    switches: Json<Vec<KillSwitchRow>>,
    /// SHA-256 of the active bundle; `None` when there is none.
    pub bundle_sha256: Option<String>,
}

impl SnapshotRows {
    /// The stages and kill switches, by the rules of the active bundle.
    pub fn autonomy(
        &self,
        at: DateTime<Utc>,
        ceiling: AutonomyMode,
        rules: &AutonomyRules,
    ) -> Autonomy {
        Autonomy {
            at,
            stages: self.stages.0.clone(),
            switches: self.switches.0.clone(),
            ceiling,
            rules: rules.clone(),
        }
    }

    /// The truth for the ticket's workflow.
    pub fn snapshot(self, autonomy: &Autonomy) -> TicketSnapshot {
        TicketSnapshot {
            epoch: self.epoch.unsigned_abs(),
            head_seq: self.event_seq.unsigned_abs(),
            head_event_id: self.head_event_id.map(EventId::from_uuid),
            level: domain::level(&self.doc, autonomy),
            sla_recorded: self.sla_recorded.0,
            proposed: self.proposed.0,
            escalated: self.escalated.0,
        }
    }
}

/// All that a ticket's workflow needs to know, as of one moment.
pub async fn snapshot(
    tx: &mut TenantTx,
    ticket_id: TicketId,
) -> Result<Option<SnapshotRows>, Error> {
    let row = sqlx::query_as(
        "select (select epoch from deployment) as epoch, t.event_seq, t.doc,
                (select bundle_sha256 from deployment) as bundle_sha256,
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
                   and p.kind = 'escalation') as escalated,
                coalesce((select jsonb_agg(jsonb_build_object('target', jsonb_build_object(
                            'operation', s.operation, 'risk', nullif(s.risk, '')),
                            'mode', s.mode, 'percent', s.percent, 'version', s.version)
                            order by s.operation, s.risk)
                 from autonomy_stages s where s.tenant_id = t.tenant_id), '[]') as stages,
                coalesce((select jsonb_agg(jsonb_build_object('scope', k.scope, 'engaged', k.engaged,
                            'generation', k.generation, 'reason', k.reason,
                            'expires_at', k.expires_at) order by k.scope)
                 from (select k.scope, k.engaged, k.generation, k.reason, k.expires_at
                         from kill_switches k where k.tenant_id = t.tenant_id
                       union all
                       select 'everything', e.engaged, e.generation, e.reason, e.expires_at
                         from kill_switch_of_everything e) k), '[]') as switches
         from tickets t where t.tenant_id = $1 and t.id = $2",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_id.as_uuid())
    .fetch_optional(tx.connection())
    .await?;
    Ok(row)
}
