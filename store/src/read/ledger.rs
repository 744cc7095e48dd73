//! What was recorded of one kind of command over a range of time: proposals with what people did,
//! what software attempted and did, and what came of it. `domain::rollout` makes figures of it.

use std::{collections::BTreeSet, fmt::Display};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    CommandId, Operation, ProposalId, Slug, TechnicianId, TicketId,
    command::CommandClass,
    event::TicketChange,
    proposal::{Factor, PairingOutcome},
    rollout::LedgerPair,
};
use domain::{
    autonomy::kind_of,
    rollout::{
        ActFacts, ApprovalFacts, AttemptFacts, LedgerFacts, OpenFacts, PairFacts, PromiseFacts,
        StepFacts, TicketRisk, rule,
    },
};
use sqlx::{FromRow, types::Json};
use strum::VariantArray;
use uuid::Uuid;

use crate::{Error, TenantTx};

/// How far a clock of ours may be ahead of the database's: rows are found by the moment of writing.
const SKEW: TimeDelta = TimeDelta::hours(1);

/// The range: from the first moment up to the second, which is not in it.
pub type Range = (DateTime<Utc>, DateTime<Utc>);

#[derive(FromRow)]
struct ProposalRow {
    id: Uuid,
    ticket_id: Uuid,
    recorded_at: DateTime<Utc>,
    paired_at: Option<DateTime<Utc>>,
    outcome: Option<String>,
    seen: bool,
    advisor: String,
    factors: Option<Json<Vec<Factor>>>,
    proposed: Option<String>,
    technician_id: Option<Uuid>,
    priority: String,
    template: String,
}

/// The rows of the ledger on this kind of command.
pub async fn ledger(
    tx: &mut TenantTx,
    operation: Operation,
    range: Range,
) -> Result<LedgerFacts, Error> {
    let mut facts = LedgerFacts::default();
    proposals(tx, operation, range, &mut facts).await?;
    approvals(tx, operation, range, &mut facts).await?;
    done(tx, operation, range, facts).await
}

/// Those of them that guardrails look at: what software attempted and did, and what came of it.
pub async fn deeds(
    tx: &mut TenantTx,
    operation: Operation,
    range: Range,
) -> Result<LedgerFacts, Error> {
    done(tx, operation, range, LedgerFacts::default()).await
}

async fn done(
    tx: &mut TenantTx,
    operation: Operation,
    range: Range,
    mut facts: LedgerFacts,
) -> Result<LedgerFacts, Error> {
    attempts(tx, operation, range, &mut facts).await?;
    acts(tx, operation, range, &mut facts).await?;
    steps(tx, range, &mut facts).await?;
    let tickets = facts.occurring().into_iter().map(|id| id.as_uuid());
    let tickets: Vec<Uuid> = tickets.collect();
    risks(tx, &tickets, &mut facts).await?;
    promises(tx, &tickets, range, &mut facts).await?;
    Ok(facts)
}

