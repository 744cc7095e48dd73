//! The record, as the login that only reads sees it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ActorKind, CommandId, DecisionId, ProposalId, Role, TenantId, TicketId,
    policy::{BundleRef, Reason},
    proposal::{PairingOutcome, ProposalKind},
    sla::SlaRecordKey,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{FromRow, PgPool, Postgres, Transaction, types::Json};
use uuid::Uuid;

use crate::{Error, Range, decisions::Recorded};

/// By how much an id's time and the attempt's may differ, generously.
const SLACK: TimeDelta = TimeDelta::minutes(10);

/// The record as of one moment. Nothing can be written through it.
#[derive(Debug)]
pub struct Snapshot(Transaction<'static, Postgres>);

/// A chain of attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timeline {
    pub stream: String,
    /// `None`: of things that are no tickets.
    pub ticket_id: Option<TicketId>,
}

/// One attempt with its decision.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub stream: String,
    pub position: u64,
    pub ticket_id: Option<TicketId>,
    pub command_id: CommandId,
    /// Who sent it.
    pub actor_id: String,
    /// Whose act it was: of a command that was held and is carried out by the workflow, whoever had
    /// asked for it.
    pub acting: (ActorKind, Vec<Role>),
    /// As a word: one of a later version is looked at as well.
    pub operation: String,
    pub at: DateTime<Utc>,
    pub refused: Option<String>,
    pub applied_to_version: u64,
    pub produced_version: u64,
    pub changes: Value,
    pub decision: Decision,
}

/// A recorded decision.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub id: DecisionId,
    pub ticket_id: Option<TicketId>,
    pub operation: String,
    pub at: DateTime<Utc>,
    pub recorded: Recorded,
    /// What the policy was asked; empty for attempts before the range.
    pub input: String,
}

/// A reason of a recorded decision. Fields of later versions are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedReason {
    /// Stable code.
    pub code: String,
    /// Which error code the caller got, as a word; absent in artifacts of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
    /// What would have made it pass.
    #[serde(default)]
    pub to_pass: String,
}

impl RecordedReason {
    /// Whether a caller meets the same rule, in the same class where that is on record.
    pub(crate) fn is(&self, now: &Reason) -> bool {
        let class = self.class.as_ref();
        self.code == now.code && class.is_none_or(|class| *class == now.class.to_string())
    }
}

/// A recorded proposal, its documents as they were stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredProposal {
    pub id: ProposalId,
    pub kind: ProposalKind,
    pub based_on_version: u64,
    pub input: Value,
    pub input_sha256: String,
    pub advice: Value,
    pub paired: Option<(PairingOutcome, DateTime<Utc>)>,
    pub seen: bool,
}

/// What stands beside a ticket's timeline, by the attempt that wrote it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    pub proposals: BTreeMap<CommandId, StoredProposal>,
    pub sla: BTreeMap<CommandId, SlaRecordKey>,
}

/// The tenant that is meant: by its id or by its name.
///
/// # Errors
/// When the database cannot be read. `Ok(None)`: there is no such tenant.
pub async fn tenant(pool: &PgPool, named: &str) -> Result<Option<TenantId>, Error> {
    let by_id: Option<TenantId> = named.parse().ok();
    let found: Option<Uuid> =
        sqlx::query_scalar("select tenant_id from tenants where tenant_id = $1 or slug = $2")
            .bind(by_id.map(|id| id.as_uuid()))
            .bind(named)
            .fetch_optional(pool)
            .await?;
    Ok(found.map(TenantId::from_uuid))
}

/// Names of tenants, for somebody who gave none that exists.
///
/// # Errors
/// When the database cannot be read.
pub async fn tenant_names(pool: &PgPool, most: u32) -> Result<Vec<String>, Error> {
    let names = sqlx::query_scalar("select slug from tenants order by slug limit $1")
        .bind(i64::from(most))
        .fetch_all(pool)
        .await?;
    Ok(names)
}

