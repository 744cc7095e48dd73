//! Takes the request's key and the ticket's row, and reads all facts.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use contracts::{
    ActorKind, ApiKeyId, ApiPermission, ApprovalId, AssetId, CommandId, ContactId, DecisionId,
    DelegationId, MessageId, Operation, ProposalId, Role, ServiceAccountId, SiteId, Slug,
    TechnicianId, TemplateId, TicketId, TicketState,
    approval::Approval,
    autonomy::{StageSetting, StageTarget},
    command::RecordProposal,
    kill_switch::KillSwitchRow,
    policy::{BundleRef, PolicyLoan},
    proposal::{Advice, ProposalKind},
    rollout::StageChange,
    schedule::{TenantSettings, TimeWindow},
    service_account::AccountState,
    sla::SlaRecordKey,
    tenant::{TenantState, is_turn},
    ticket::Ticket,
    value::KeyPrefix,
};
use domain::rollout::{LedgerFacts, TurnedSwitch};
use serde::{Deserialize, Serialize, Serializer};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{Error, TenantTx};

/// The rows besides the ticket that a command depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Asks {
    /// Must exist.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub site: Option<SiteId>,
    /// Must exist at that site.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub asset: Option<AssetId>,
    /// Must exist.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub contact: Option<ContactId>,
    /// Must exist and be active.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub technician: Option<TechnicianId>,
    /// Is to be decided.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub approval: Option<ApprovalId>,
    /// Is to be merged into: locked with the ticket of the path.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub merge_into: Option<TicketId>,
    /// The channel family on which the contact must have an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,
    /// Must be held.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub held_message: Option<MessageId>,
    /// What a filing is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filing: Option<FilingAsks>,
    /// The caller is software: the kill switch may stop it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kill_switch: bool,
    /// What others lent to the actor, as of this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lent: Option<DateTime<Utc>>,
    /// What software did in this hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<HourAsks>,
    /// What the control plane has on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlAsks>,
    /// The ticket's evidence.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub evidence: bool,
    /// An invoice may be issued.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invoice: bool,
    /// An invoice may be taken back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub credit_note: bool,
}

impl Asks {
    /// Whether it waits for all that software is doing: a kill switch is turned, or a stage.
    pub fn waits_for_software(&self) -> bool {
        let filing = self.filing.as_ref();
        filing.is_some_and(|filing| filing.thing == Thing::KillSwitch)
            || self.control.as_ref().is_some_and(|control| control.stages)
    }

    /// Takes none of the locks for which it would wait for software, and so does not learn what stands
    /// under them.
    pub fn wait_for_nobody(&mut self) {
        self.filing
            .take_if(|filing| filing.thing == Thing::KillSwitch);
        if let Some(control) = &mut self.control {
            control.stages = false;
        }
    }
}

/// Which hour's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HourAsks {
    /// A moment in it.
    pub at: DateTime<Utc>,
    /// Of which kind of command.
    pub operation: Operation,
}

/// What a filing of the control plane names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ControlAsks {
    /// A report, by its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// A bundle, by its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// A delegation.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub delegation: Option<DelegationId>,
    /// A change of a stage, by the attempt that decided it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub change: Option<CommandId>,
    /// The next change to come of this very stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coming_to: Option<StageTarget>,
    /// A stage is changed: nothing that software does meanwhile may still rest on the old one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stages: bool,
}

/// How a contact can be reached on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// By telephone number.
    Phone,
    /// By e-mail address.
    Email,
    /// Not at all: no address of this kind is on record.
    Nowhere,
}

/// What a filing is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilingAsks {
    /// Which sort of thing.
    pub thing: Thing,
    /// The thing with this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Slug>,
    /// The technician whose absences matter.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub absences_of: Option<TechnicianId>,
    /// The site where it is: must exist, active or not.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "row_id")]
    pub at_site: Option<SiteId>,
    /// The kill switch's [`KillScope::key`](contracts::kill_switch::KillScope::key).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountAsks>,
}

/// What is asked about a service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountAsks {
    /// Which.
    #[serde(flatten)]
    pub which: WhichAccount,
    /// Whether a key of the tenant shows this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<KeyPrefix>,
}