/// What the workflow recorded, for that is what software would follow; and of each ticket's version,
/// and of what one act met, one proposal: saying it twice is no second case. Of a version that is the
/// one that met an act first, of those the one that was recorded last. Its ticket is told as the
/// advisor saw it; what advice of this kind does not look at, as it is now.
async fn proposals(
    tx: &mut TenantTx,
    operation: Operation,
    (since, until): Range,
    facts: &mut LedgerFacts,
) -> Result<(), Error> {
    let Some(kind) = kind_of(operation) else {
        return Ok(());
    };
    let rows: Vec<ProposalRow> = sqlx::query_as(
        "with said as (
             select p.*, case when p.paired_at < $4 then p.paired_command_id end as met
               from proposals p
               join audit_events e on e.tenant_id = p.tenant_id and e.command_id = p.command_id
                                  and e.actor_kind = 'workflow'
              where p.tenant_id = $1 and p.kind = $2 and p.recorded_at >= $3 and p.recorded_at < $4),
         of_version as (
             select distinct on (ticket_id, based_on_version) * from said
              order by ticket_id, based_on_version, met is null, paired_outcome = 'nothing',
                       paired_at, recorded_at desc, id desc),
         of_act as (
             select distinct on (ticket_id, coalesce(met, id)) * from of_version
              order by ticket_id, coalesce(met, id), based_on_version desc)
         select p.id, p.ticket_id, p.recorded_at, p.paired_at, p.paired_outcome as outcome,
                p.paired_seen as seen, coalesce(p.advice ->> 'advisor', '') as advisor,
                p.advice #> '{ranked,0,factors}' as factors,
                p.advice #>> '{ranked,0,choice,technician_id}' as proposed, t.technician_id,
                coalesce(p.input ->> 'priority', t.priority) as priority,
                coalesce(p.input ->> 'template', t.template) as template
         from of_act p
         join tickets t on t.tenant_id = p.tenant_id and t.id = p.ticket_id
         order by p.recorded_at, p.id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(kind.to_string())
    .bind(since)
    .bind(until)
    .fetch_all(tx.connection())
    .await?;
    for row in rows {
        let ticket_id = TicketId::from_uuid(row.ticket_id);
        let id = ProposalId::from_uuid(row.id);
        let risk = ticket_risk("proposals", id, &row.priority, &row.template)?;
        let (Some(paired_at), Some(outcome)) =
            (row.paired_at.filter(|at| *at < until), row.outcome)
        else {
            facts.open.push(OpenFacts { ticket_id, risk });
            continue;
        };
        let outcome: PairingOutcome = outcome
            .parse()
            .map_err(|error| Error::corrupt("proposals", "paired_outcome", id, error))?;
        let proposed = row.proposed.and_then(|id| id.parse::<TechnicianId>().ok());
        let pair = LedgerPair {
            proposal_id: id,
            ticket_id,
            recorded_at: row.recorded_at,
            paired_at,
            outcome,
            seen: row.seen,
            rule: rule(
                &row.advisor,
                row.factors.as_deref().map_or(&[], Vec::as_slice),
            ),
            technician_id: proposed.or(row.technician_id.map(TechnicianId::from_uuid)),
        };
        facts.pairs.push(PairFacts { pair, risk });
    }
    Ok(())
}