/// The bundle that decides now.
///
/// # Errors
/// When the database cannot be read.
pub async fn active_bundle(pool: &PgPool) -> Result<Option<BundleRef>, Error> {
    Ok(store::deployment::read(pool).await?.bundle)
}

/// The archive of a bundle that was uploaded to this installation.
///
/// # Errors
/// When the database cannot be read. `Ok(None)`: nobody uploaded it here.
pub async fn archive(pool: &PgPool, sha256: &str) -> Result<Option<Vec<u8>>, Error> {
    let archive = sqlx::query_scalar("select archive from policy_bundles where sha256 = $1")
        .bind(sha256)
        .fetch_optional(pool)
        .await?;
    Ok(archive)
}

#[derive(FromRow)]
struct AttemptRow {
    stream: String,
    position: i64,
    command_id: Uuid,
    actor_id: String,
    actor_kind: String,
    actor_roles: Json<Vec<Role>>,
    proposer: Option<Json<Proposer>>,
    refused: Option<String>,
    applied_to_version: i64,
    produced_version: i64,
    changes: Value,
    #[sqlx(flatten)]
    decision: DecisionRow,
}

/// Of contracts::policy::PolicyActor.
#[derive(Deserialize)]
struct Proposer {
    kind: ActorKind,
    roles: Vec<Role>,
}

#[derive(FromRow)]
struct DecisionRow {
    decision_id: Uuid,
    ticket_id: Option<Uuid>,
    operation: String,
    at: DateTime<Utc>,
    result: String,
    reasons: Json<Vec<RecordedReason>>,
    obligations: Json<Vec<String>>,
    approval: Option<Value>,
    bundle_version: String,
    bundle_sha256: String,
    input: Option<String>,
}

#[derive(FromRow)]
struct ProposalRow {
    ticket_id: Uuid,
    id: Uuid,
    command_id: Uuid,
    kind: String,
    based_on_version: i64,
    input: Value,
    input_sha256: String,
    advice: Value,
    paired_outcome: Option<String>,
    paired_at: Option<DateTime<Utc>>,
    paired_seen: bool,
}

#[derive(FromRow)]
struct SlaRow {
    ticket_id: Uuid,
    command_id: Uuid,
    key: Json<SlaRecordKey>,
}