/// Which service account: the one with this code, or this id, or this key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhichAccount {
    /// By its name.
    Code(Slug),
    /// By its id.
    Id(#[serde(serialize_with = "as_row_id")] ServiceAccountId),
    /// By one of its keys, which is shown too.
    Key(#[serde(serialize_with = "as_row_id")] ApiKeyId),
}

/// What can be filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Thing {
    Site,
    Asset,
    Contact,
    Technician,
    Absence,
    KillSwitch,
    ServiceAccount,
    /// Of the control plane: what matters of it is asked for apart.
    Control,
}

/// Ids as rows hold them.
fn row_id<T: AsUuid, S: Serializer>(id: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    id.as_ref().map(T::uuid).serialize(serializer)
}

fn as_row_id<T: AsUuid, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
    id.uuid().serialize(serializer)
}

trait AsUuid {
    fn uuid(&self) -> Uuid;
}

macro_rules! as_uuid {
    ($($id:ty),+) => {$(
        impl AsUuid for $id {
            fn uuid(&self) -> Uuid {
                self.as_uuid()
            }
        }
    )+};
}

as_uuid!(
    ApiKeyId,
    ServiceAccountId,
    SiteId,
    AssetId,
    ContactId,
    TechnicianId,
    ApprovalId,
    CommandId,
    DelegationId,
    MessageId,
    TicketId
);

/// What is to be opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenRequest<'a> {
    /// Whose key it is.
    pub actor_id: &'a str,
    /// Scope of the key.
    pub operation: Operation,
    /// The key.
    pub request_id: &'a str,
    /// SHA-256 of what is asked for.
    pub intent_sha256: [u8; 32],
    /// The ticket of the path; `None` for a creation.
    pub ticket_id: Option<TicketId>,
    /// The rows it depends on.
    pub asks: &'a Asks,
    /// A turn of the tenant keeps all its other commands out; without this it only looks.
    pub alone: bool,
    /// Take no key and no lock.
    pub dry_run: bool,
}

/// What was found.
#[derive(Debug)]
pub enum Opened {
    /// The same request was answered before. Nothing is locked but the key.
    Replay(Stored),
    /// Everything that a decision needs.
    Ready {
        /// The same key was used for another request.
        mismatch: Option<Stored>,
        /// The ticket, locked; `None` for a creation, an unknown id and another tenant's.
        ticket: Option<Box<LockedTicket>>,
        /// Everything else.
        facts: Box<OpenFacts>,
    },
}

/// An answer that was given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What was asked for then.
    pub intent_sha256: Vec<u8>,
    /// HTTP status.
    pub status: u16,
    /// The body, byte for byte.
    pub body: String,
    /// The attempt.
    pub command_id: CommandId,
    /// Its decision.
    pub decision_id: DecisionId,
}

/// The ticket as it stands while its row is locked.
#[derive(Debug, Clone, PartialEq)]
pub struct LockedTicket {
    /// The ticket.
    pub ticket: Ticket,
    /// `seq` of its last event to the workflow.
    pub event_seq: u64,
}

/// What the rows said.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OpenFacts {
    /// The tenant's settings; `None` when there is no such tenant.
    pub settings: Option<TenantSettings>,
    /// The tenant as it stands until the transaction ends; `None` when there is no such tenant.
    #[serde(skip)]
    pub tenant: Option<TenantRow>,
    /// SHA-256 of the active bundle; `None` when there is none.
    pub bundle: Option<String>,
    /// Whether the site exists; `true` when none is asked for. So for the next three.
    pub site_known: bool,
    /// The asset.
    pub asset_known: bool,
    /// The contact.
    pub contact_known: bool,
    /// The technician.
    pub technician_known: bool,
    /// The approval, if it exists and is about this ticket.
    pub approval: Option<Approval>,
    /// Approvals that hold the very command that is to be held; read apart.
    #[serde(skip)]
    pub asked_before: Vec<Approval>,
    /// State of the ticket to merge into.
    pub merge_target: Option<TicketState>,
    /// Whether the contact has an address on the channel; `true` when none is asked for.
    pub contact_reachable: bool,
    /// Whether the message is held; `true` when none is named.
    pub message_held: bool,
    /// The kill switches that were ever turned.
    #[serde(default)]
    pub switches: Vec<KillSwitchRow>,
    /// The stages that are set.
    #[serde(default)]
    pub stages: Vec<StageSetting>,
    /// What others lent to the actor.
    #[serde(default, deserialize_with = "null_is_default")]
    pub lent: Vec<PolicyLoan>,
    /// What software did in this hour.
    pub hour: Option<HourRow>,
    /// What the control plane has on record.
    #[serde(default, deserialize_with = "null_is_default")]
    pub control: ControlRow,
    /// The ticket's evidence, when asked for.
    #[serde(default, deserialize_with = "null_is_default")]
    pub evidence: Vec<KnownEvidence>,
    /// What a filing is about.
    pub filing: Option<FilingRow>,
    /// The numbers that may be used.
    #[serde(default, deserialize_with = "null_is_default")]
    pub numbers: Offered,
    open_proposals: Vec<OpenProposalRow>,
    /// SLA warnings and breaches on record.
    pub sla_recorded: Vec<SlaRecordKey>,
}