/// What policy let pass, held or denied. What was carried out for an approval is no attempt of its own:
/// the request was. Nor is what a stage, a switch or a cap stopped, and what failed for another reason
/// than policy (a version that the ticket had left, a key used twice): whoever sends such things in
/// numbers would make the share of what was denied as small as they like.
async fn attempts(
    tx: &mut TenantTx,
    operation: Operation,
    (since, until): Range,
    facts: &mut LedgerFacts,
) -> Result<(), Error> {
    let rows: Vec<(Uuid, Option<String>, bool)> = sqlx::query_as(
        "select e.ticket_id, d.input::jsonb #>> '{stage,risk}' as risk,
                e.refused is not null as denied
         from audit_events e
         join policy_decisions d on d.tenant_id = e.tenant_id and d.id = e.decision_id
         where e.tenant_id = $1 and e.operation = $2 and e.actor_kind in ('agent', 'workflow')
           and e.at >= $3 and e.at < $4 and e.recorded_at >= $5 and e.ticket_id is not null
           and (e.refused is null
                or e.refused in ('POLICY_DENIED', 'FORBIDDEN') and exists (
                    select from jsonb_array_elements(d.reasons) r
                     where not starts_with(r ->> 'code', 'AUTONOMY_CAP_')))
           and not exists (
               select from approvals a
                where a.tenant_id = e.tenant_id and a.ticket_id = e.ticket_id
                  and a.executed_command_id = e.command_id)
         order by e.at, e.command_id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(operation.to_string())
    .bind(since)
    .bind(until)
    .bind(since - SKEW)
    .fetch_all(tx.connection())
    .await?;
    for (ticket, risk, denied) in rows {
        let ticket_id = TicketId::from_uuid(ticket);
        facts.attempts.push(AttemptFacts {
            ticket_id,
            risk: class(ticket_id, risk)?,
            denied,
        });
    }
    Ok(())
}

#[derive(FromRow)]
struct ActRow {
    command_id: Uuid,
    ticket_id: Uuid,
    at: DateTime<Utc>,
    released: bool,
    changes: Json<Vec<TicketChange>>,
    risk: Option<String>,
}

#[derive(FromRow)]
struct StepRow {
    command_id: Uuid,
    ticket_id: Uuid,
    at: DateTime<Utc>,
    flag: bool,
    changes: Json<Vec<TicketChange>>,
}

/// What is held was not done, and what is carried out is of whoever had asked for it, also where a
/// person did so. Whose row it can be is said as the index `audit_events_of_software` says it.
async fn acts(
    tx: &mut TenantTx,
    operation: Operation,
    (since, until): Range,
    facts: &mut LedgerFacts,
) -> Result<(), Error> {
    let rows: Vec<ActRow> = sqlx::query_as(
        "select e.command_id, e.ticket_id, e.at, x.id is not null as released, e.changes,
                d.input::jsonb #>> '{stage,risk}' as risk
         from audit_events e
         join policy_decisions d on d.tenant_id = e.tenant_id and d.id = e.decision_id
         left join approvals x on x.tenant_id = e.tenant_id and x.ticket_id = e.ticket_id
                              and x.executed_command_id = e.command_id
         where e.tenant_id = $1 and e.operation = $2 and e.refused is null
           and e.at >= $3 and e.at < $4 and e.recorded_at >= $5 and e.ticket_id is not null
           and (e.actor_kind in ('agent', 'workflow') or e.payload ? 'approval')
           and case when x.id is null then e.actor_kind in ('agent', 'workflow')
                    else x.requested_by_kind in ('agent', 'workflow') end
           and not exists (
               select from approvals h
                where h.tenant_id = e.tenant_id and h.ticket_id = e.ticket_id
                  and h.command_id = e.command_id and h.kind = 'held_command')
         order by e.at, e.command_id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(operation.to_string())
    .bind(since)
    .bind(until)
    .bind(since - SKEW)
    .fetch_all(tx.connection())
    .await?;
    for row in rows {
        let ticket_id = TicketId::from_uuid(row.ticket_id);
        facts.acts.push(ActFacts {
            command_id: CommandId::from_uuid(row.command_id),
            ticket_id,
            risk: class(ticket_id, row.risk)?,
            at: row.at,
            released: row.released,
            changes: row.changes.0,
        });
    }
    Ok(())
}

/// The risk class that a decision on a ticket named.
fn class(ticket: TicketId, risk: Option<String>) -> Result<Option<Slug>, Error> {
    let risk = risk.map(|risk| risk.parse()).transpose();
    risk.map_err(|error| Error::corrupt("policy_decisions", "input", ticket, error))
}

/// What happened to the tickets of the acts since the first of them.
async fn steps(tx: &mut TenantTx, (_, until): Range, facts: &mut LedgerFacts) -> Result<(), Error> {
    let Some(first) = facts.acts.iter().map(|act| act.at).min() else {
        return Ok(());
    };
    let tickets: BTreeSet<_> = facts.acts.iter().map(|act| act.ticket_id).collect();
    let streams: Vec<String> = tickets
        .into_iter()
        .map(crate::audit::ticket_stream)
        .collect();
    let operations = Operation::VARIANTS.iter();
    let changes = operations.filter(|operation| operation.class() == CommandClass::Change);
    let changes: Vec<String> = changes.map(ToString::to_string).collect();
    let rows: Vec<StepRow> = sqlx::query_as(
        "select e.command_id, e.ticket_id, e.at, e.changes,
                case when x.id is null then e.actor_kind else x.requested_by_kind end
                    in ('agent', 'workflow') as flag
         from audit_events e
         left join approvals x on x.tenant_id = e.tenant_id and x.ticket_id = e.ticket_id
                              and x.executed_command_id = e.command_id
         where e.tenant_id = $1 and e.stream = any($2) and e.refused is null
           and e.at >= $3 and e.at < $4 and e.operation = any($5)
         order by e.stream, e.position",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(streams)
    .bind(first)
    .bind(until)
    .bind(changes)
    .fetch_all(tx.connection())
    .await?;
    for row in rows {
        let of_ticket = facts.steps.entry(TicketId::from_uuid(row.ticket_id));
        of_ticket.or_default().push(StepFacts {
            command_id: CommandId::from_uuid(row.command_id),
            at: row.at,
            by_software: row.flag,
            changes: row.changes.0,
        });
    }
    Ok(())
}

async fn approvals(
    tx: &mut TenantTx,
    operation: Operation,
    (since, until): Range,
    facts: &mut LedgerFacts,
) -> Result<(), Error> {
    let rows: Vec<(Uuid, String, Option<String>)> = sqlx::query_as(
        "select a.ticket_id, a.state, d.input::jsonb #>> '{stage,risk}' as risk
         from approvals a
         left join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
         where a.tenant_id = $1 and a.kind = 'held_command' and a.operation = $2
           and a.requested_by_kind in ('agent', 'workflow') and a.ticket_id is not null
           and a.requested_at >= $3 and a.requested_at < $4
         order by a.requested_at, a.id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(operation.to_string())
    .bind(since)
    .bind(until)
    .fetch_all(tx.connection())
    .await?;
    for (ticket, state, risk) in rows {
        let ticket_id = TicketId::from_uuid(ticket);
        let state = state
            .parse()
            .map_err(|error| Error::corrupt("approvals", "state", ticket_id, error))?;
        facts.approvals.push(ApprovalFacts {
            ticket_id,
            state,
            risk: class(ticket_id, risk)?,
        });
    }
    Ok(())
}

async fn risks(tx: &mut TenantTx, tickets: &[Uuid], facts: &mut LedgerFacts) -> Result<(), Error> {
    let rows: Vec<(Uuid, String, String)> = sqlx::query_as(
        "select id, priority, template from tickets where tenant_id = $1 and id = any($2)",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(tickets)
    .fetch_all(tx.connection())
    .await?;
    for (id, priority, template) in rows {
        let id = TicketId::from_uuid(id);
        let risk = ticket_risk("tickets", id, &priority, &template)?;
        facts.tickets.insert(id, risk);
    }
    Ok(())
}

fn ticket_risk(
    table: &'static str,
    id: impl Display,
    priority: &str,
    template: &str,
) -> Result<TicketRisk, Error> {
    let corrupt = |column, error: &dyn Display| Error::corrupt(table, column, &id, error);
    Ok(TicketRisk {
        priority: priority.parse().map_err(|e| corrupt("priority", &e))?,
        template: template.parse().map_err(|e| corrupt("template", &e))?,
    })
}

async fn promises(
    tx: &mut TenantTx,
    tickets: &[Uuid],
    (since, until): Range,
    facts: &mut LedgerFacts,
) -> Result<(), Error> {
    let rows: Vec<(Uuid, String, DateTime<Utc>)> = sqlx::query_as(
        "select ticket_id, kind, effective_at from sla_records
         where tenant_id = $1 and ticket_id = any($2) and effective_at >= $3 and effective_at < $4
         order by effective_at, ticket_id, clock, kind, revision",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(tickets)
    .bind(since)
    .bind(until)
    .fetch_all(tx.connection())
    .await?;
    for (ticket, kind, effective_at) in rows {
        let ticket_id = TicketId::from_uuid(ticket);
        let kind = kind
            .parse()
            .map_err(|error| Error::corrupt("sla_records", "kind", ticket_id, error))?;
        facts.promises.push(PromiseFacts {
            ticket_id,
            kind,
            effective_at,
        });
    }
    Ok(())
}