impl Snapshot {
    /// Begins to look.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(pool: &PgPool) -> Result<Self, Error> {
        let tx = pool
            .begin_with("begin isolation level repeatable read read only")
            .await?;
        Ok(Self(tx))
    }

    /// All tenants.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tenants(&mut self) -> Result<Vec<TenantId>, Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar("select tenant_id from tenants order by tenant_id")
            .fetch_all(&mut *self.0)
            .await?;
        Ok(ids.into_iter().map(TenantId::from_uuid).collect())
    }

    /// The chains in which something was attempted in the range: those of tickets first.
    pub(crate) async fn timelines(
        &mut self,
        tenant: TenantId,
        range: &Range,
    ) -> Result<Vec<Timeline>, Error> {
        let rows: Vec<(String, Option<Uuid>)> = sqlx::query_as(
            "select distinct stream, ticket_id from audit_events
             where tenant_id = $1 and at >= $2 and ($3::timestamptz is null or at < $3)
               and ($4::uuid is null or ticket_id = $4)",
        )
        .bind(tenant.as_uuid())
        .bind(range.since)
        .bind(range.until)
        .bind(range.ticket.map(|id| id.as_uuid()))
        .fetch_all(&mut *self.0)
        .await?;
        let mut found: Vec<_> = rows
            .into_iter()
            .map(|(stream, ticket)| Timeline {
                stream,
                ticket_id: ticket.map(TicketId::from_uuid),
            })
            .collect();
        // Not the database's order: that depends on its locale.
        found.sort_by(|a, b| {
            let key = |of: &Timeline| (of.ticket_id.is_none(), of.ticket_id);
            key(a).cmp(&key(b)).then_with(|| a.stream.cmp(&b.stream))
        });
        Ok(found)
    }

    /// Attempts of these chains, each chain in its order, from behind a position on.
    pub(crate) async fn attempts(
        &mut self,
        tenant: TenantId,
        streams: &[String],
        since: DateTime<Utc>,
        after: i64,
        limit: Option<i64>,
    ) -> Result<Vec<Attempt>, Error> {
        let rows: Vec<AttemptRow> = sqlx::query_as(
            "select a.stream, a.position, a.command_id, a.actor_id, a.actor_kind, a.actor_roles,
                    a.refused, a.applied_to_version, a.produced_version, a.changes,
                    d.id as decision_id, a.ticket_id, a.operation, a.at, d.result, d.reasons, d.obligations, d.approval,
                    d.bundle_version, d.bundle_sha256, case when a.at >= $3 then d.input end as input,
                    case when a.actor_kind = 'workflow'
                         then d.input::jsonb #> '{release,proposer}' end as proposer
             from audit_events a
             join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
             where a.tenant_id = $1 and a.stream = any($2) and a.position > $4
             order by a.stream, a.position limit $5",
        )
        .bind(tenant.as_uuid())
        .bind(streams)
        .bind(since)
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *self.0)
        .await?;
        rows.into_iter().map(AttemptRow::attempt).collect()
    }

    /// What stands beside these tickets' timelines.
    pub(crate) async fn beside(
        &mut self,
        tenant: TenantId,
        tickets: &[TicketId],
    ) -> Result<BTreeMap<TicketId, Beside>, Error> {
        let ids: Vec<_> = tickets.iter().map(|id| id.as_uuid()).collect();
        let proposals: Vec<ProposalRow> = sqlx::query_as(
            "select ticket_id, id, command_id, kind, based_on_version, input, input_sha256, advice,
                    paired_outcome, paired_at, paired_seen
             from proposals where tenant_id = $1 and ticket_id = any($2)",
        )
        .bind(tenant.as_uuid())
        .bind(&ids)
        .fetch_all(&mut *self.0)
        .await?;
        let records: Vec<SlaRow> = sqlx::query_as(
            "select ticket_id, command_id, jsonb_build_object(
                        'clock', clock, 'kind', kind, 'revision', revision) as key
             from sla_records where tenant_id = $1 and ticket_id = any($2)",
        )
        .bind(tenant.as_uuid())
        .bind(&ids)
        .fetch_all(&mut *self.0)
        .await?;
        let mut beside: BTreeMap<TicketId, Beside> = BTreeMap::new();
        for row in proposals {
            let (ticket, command) = (row.ticket_id, CommandId::from_uuid(row.command_id));
            let of = beside.entry(TicketId::from_uuid(ticket)).or_default();
            of.proposals.insert(command, row.proposal()?);
        }
        for row in records {
            let of = beside
                .entry(TicketId::from_uuid(row.ticket_id))
                .or_default();
            of.sla
                .insert(CommandId::from_uuid(row.command_id), row.key.0);
        }
        Ok(beside)
    }

    /// The next decisions of a tenant in the range, in the order of their ids: that of their making.
    pub(crate) async fn decisions(
        &mut self,
        tenant: TenantId,
        range: &Range,
        after: Option<DecisionId>,
        limit: i64,
    ) -> Result<Vec<Decision>, Error> {
        let rows: Vec<DecisionRow> = sqlx::query_as(
            "select id as decision_id, ticket_id, operation, at, result, reasons, obligations, approval,
                    bundle_version, bundle_sha256, input
             from policy_decisions
             where tenant_id = $1 and id > $2 and ($3::uuid is null or id <= $3)
               and at >= $4 and ($5::timestamptz is null or at < $5)
               and ($6::uuid is null or ticket_id = $6)
             order by id limit $7",
        )
        .bind(tenant.as_uuid())
        .bind(after.map_or_else(|| first_id(range.since - SLACK), |id| id.as_uuid()))
        .bind(range.until.map(|until| first_id(until + SLACK)))
        .bind(range.since)
        .bind(range.until)
        .bind(range.ticket.map(|id| id.as_uuid()))
        .bind(limit)
        .fetch_all(&mut *self.0)
        .await?;
        rows.into_iter().map(DecisionRow::decision).collect()
    }

    /// How many decisions there are in the range.
    pub(crate) async fn count(&mut self, range: &Range) -> Result<u64, Error> {
        let tenants: Vec<_> = range.tenants.iter().map(|id| id.as_uuid()).collect();
        let count: i64 = sqlx::query_scalar(
            "select count(*) from policy_decisions
             where tenant_id = any($1) and at >= $2 and ($3::timestamptz is null or at < $3)
               and ($4::uuid is null or ticket_id = $4)",
        )
        .bind(tenants)
        .bind(range.since)
        .bind(range.until)
        .bind(range.ticket.map(|id| id.as_uuid()))
        .fetch_one(&mut *self.0)
        .await?;
        Ok(count.unsigned_abs())
    }

    /// Stops looking.
    pub(crate) async fn end(self) -> Result<(), Error> {
        Ok(self.0.rollback().await?)
    }
}