impl OpenFacts {
    /// The ticket's proposals that were not paired yet.
    pub fn open_proposals(&mut self) -> Vec<domain::OpenProposal> {
        std::mem::take(&mut self.open_proposals)
            .into_iter()
            .map(|row| domain::OpenProposal {
                id: row.id,
                kind: row.kind,
                based_on_version: row.based_on_version,
                advice: row.advice,
                seen: row.seen,
                by: row.by,
            })
            .collect()
    }

    /// Finds out who recorded the open proposals whose place another one may take. Most often there
    /// are none, and nothing is asked.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tell_apart(
        &mut self,
        tx: &mut TenantTx,
        other: &RecordProposal,
    ) -> Result<(), Error> {
        let kind = other.input.kind();
        let mut rivals: Vec<_> = self
            .open_proposals
            .iter_mut()
            .filter(|open| open.kind == kind && open.advice.advisor == other.advice.advisor)
            .collect();
        if rivals.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = rivals.iter().map(|open| open.id.as_uuid()).collect();
        let recorded: Vec<(Uuid, String)> = sqlx::query_as(
            "select p.id, e.actor_id from proposals p
             join audit_events e on e.tenant_id = p.tenant_id and e.command_id = p.command_id
             where p.tenant_id = $1 and p.id = any($2)",
        )
        .bind(tx.tenant_id().as_uuid())
        .bind(ids)
        .fetch_all(tx.connection())
        .await?;
        for (id, by) in recorded {
            let rival = rivals.iter_mut().find(|open| open.id.as_uuid() == id);
            if let Some(rival) = rival {
                rival.by = Some(by);
            }
        }
        Ok(())
    }
}

/// A tenant as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TenantRow {
    /// Its name.
    pub slug: Slug,
    /// Where it stands.
    pub state: TenantState,
    /// Rises with each command about it.
    pub version: u64,
    /// From when on it may be erased.
    pub erase_after: Option<DateTime<Utc>>,
    /// The incident templates that new jobs may have; `None` for all of the bundle.
    pub templates: Option<Vec<TemplateId>>,
}

/// A documented fact on record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KnownEvidence {
    /// `photo_before`, `signature` …
    pub kind: Slug,
    /// Whether its file was there and had the hash.
    pub verified: bool,
}

