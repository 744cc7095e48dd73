//! What software would have done, and what people were asked to decide.

use chrono::{DateTime, Utc};
use contracts::{
    ApprovalId, CommandId, ProposalId, TicketId,
    approval::Approval,
    proposal::{
        Advice, AdvisorInput, Agreement, AgreementFilter, KindAgreement, OutcomeCounts, Pairing,
        PairingOutcome, Proposal, ProposalKind,
    },
    read::ProposalPage,
};
use domain::autonomy::operation_of;
use sqlx::{FromRow, types::Json};
use strum::VariantArray;
use uuid::Uuid;

use super::{Homes, exists};
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
    paired_seen: bool,
}

/// All proposals of a ticket, oldest first, with the homes that the reader may see.
pub async fn proposals(
    tx: &mut TenantTx,
    ticket_id: TicketId,
    homes: Homes,
) -> Result<Option<ProposalPage>, Error> {
    if !exists(tx, ticket_id).await? {
        return Ok(None);
    }
    let rows: Vec<Row> = sqlx::query_as(
        "select id, ticket_id, kind, based_on_version, input, input_sha256, advice, recorded_at,
                paired_command_id, paired_actor_id, paired_outcome, paired_at, paired_seen
         from proposals where tenant_id = $1 and ticket_id = $2 order by recorded_at, id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ticket_id.as_uuid())
    .fetch_all(tx.connection())
    .await?;
    let items: Result<Vec<_>, _> = rows.into_iter().map(Proposal::try_from).collect();
    let mut items = items?;
    for proposal in &mut items {
        homes.hide_in(&mut proposal.input);
    }
    Ok(Some(ProposalPage {
        items,
        next_cursor: None,
    }))
}

/// Notes that a person has these proposals before them; the first time counts.
pub async fn viewed(
    tx: &mut TenantTx,
    proposals: &[ProposalId],
    actor_id: &str,
) -> Result<(), Error> {
    let ids: Vec<_> = proposals.iter().map(|id| id.as_uuid()).collect();
    sqlx::query(
        "insert into proposal_views (tenant_id, proposal_id, actor_id)
         select $1, id, $3 from unnest($2::uuid[]) id on conflict do nothing",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(ids)
    .bind(actor_id)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes that a person has before them what software asked to do on a ticket: that is what it had
/// proposed, so its open proposals of that kind count as read.
pub async fn viewed_with_approval(
    tx: &mut TenantTx,
    approval: ApprovalId,
    actor_id: &str,
) -> Result<(), Error> {
    let followed = ProposalKind::VARIANTS
        .iter()
        .filter_map(|kind| Some((kind.to_string(), operation_of(*kind)?.to_string())));
    let (kinds, operations): (Vec<_>, Vec<_>) = followed.unzip();
    sqlx::query(
        "insert into proposal_views (tenant_id, proposal_id, actor_id)
         select p.tenant_id, p.id, $3
           from approvals a
           join unnest($4::text[], $5::text[]) as k (kind, operation) on k.operation = a.operation
           join proposals p on p.tenant_id = a.tenant_id and p.ticket_id = a.ticket_id
                           and p.kind = k.kind and p.paired_at is null
          where a.tenant_id = $1 and a.id = $2 and a.requested_by_kind in ('agent', 'workflow')
         on conflict do nothing",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(approval.as_uuid())
    .bind(actor_id)
    .bind(kinds)
    .bind(operations)
    .execute(tx.connection())
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct CountRow {
    kind: String,
    outcome: Option<String>,
    seen: bool,
    count: i64,
}

/// How far people did what software would have done.
pub async fn agreement(tx: &mut TenantTx, filter: &AgreementFilter) -> Result<Agreement, Error> {
    let rows: Vec<CountRow> = sqlx::query_as(
        "select kind, paired_outcome as outcome, paired_seen as seen, count(*) as count
         from proposals
         where tenant_id = $1 and ($2::text is null or kind = $2)
           and ($3::timestamptz is null or recorded_at >= $3)
           and ($4::timestamptz is null or recorded_at < $4)
         group by kind, paired_outcome, paired_seen",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(filter.kind.map(|kind| kind.to_string()))
    .bind(filter.from)
    .bind(filter.to)
    .fetch_all(tx.connection())
    .await?;
    let mut kinds: Vec<_> = ProposalKind::VARIANTS
        .iter()
        .filter(|kind| filter.kind.is_none_or(|wanted| wanted == **kind))
        .map(|kind| KindAgreement {
            kind: *kind,
            open: 0,
            all: OutcomeCounts::default(),
            seen: OutcomeCounts::default(),
            unseen: OutcomeCounts::default(),
        })
        .collect();
    for row in rows {
        let corrupt = |column, reason: &dyn std::fmt::Display| {
            Error::corrupt("proposals", column, &row.kind, reason)
        };
        let kind: ProposalKind = row.kind.parse().map_err(|e| corrupt("kind", &e))?;
        let count = row.count.unsigned_abs();
        let Some(of_kind) = kinds.iter_mut().find(|of| of.kind == kind) else {
            continue;
        };
        let Some(outcome) = &row.outcome else {
            of_kind.open += count;
            continue;
        };
        let outcome: PairingOutcome = outcome.parse().map_err(|e| corrupt("paired_outcome", &e))?;
        of_kind.all.add(outcome, count);
        match row.seen {
            true => of_kind.seen.add(outcome, count),
            false => of_kind.unseen.add(outcome, count),
        }
    }
    Ok(Agreement { kinds })
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
                seen: row.paired_seen,
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