impl AttemptRow {
    fn attempt(self) -> Result<Attempt, Error> {
        let decision = self.decision.decision()?;
        let actor_kind = self
            .actor_kind
            .parse()
            .map_err(|e| store::Error::corrupt("audit_events", "actor_kind", decision.id, e))?;
        let acting = match self.proposer {
            Some(Json(proposer)) => (proposer.kind, proposer.roles),
            None => (actor_kind, self.actor_roles.0),
        };
        Ok(Attempt {
            stream: self.stream,
            position: self.position.unsigned_abs(),
            ticket_id: decision.ticket_id,
            command_id: CommandId::from_uuid(self.command_id),
            actor_id: self.actor_id,
            acting,
            operation: decision.operation.clone(),
            at: decision.at,
            refused: self.refused,
            applied_to_version: self.applied_to_version.unsigned_abs(),
            produced_version: self.produced_version.unsigned_abs(),
            changes: self.changes,
            decision,
        })
    }
}

impl DecisionRow {
    fn decision(self) -> Result<Decision, Error> {
        let id = DecisionId::from_uuid(self.decision_id);
        let result = self
            .result
            .parse()
            .map_err(|e| store::Error::corrupt("policy_decisions", "result", id, e))?;
        Ok(Decision {
            id,
            ticket_id: self.ticket_id.map(TicketId::from_uuid),
            operation: self.operation,
            at: self.at,
            recorded: Recorded {
                result,
                reasons: self.reasons.0,
                obligations: self.obligations.0,
                approval: self.approval,
                bundle: BundleRef {
                    version: self.bundle_version,
                    sha256: self.bundle_sha256,
                },
            },
            input: self.input.unwrap_or_default(),
        })
    }
}

impl ProposalRow {
    fn proposal(self) -> Result<StoredProposal, Error> {
        let id = ProposalId::from_uuid(self.id);
        let corrupt = |column, reason: &dyn std::fmt::Display| {
            store::Error::corrupt("proposals", column, id, reason)
        };
        let outcome: Option<PairingOutcome> = self
            .paired_outcome
            .map(|word| word.parse().map_err(|e| corrupt("paired_outcome", &e)))
            .transpose()?;
        Ok(StoredProposal {
            id,
            kind: self.kind.parse().map_err(|e| corrupt("kind", &e))?,
            based_on_version: self.based_on_version.unsigned_abs(),
            input: self.input,
            input_sha256: self.input_sha256,
            advice: self.advice,
            paired: outcome.zip(self.paired_at),
            seen: self.paired_seen,
        })
    }
}

/// The first id that can be made at this moment (RFC 9562 §5.7: milliseconds in 48 bits).
fn first_id(at: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128((millis & 0xffff_ffff_ffff) << 80)
}