/// What a filing depends on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct FilingRow {
    known: Option<KnownRow>,
    /// The technician's absences.
    pub absences: Vec<TimeWindow>,
    /// Whether the site exists; `true` when none is asked for.
    pub site_known: bool,
    /// Whether anything that the kill switch stops was ever seen; `None` where there always is.
    #[serde(default)]
    pub scope_seen: Option<bool>,
    #[serde(default)]
    account: Option<AccountRow>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct AccountRow {
    id: Uuid,
    code: Slug,
    kind: ActorKind,
    roles: BTreeSet<Role>,
    any_tenant: bool,
    state: AccountState,
    version: u64,
    #[serde(default)]
    prefix_taken: bool,
    good_keys: u64,
    key: Option<KeyRow>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct KeyRow {
    id: Uuid,
    scopes: BTreeSet<ApiPermission>,
    expires_at: DateTime<Utc>,
    revoked: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct KnownRow {
    id: Uuid,
    version: u64,
    site: Option<Uuid>,
}

impl FilingRow {
    /// The service account, when it is there, with the key that is named.
    pub fn account(&self) -> Option<domain::AccountFacts> {
        let row = self.account.as_ref()?;
        Some(domain::AccountFacts {
            id: ServiceAccountId::from_uuid(row.id),
            code: row.code.clone(),
            kind: row.kind,
            roles: row.roles.clone(),
            any_tenant: row.any_tenant,
            state: row.state,
            version: row.version,
            prefix_taken: row.prefix_taken,
            good_keys: row.good_keys,
            key: row.key.as_ref().map(|key| domain::KeyFacts {
                id: ApiKeyId::from_uuid(key.id),
                scopes: key.scopes.clone(),
                expires_at: key.expires_at,
                revoked: key.revoked,
            }),
        })
    }

    /// The thing, when it is there.
    pub fn known(&self) -> Option<domain::KnownThing> {
        self.known.as_ref().map(|row| domain::KnownThing {
            id: row.id,
            version: row.version,
            site: row.site,
        })
    }
}

/// Counters of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct HourRow {
    /// Commands of this kind.
    pub of_operation: u32,
    /// Commands of any kind.
    pub in_all: u32,
    /// What they spent, in cents.
    pub spent_cents: i64,
}

/// What the control plane has on record about what a filing names.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ControlRow {
    /// The report.
    pub report: Option<ReportRow>,
    /// The bundle.
    pub bundle: Option<BundleRef>,
    /// The delegation.
    pub delegation: Option<DelegationRow>,
    /// The change of a stage: the one that is named, or the next to come.
    pub change: Option<StageChange>,
    /// The rows of a gate report; read apart.
    #[serde(skip)]
    pub ledger: Option<LedgerFacts>,
    /// The kill switches that were ever turned, for a change of a stage that is to come now; read apart.
    #[serde(skip)]
    pub turned: Vec<TurnedSwitch>,
}

/// A kept report.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ReportRow {
    /// `gate`, `drill` or `policy_diff`.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// Its figures.
    pub figures: BTreeMap<String, i64>,
    /// When it was made.
    pub made_at: DateTime<Utc>,
}

/// A delegation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DelegationRow {
    /// Who made it.
    pub from: String,
    /// Whether it was taken back.
    pub revoked: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct OpenProposalRow {
    id: ProposalId,
    kind: ProposalKind,
    based_on_version: u64,
    advice: Advice,
    seen: bool,
    /// Who recorded it; asked for apart.
    #[serde(skip)]
    by: Option<String>,
}

/// The next numbers of the gapless series, locked until the transaction ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Offered {
    /// Of invoices.
    #[serde(default)]
    pub invoice: Option<u64>,
    /// Of credit notes.
    #[serde(default)]
    pub credit_note: Option<u64>,
}

impl Offered {
    /// `INV-000042`
    pub fn invoice_number(&self) -> Option<String> {
        self.invoice.map(|n| format!("INV-{n:06}"))
    }

    /// `CRN-000007`
    pub fn credit_note_number(&self) -> Option<String> {
        self.credit_note.map(|n| format!("CRN-{n:06}"))
    }
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(sqlx::FromRow)]
struct Row {
    stored_sha256: Option<Vec<u8>>,
    stored_status: Option<i16>,
    stored_body: Option<String>,
    stored_command: Option<Uuid>,
    stored_decision: Option<Uuid>,
    ticket: Option<Json<Ticket>>,
    event_seq: Option<i64>,
    facts: Option<Json<OpenFacts>>,
    tenant: Option<Json<TenantRow>>,
}

/// Stands between two turns of the tenant, then opens. That the call depends on what the gate found
/// is what makes it come after.
const OPEN: &str = "
    with gate as materialized (select tenant_gate($1, $9, $8) as tenant)
    select o.*, gate.tenant
      from gate,
           lateral command_open($1, $2, $3, $4, $5, $6, $7,
                                $8 or coalesce(gate.tenant ? '', false)) o";

/// Takes the key and the ticket's row, waiting for whoever holds them, and reads the facts.
///
/// # Errors
/// [`Error::LockTimeout`] when one of them was not free in time.
pub async fn open(tx: &mut TenantTx, request: OpenRequest<'_>) -> Result<Opened, Error> {
    let tenant = tx.tenant_id().as_uuid();
    let row: Row = sqlx::query_as(OPEN)
        .bind(tenant)
        .bind(request.actor_id)
        .bind(request.operation.to_string())
        .bind(request.request_id)
        .bind(request.ticket_id.map(|id| id.as_uuid()))
        .bind(request.intent_sha256.as_slice())
        .bind(Json(request.asks))
        .bind(request.dry_run)
        .bind(request.alone && is_turn(request.operation))
        .fetch_one(tx.connection())
        .await?;
    let stored = row.stored().transpose()?;
    let tenant = row.tenant.map(|Json(tenant)| tenant);
    let Some(Json(facts)) = row.facts else {
        return stored.map(Opened::Replay).ok_or_else(|| {
            Error::corrupt("command_open", "facts", request.request_id, "is missing")
        });
    };
    Ok(Opened::Ready {
        mismatch: stored,
        ticket: row.ticket.map(|Json(ticket)| {
            Box::new(LockedTicket {
                ticket,
                event_seq: row.event_seq.unwrap_or_default().unsigned_abs(),
            })
        }),
        facts: Box::new(OpenFacts { tenant, ..facts }),
    })
}

/// How many commands of this kind software has carried out that take effect in this clock hour.
///
/// # Errors
/// When the database cannot be read.
pub async fn counted_in(
    tx: &mut TenantTx,
    hour: DateTime<Utc>,
    operation: Operation,
) -> Result<u32, Error> {
    let counted: Option<i32> = sqlx::query_scalar(
        "select commands from autonomy_hours
          where tenant_id = $1 and hour = $2 and operation = $3",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(hour)
    .bind(operation.to_string())
    .fetch_optional(tx.connection())
    .await?;
    Ok(counted.unwrap_or(0).unsigned_abs())
}

/// The kill switches as [`open`] reads them, for an answer that was stored before.
///
/// # Errors
/// When the database cannot be read.
pub async fn switches(tx: &mut TenantTx) -> Result<Vec<KillSwitchRow>, Error> {
    let rows: Vec<Json<KillSwitchRow>> = sqlx::query_scalar(
        "select jsonb_build_object('scope', k.scope, 'engaged', k.engaged,
                    'generation', k.generation, 'reason', k.reason, 'expires_at', k.expires_at)
           from (select k.scope, k.engaged, k.generation, k.reason, k.expires_at
                   from kill_switches k where k.tenant_id = $1
                  union all
                 select 'everything', e.engaged, e.generation, e.reason, e.expires_at
                   from kill_switch_of_everything e) k
          order by k.scope",
    )
    .bind(tx.tenant_id().as_uuid())
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|Json(row)| row).collect())
}

impl Row {
    fn stored(&self) -> Option<Result<Stored, Error>> {
        let intent_sha256 = self.stored_sha256.clone()?;
        let complete = || {
            Some(Stored {
                intent_sha256,
                status: u16::try_from(self.stored_status?).ok()?,
                body: self.stored_body.clone()?,
                command_id: CommandId::from_uuid(self.stored_command?),
                decision_id: DecisionId::from_uuid(self.stored_decision?),
            })
        };
        Some(complete().ok_or_else(|| {
            Error::corrupt(
                "idempotency_keys",
                "status",
                "a stored answer",
                "is incomplete",
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_asked_for_is_sent() {
        let asks = Asks {
            technician: Some(TechnicianId::from_uuid(Uuid::nil())),
            invoice: true,
            ..Asks::default()
        };
        assert_eq!(
            serde_json::to_value(asks).unwrap(),
            json!({ "technician": Uuid::nil(), "invoice": true })
        );
    }

    #[test]
    fn numbers_are_padded() {
        let offered: Offered = serde_json::from_value(json!({ "invoice": 42 })).unwrap();
        assert_eq!(offered.invoice_number().as_deref(), Some("INV-000042"));
        assert_eq!(offered.credit_note_number(), None);
    }
}
