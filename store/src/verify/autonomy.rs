//! What software did by itself: nothing under an engaged kill switch, and no more than its stage let
//! it.
//!
//! How far it might go is rebuilt, not believed: [`Stages`] are the turns of the stages in the audit
//! log, and for each accepted act the stage that stood at its place in the order is compared with the
//! one that its decision names: what was set for the ticket's class or for all, whether the ticket was
//! taken out by then (its own timeline says so), and whether it is in the share. Two things the
//! database does not hold and the decision is believed: the ceiling of the environment, and which risk
//! class the rules of its bundle put the ticket in.
//!
//! The policy decides so from what it is told, and what it is told is read under locks. This looks
//! at the outcome instead. Which switch was engaged from when to when is rebuilt from the audit log,
//! and every accepted act of software is held against it, in the order of `audit_events.written`: a
//! number from one sequence, taken while the locks of the kill switch are held. A turn holds them
//! alone, so a number above that of an engagement was taken after its commit, whatever any clock says.
//! (By their `at` an act that was asked for before an engagement and waited for its ticket would look
//! allowed, and one that was let pass before it, forbidden.) Rows of before that sequence have none
//! and come first, by the database's clock.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contracts::{
    ActorKind, Operation, Slug, TenantId, TicketId,
    autonomy::{StageTarget, THROUGH_KILL_SWITCH},
    command::CommandClass,
    event::AutonomyMode,
    filing::Filed,
    kill_switch::KillScope,
    policy::PolicyStage,
    ticket::Ticket,
};
use serde::Deserialize;
use sqlx::{FromRow, PgConnection, types::Json};
use strum::VariantArray;
use uuid::Uuid;

use super::{Findings, Invariant, MOST_PER_CHECK};
use crate::{Error, audit::AuditRow};

/// Turns of kill switches, in the order in which they were written; an approval may have carried one
/// out.
const TURNS: &str = "
    select a.tenant_id, a.command_id, coalesce(a.written, 0) as written, a.recorded_at,
           case when a.changes #>> '{0,type}' = 'approval.changed'
                then a.changes #> '{0,data,executed}' else a.changes -> 0 end as filed
      from audit_events a
     where a.refused is null
       and (a.operation in ('engage_kill_switch', 'release_kill_switch')
              and a.changes #>> '{0,type}' <> 'approval.requested'
            or a.changes #>> '{0,data,executed,type}' like 'kill_switch.%')
     order by coalesce(a.written, 0), a.recorded_at";

/// What was released, turned out to be stale and was not done; whoever asked is told so.
macro_rules! undone {
    () => {
        "(coalesce(a.changes #>> '{0,event,type}', '') = 'approval.stale'
          and not exists (select from jsonb_path_query(a.changes, '$[1 to last].event.type') t
                           where t not in ('\"approval.stale\"', '\"message.queued\"')))"
    };
}

/// Acts of software while a switch that fits stood engaged. `$1`: what the workflow may go on with;
/// `$2`: the tenant, null for all; `$3`, `$4`: after this place in the order; `$5`, `$6`: before that
/// one; `$7`: the switch; `$8`: when it released itself.
///
/// What an approval carries out is its proposer's: a person's goes on, and so does what a person does
/// with a reason although the switch is engaged. That an approval turned out to be stale is no act.
const ACTS: &str = concat!(
    "
    select 'audit_events ' || a.command_id
      from audit_events a
      join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
     cross join lateral (select d.input::jsonb as asked) i
     where a.refused is null and ($2::uuid is null or a.tenant_id = $2)
       and ($3 = 0 or a.written > $3)
       and (coalesce(a.written, 0), a.recorded_at) > ($3, $4)
       and ($5::bigint is null or (coalesce(a.written, 0), a.recorded_at) < ($5, $6))
       and ($8::timestamptz is null or a.at < $8)
       and (asked #>> '{actor,kind}' in ('agent', 'workflow')
            or a.actor_kind in ('agent', 'workflow') and asked -> 'release' is null)
       and not (asked #>> '{actor,kind}' = 'workflow' and a.operation = any($1))
       and not (a.actor_kind = 'person' and asked ->> 'kill_switch_override' is not null)
       and ($7 in ('everything', 'tenant', 'operation:' || a.operation,
                   'agent:' || (asked #>> '{actor,id}'), 'ticket:' || wire_id('tkt', a.ticket_id))
            or a.operation = 'comms_outbound' and $7 = 'channel:' || (asked #>> '{body,channel}'))
       and not ",
    undone!(),
    "
     limit 101"
);

/// Messages of software that left meanwhile; their tries are begun under the same locks. `$1`: the tenant,
/// null for all; `$2`, `$3`: from when to when; `$4`: the switch; `$5`: when it released itself; `$6`,
/// `$7`: between which places in the order.
///
/// One that a person had sent although this switch stood engaged leaves as long as this turn of it
/// stands: the command that queued it is between the two places, and its decision names the switch.
const SENDS: &str = "
    select 'comms_attempts ' || t.message_id || '/' || t.attempt
      from comms_attempts t
      join comms_messages m on m.tenant_id = t.tenant_id and m.id = t.message_id
     where m.by_software is not null and ($1::uuid is null or t.tenant_id = $1)
       and t.at > $2 and ($3::timestamptz is null or t.at < $3)
       and ($5::timestamptz is null or t.at < $5)
       and $4 in ('everything', 'tenant', 'operation:comms_outbound', 'channel:' || m.channel,
                  'agent:' || m.by_software, 'ticket:' || wire_id('tkt', m.ticket_id))
       and not exists (
           select from audit_events a
             join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
            cross join lateral (select d.input::jsonb as asked) i
            where a.tenant_id = m.tenant_id and a.command_id = m.command_id and a.refused is null
              and a.actor_kind = 'person' and asked ->> 'kill_switch_override' is not null
              and asked -> 'kill_switches' ? $4
              and (coalesce(a.written, 0), a.recorded_at) > ($6, $2)
              and ($7::bigint is null or (coalesce(a.written, 0), a.recorded_at) < ($7, $3)))
     limit 101";

/// Tries of what software let pass by itself, with the class under whose stage it did, and whether the
/// ticket was taken out by then. They are begun under the locks that a turn of a stage, and the taking
/// out, take alone: the database's clock tells what came first.
const STAGED_SENDS: &str = "
    select t.tenant_id, t.message_id, t.attempt, t.at, m.ticket_id, m.stage_risk as risk,
           coalesce((select (a.changes #>> '{0,event,data,opt_out}')::boolean
                       from audit_events a
                      where a.tenant_id = t.tenant_id and a.stream = wire_id('tkt', m.ticket_id)
                        and a.refused is null and a.changes #>> '{0,event,type}' = 'autonomy.set'
                        and a.recorded_at < t.at
                      order by a.position desc limit 1), false) as opted_out
      from comms_attempts t
      join comms_messages m on m.tenant_id = t.tenant_id and m.id = t.message_id
     where m.stage_risk is not null";

/// Accepted acts of software with the stage that was found for them. `$1`: the operations that change
/// a ticket.
const STAGED: &str = concat!(
    "
    select a.command_id, a.ticket_id, asked ->> 'autonomy' as mode,
           asked #>> '{stage,configured}' as configured,
           coalesce((asked #>> '{stage,percent}')::integer, 0) as percent,
           asked #>> '{stage,ceiling}' as ceiling,
           coalesce((asked #>> '{stage,opted_out}')::boolean, false) as opted_out,
           asked -> 'release' is not null and asked -> 'release' <> 'null' as released,
           a.changes #>> '{0,event,type}' = 'approval.requested' as held
      from audit_events a
      join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
     cross join lateral (select d.input::jsonb as asked) i
     where a.refused is null and asked #>> '{actor,kind}' in ('agent', 'workflow')
       and (a.operation = any($1) or a.operation = 'comms_outbound' and asked ? 'stage')
       and not ",
    undone!()
);

#[derive(Debug, FromRow)]
struct TurnRow {
    tenant_id: Uuid,
    command_id: Uuid,
    written: i64,
    recorded_at: DateTime<Utc>,
    filed: Json<serde_json::Value>,
}

/// A place in the order of what was written.
pub(super) type Place = (i64, DateTime<Utc>);

/// Stages that were set, in their order; those to come only once they came. An approval may have
/// carried one out.
const SET: &str = "
    select a.tenant_id, a.command_id, coalesce(a.written, 0) as written, a.recorded_at, f.filed
      from audit_events a
     cross join lateral (
          select case when a.changes #>> '{0,type}' = 'approval.changed'
                      then a.changes #> '{0,data,executed}' else a.changes -> 0 end as filed) f
     where a.ticket_id is null and a.refused is null and f.filed ->> 'type' = 'stage.set'
       and f.filed #>> '{data,effective_at}' is null
     order by coalesce(a.written, 0), a.recorded_at";

/// How a stage stood from a place on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stood {
    from: Place,
    mode: AutonomyMode,
    percent: Option<u8>,
}

/// How each stage stood, and when.
///
/// A turn of a stage holds the lock that every command of software shares, alone, so the numbers of
/// the order are those of the commits between the two.
#[derive(Debug, Default)]
pub(super) struct Stages(BTreeMap<(TenantId, StageTarget), Vec<Stood>>);

/// A try of what software let pass by itself.
#[derive(Debug, FromRow)]
struct SendRow {
    tenant_id: Uuid,
    message_id: Uuid,
    attempt: i32,
    at: DateTime<Utc>,
    ticket_id: Option<Uuid>,
    risk: String,
    opted_out: bool,
}

/// What policy was told about software's stage.
#[derive(Debug, Deserialize)]
struct Told {
    actor: ToldActor,
    autonomy: AutonomyMode,
    #[serde(default)]
    stage: Option<PolicyStage>,
}

#[derive(Debug, Deserialize)]
struct ToldActor {
    kind: ActorKind,
}

impl Stages {
    /// Reads all turns of stages.
    pub(super) async fn read(tx: &mut PgConnection, found: &mut Findings) -> Result<Self, Error> {
        let rows: Vec<TurnRow> = sqlx::query_as(SET).fetch_all(tx).await?;
        let mut stages = Self::default();
        for row in rows {
            let place = (row.written, row.recorded_at);
            match serde_json::from_value(row.filed.0) {
                Ok(filed) => stages.turn(TenantId::from_uuid(row.tenant_id), place, filed),
                Err(error) => found.add(
                    Invariant::I5,
                    format!("audit_events {}", row.command_id),
                    format!("a turn of a stage cannot be read: {error}"),
                ),
            }
        }
        Ok(stages)
    }

    fn turn(&mut self, tenant: TenantId, from: Place, filed: Filed) {
        if let Filed::StageSet {
            target,
            to: mode,
            percent,
            ..
        } = filed
        {
            let stood = Stood {
                from,
                mode,
                percent,
            };
            self.0.entry((tenant, target)).or_default().push(stood);
        }
    }

    /// What was set last before a place: for the class, else for all.
    fn at(
        &self,
        tenant: TenantId,
        operation: Operation,
        risk: &Slug,
        place: Place,
    ) -> Option<&Stood> {
        let of = |risk: Option<&Slug>| {
            let target = StageTarget {
                operation,
                risk: risk.cloned(),
            };
            let turns = self.0.get(&(tenant, target))?;
            turns.iter().rfind(|stood| stood.from < place)
        };
        of(Some(risk)).or_else(|| of(None))
    }

    /// Whether the stage for messages let software say something by itself at a moment.
    fn let_speak(&self, send: &SendRow) -> bool {
        let (Some(ticket), Ok(risk)) = (send.ticket_id, Slug::new(&send.risk)) else {
            return false;
        };
        let turns = |risk: Option<Slug>| {
            let operation = Operation::CommsOutbound;
            let tenant = TenantId::from_uuid(send.tenant_id);
            let turns = self.0.get(&(tenant, StageTarget { operation, risk }))?;
            turns.iter().rfind(|stood| stood.from.1 < send.at)
        };
        let stood = turns(Some(risk)).or_else(|| turns(None));
        let ticket = TicketId::from_uuid(ticket);
        let is_let = stood.is_some_and(|stood| match stood.mode {
            AutonomyMode::Auto => true,
            AutonomyMode::Canary => {
                domain::autonomy::is_in_canary(ticket, stood.percent.unwrap_or(0))
            }
            AutonomyMode::Off | AutonomyMode::Shadow | AutonomyMode::Approve => false,
        });
        is_let && !send.opted_out
    }

    /// Holds an accepted act on a ticket against the stage that stood then; `before` is the ticket as
    /// its timeline tells it up to there.
    pub(super) fn compare(
        &self,
        row: &AuditRow,
        written: Place,
        before: Option<&Ticket>,
        input: &str,
        at: &str,
        found: &mut Findings,
    ) {
        let Ok(operation) = row.operation.parse::<Operation>() else {
            return; // Another check says so.
        };
        let is_staged =
            operation.class() == CommandClass::Change || operation == Operation::CommsOutbound;
        let is_void = row.changes[0]["event"]["type"] == "approval.stale";
        if !is_staged || is_void {
            return;
        }
        let told = match serde_json::from_str::<Told>(input) {
            Ok(told) if told.actor.kind.is_autonomous() => told,
            Ok(_) => return,
            Err(error) => {
                let what = format!("what policy was told of a stage cannot be read: {error}");
                return found.add(Invariant::I5, at, what);
            }
        };
        let fits = told.stage.as_ref().is_some_and(|stage| {
            let stood = self.at(row.tenant_id, operation, &stage.risk, written);
            stood_so(stood, before, told.autonomy, stage)
        });
        if !fits {
            let what = "software acted at another stage than the one that stood then";
            found.add(Invariant::I5, at, what);
        }
    }
}

/// Whether a decision names the stage as it stood. Where none was ever set the rules' default holds,
/// which lets nothing be done without people: the modes beyond are reached by a promotion only.
fn stood_so(
    stood: Option<&Stood>,
    before: Option<&Ticket>,
    mode: AutonomyMode,
    told: &PolicyStage,
) -> bool {
    let set = match stood {
        Some(stood) => (stood.mode, stood.percent.unwrap_or(0)),
        None => (told.configured.min(AutonomyMode::Approve), 0),
    };
    let (configured, percent) = set;
    let in_canary = before.is_some_and(|ticket| domain::autonomy::is_in_canary(ticket.id, percent));
    let opted_out = before.is_some_and(|ticket| ticket.autonomy_opt_out);
    let resolved = match configured.min(told.ceiling) {
        AutonomyMode::Canary if in_canary => AutonomyMode::Auto,
        AutonomyMode::Canary => AutonomyMode::Approve,
        mode => mode,
    };
    let held_to = match opted_out {
        true => resolved.min(AutonomyMode::Shadow),
        false => resolved,
    };
    (mode, told.configured, told.percent) == (held_to, configured, percent)
        && (told.in_canary, told.opted_out) == (in_canary, opted_out)
}

/// A switch that stood engaged.
#[derive(Debug, Clone, PartialEq)]
struct Engaged {
    /// Null: all tenants.
    tenant: Option<Uuid>,
    scope: String,
    from: Place,
    until: Option<Place>,
    expires_at: Option<DateTime<Utc>>,
}

/// Takes turns in their order apart into the times at which a switch stood engaged.
fn engaged(turns: impl IntoIterator<Item = (Uuid, Place, Filed)>) -> Vec<Engaged> {
    let mut all: Vec<Engaged> = Vec::new();
    for (tenant, place, filed) in turns {
        let (scope, engages) = match filed {
            Filed::KillSwitchEngaged {
                scope, expires_at, ..
            } => (scope, Some(expires_at)),
            Filed::KillSwitchReleased { scope, .. } => (scope, None),
            _ => continue,
        };
        let tenant = (scope != KillScope::Everything).then_some(tenant);
        let key = scope.key();
        let open = all
            .iter_mut()
            .find(|it| it.until.is_none() && it.tenant == tenant && it.scope == key);
        if let Some(open) = open {
            open.until = Some(place);
        }
        if let Some(expires_at) = engages {
            all.push(Engaged {
                tenant,
                scope: key,
                from: place,
                until: None,
                expires_at,
            });
        }
    }
    all
}

#[derive(Debug, FromRow)]
struct StagedRow {
    command_id: Uuid,
    ticket_id: Option<Uuid>,
    mode: Option<String>,
    configured: Option<String>,
    percent: i32,
    ceiling: Option<String>,
    opted_out: bool,
    released: bool,
    held: Option<bool>,
}

impl StagedRow {
    /// What is wrong with it.
    fn fault(&self) -> Option<&'static str> {
        let mode = self.mode.as_deref().unwrap_or("OFF");
        let held = self.held.unwrap_or(false);
        let ticket = self.ticket_id.map(TicketId::from_uuid);
        let percent = u8::try_from(self.percent).unwrap_or(0);
        let in_share = ticket.is_some_and(|ticket| domain::autonomy::is_in_canary(ticket, percent));
        let ceiling = self.ceiling.as_deref().map(rank);
        match mode {
            "OFF" => Some("software acted by itself where it is switched off"),
            "SHADOW" => Some("software changed a ticket by itself in shadow mode"),
            "APPROVE" if !self.released && !held => {
                Some("software acted without a release where people have to approve")
            }
            "AUTO" if self.configured.as_deref() == Some("CANARY") && !in_share => {
                Some("software acted by itself on a ticket outside the share")
            }
            _ if self.opted_out => Some("software acted on a ticket that is not for it"),
            _ if ceiling.is_some_and(|most| rank(mode) > most) => {
                Some("software did more than the environment allows")
            }
            _ => None,
        }
    }
}

fn rank(mode: &str) -> usize {
    // CANARY lets single tickets be done as AUTO.
    let modes = ["OFF", "SHADOW", "APPROVE", "AUTO"];
    let mode = if mode == "CANARY" { "AUTO" } else { mode };
    modes.iter().position(|it| *it == mode).unwrap_or(0)
}

pub(super) async fn check(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    stopped(tx, found).await?;
    staged(tx, found).await?;
    said(tx, found).await
}

/// Messages that left though their stage had been taken back, or their ticket been taken out.
async fn said(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    let sends: Vec<SendRow> = sqlx::query_as(STAGED_SENDS).fetch_all(&mut *tx).await?;
    if sends.is_empty() {
        return Ok(());
    }
    // What cannot be read of them is found where the acts are compared.
    let stages = Stages::read(tx, &mut Findings::default()).await?;
    let wrong = sends.iter().filter(|send| !stages.let_speak(send));
    for send in wrong.take(MOST_PER_CHECK) {
        found.add(
            Invariant::I5,
            format!("comms_attempts {}/{}", send.message_id, send.attempt),
            "a message of software left though its stage did not let it",
        );
    }
    Ok(())
}

async fn stopped(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    let rows: Vec<TurnRow> = sqlx::query_as(TURNS).fetch_all(&mut *tx).await?;
    let mut turns = Vec::with_capacity(rows.len());
    for row in rows {
        match serde_json::from_value(row.filed.0) {
            Ok(filed) => turns.push((row.tenant_id, (row.written, row.recorded_at), filed)),
            Err(error) => found.add(
                Invariant::I5,
                format!("audit_events {}", row.command_id),
                format!("a turn of a kill switch cannot be read: {error}"),
            ),
        }
    }
    let through: Vec<String> = THROUGH_KILL_SWITCH
        .iter()
        .map(ToString::to_string)
        .collect();
    for it in engaged(turns) {
        let acts: Vec<String> = sqlx::query_scalar(ACTS)
            .bind(&through)
            .bind(it.tenant)
            .bind(it.from.0)
            .bind(it.from.1)
            .bind(it.until.map(|until| until.0))
            .bind(it.until.map(|until| until.1))
            .bind(&it.scope)
            .bind(it.expires_at)
            .fetch_all(&mut *tx)
            .await?;
        for place in acts.into_iter().take(MOST_PER_CHECK) {
            let what = "software acted under an engaged kill switch";
            found.add(Invariant::I5, place, what);
        }
        let sends: Vec<String> = sqlx::query_scalar(SENDS)
            .bind(it.tenant)
            .bind(it.from.1)
            .bind(it.until.map(|until| until.1))
            .bind(&it.scope)
            .bind(it.expires_at)
            .bind(it.from.0)
            .bind(it.until.map(|until| until.0))
            .fetch_all(&mut *tx)
            .await?;
        for place in sends.into_iter().take(MOST_PER_CHECK) {
            let what = "a message of software left under an engaged kill switch";
            found.add(Invariant::I5, place, what);
        }
    }
    Ok(())
}

async fn staged(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    let changes: Vec<String> = Operation::VARIANTS
        .iter()
        .filter(|operation| operation.class() == CommandClass::Change)
        .map(ToString::to_string)
        .collect();
    let rows: Vec<StagedRow> = sqlx::query_as(STAGED)
        .bind(changes)
        .fetch_all(&mut *tx)
        .await?;
    for row in rows {
        if let Some(what) = row.fault() {
            found.add(
                Invariant::I5,
                format!("audit_events {}", row.command_id),
                what,
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mode: &str) -> StagedRow {
        StagedRow {
            command_id: Uuid::nil(),
            ticket_id: Some(Uuid::nil()),
            mode: Some(mode.into()),
            configured: Some(mode.into()),
            percent: 0,
            ceiling: Some("AUTO".into()),
            opted_out: false,
            released: false,
            held: None,
        }
    }

    #[test]
    fn each_stage_lets_software_do_so_much() {
        assert_eq!(row("AUTO").fault(), None);
        assert!(row("OFF").fault().is_some() && row("SHADOW").fault().is_some());
        assert!(row("APPROVE").fault().is_some());
        let released = StagedRow {
            released: true,
            ..row("APPROVE")
        };
        assert_eq!(released.fault(), None);
        let held = StagedRow {
            held: Some(true),
            ..row("APPROVE")
        };
        assert_eq!(held.fault(), None);
        let canary = |percent| StagedRow {
            configured: Some("CANARY".into()),
            percent,
            ..row("AUTO")
        };
        assert!(canary(0).fault().is_some());
        assert_eq!(canary(100).fault(), None);
        let above = StagedRow {
            ceiling: Some("APPROVE".into()),
            ..row("AUTO")
        };
        assert!(above.fault().is_some());
        let not_for_it = StagedRow {
            opted_out: true,
            ..row("AUTO")
        };
        assert!(not_for_it.fault().is_some());
    }

    fn ticket(opted_out: bool) -> Ticket {
        let id = |prefix: &str| format!("{prefix}_{}", "0".repeat(32));
        let created = serde_json::json!({ "at": "2026-11-21T09:00:00Z", "event": {
            "type": "ticket.created", "data": {
                "site_id": id("sit"), "template": "emergency_glass", "priority": "P1",
                "details": {}, "nte_cents": 0, "visit_id": id("vis"),
            } } });
        let key = domain::TicketKey {
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            ticket_id: TicketId::from_uuid(Uuid::nil()),
        };
        let mut ticket = domain::evolve(key, None, &serde_json::from_value(created).unwrap());
        ticket.autonomy_opt_out = opted_out;
        ticket
    }

    #[test]
    fn a_stage_stands_from_its_turn_to_the_next_and_a_class_goes_its_own_way() {
        let tenant = TenantId::from_uuid(Uuid::nil());
        let at = |n: i64| (n, DateTime::UNIX_EPOCH);
        let slug = |text: &str| Slug::new(text).unwrap();
        let mut stages = Stages::default();
        let mut set = |n, risk: Option<&str>, to| {
            let filed = Filed::StageSet {
                target: StageTarget {
                    operation: Operation::Triage,
                    risk: risk.map(slug),
                },
                from: AutonomyMode::Shadow,
                to,
                percent: None,
                effective_at: None,
            };
            stages.turn(tenant, at(n), filed);
        };
        set(10, None, AutonomyMode::Approve);
        set(20, Some("emergency"), AutonomyMode::Off);
        set(30, None, AutonomyMode::Auto);
        let mode = |risk: &str, n| {
            let stood = stages.at(tenant, Operation::Triage, &slug(risk), at(n));
            stood.map(|stood| stood.mode)
        };
        assert_eq!(mode("standard", 10), None, "not yet");
        assert_eq!(mode("standard", 11), Some(AutonomyMode::Approve));
        assert_eq!(mode("emergency", 19), Some(AutonomyMode::Approve));
        assert_eq!(mode("emergency", 31), Some(AutonomyMode::Off));
        assert_eq!(mode("standard", 31), Some(AutonomyMode::Auto));
        let another = TenantId::from_uuid(Uuid::from_u128(1));
        let stood = stages.at(another, Operation::Triage, &slug("standard"), at(31));
        assert_eq!(stood, None);
    }

    #[test]
    fn a_message_of_software_leaves_while_its_stage_lets_it() {
        let at = |n: i64| DateTime::from_timestamp(n, 0).unwrap();
        let send = |n, opted_out| SendRow {
            tenant_id: Uuid::nil(),
            message_id: Uuid::nil(),
            attempt: 1,
            at: at(n),
            ticket_id: Some(ticket(false).id.as_uuid()),
            risk: "emergency".to_owned(),
            opted_out,
        };
        let mut stages = Stages::default();
        let mut set = |n, risk: Option<&str>, to, percent| {
            let filed = Filed::StageSet {
                target: StageTarget {
                    operation: Operation::CommsOutbound,
                    risk: risk.map(|risk| Slug::new(risk).unwrap()),
                },
                from: AutonomyMode::Shadow,
                to,
                percent,
                effective_at: None,
            };
            stages.turn(TenantId::from_uuid(Uuid::nil()), (n, at(n)), filed);
        };
        let share = (1..=99)
            .find(|percent| domain::autonomy::is_in_canary(ticket(false).id, *percent))
            .unwrap();
        set(10, None, AutonomyMode::Auto, None);
        set(20, Some("emergency"), AutonomyMode::Approve, None);
        set(30, Some("emergency"), AutonomyMode::Canary, Some(share));
        set(40, Some("emergency"), AutonomyMode::Canary, Some(share - 1));
        assert!(!stages.let_speak(&send(5, false)), "nobody had set it");
        assert!(stages.let_speak(&send(15, false)));
        assert!(!stages.let_speak(&send(15, true)), "taken out");
        assert!(!stages.let_speak(&send(25, false)), "taken back");
        assert!(stages.let_speak(&send(35, false)), "in the share");
        assert!(!stages.let_speak(&send(45, false)), "in it no longer");
    }

    #[test]
    fn a_decision_names_the_stage_as_it_stood_or_is_found() {
        let stood = |mode, percent| Stood {
            from: (1, DateTime::UNIX_EPOCH),
            mode,
            percent,
        };
        let told = |configured, percent, in_canary, opted_out| PolicyStage {
            configured,
            percent,
            risk: Slug::new("standard").unwrap(),
            ceiling: AutonomyMode::Auto,
            in_canary,
            opted_out,
        };
        use AutonomyMode::*;
        let (open, out) = (ticket(false), ticket(true));
        let auto = told(Auto, 0, false, false);
        assert!(stood_so(Some(&stood(Auto, None)), Some(&open), Auto, &auto));
        // Nobody set it, it was taken back, it had a share, or the ticket was taken out.
        assert!(!stood_so(None, Some(&open), Auto, &auto));
        assert!(!stood_so(
            Some(&stood(Shadow, None)),
            Some(&open),
            Auto,
            &auto
        ));
        assert!(!stood_so(
            Some(&stood(Canary, Some(99))),
            Some(&open),
            Auto,
            &auto
        ));
        assert!(!stood_so(Some(&stood(Auto, None)), Some(&out), Auto, &auto));
        let taken_out = told(Auto, 0, false, true);
        assert!(stood_so(
            Some(&stood(Auto, None)),
            Some(&out),
            Shadow,
            &taken_out
        ));
        // More than the environment allows.
        let bounded = PolicyStage {
            ceiling: Approve,
            ..auto.clone()
        };
        assert!(!stood_so(
            Some(&stood(Auto, None)),
            Some(&open),
            Auto,
            &bounded
        ));
        assert!(stood_so(
            Some(&stood(Auto, None)),
            Some(&open),
            Approve,
            &bounded
        ));
        // In the share by the hash of its id, whatever the decision says.
        let share = |percent| stood(Canary, Some(percent));
        let is_in = domain::autonomy::is_in_canary(open.id, 50);
        let (mode, other) = if is_in {
            (Auto, Approve)
        } else {
            (Approve, Auto)
        };
        let canary = |in_canary| told(Canary, 50, in_canary, false);
        assert!(stood_so(
            Some(&share(50)),
            Some(&open),
            mode,
            &canary(is_in)
        ));
        assert!(!stood_so(
            Some(&share(50)),
            Some(&open),
            other,
            &canary(!is_in)
        ));
        assert!(!stood_so(
            Some(&share(51)),
            Some(&open),
            mode,
            &canary(is_in)
        ));
        // A default lets nothing be done without people.
        assert!(stood_so(
            None,
            Some(&open),
            Approve,
            &told(Approve, 0, false, false)
        ));
    }

    #[test]
    fn a_switch_stands_engaged_from_its_engagement_to_its_release() {
        let at = |n: i64| (n, DateTime::UNIX_EPOCH);
        let reason = || "drill".parse().unwrap();
        let engage = |scope: KillScope| Filed::KillSwitchEngaged {
            generation: 1,
            reason: reason(),
            scope,
            expires_at: None,
            warning: None,
        };
        let release = |scope: KillScope| Filed::KillSwitchReleased {
            generation: 2,
            reason: reason(),
            scope,
        };
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let found = engaged([
            (one, at(1), engage(KillScope::Tenant)),
            (one, at(2), engage(KillScope::Everything)),
            (other, at(3), engage(KillScope::Tenant)),
            (one, at(4), release(KillScope::Tenant)),
            // Whoever turned it, it is the same one.
            (other, at(5), release(KillScope::Everything)),
            (one, at(6), engage(KillScope::Tenant)),
        ]);
        let shape: Vec<_> = found
            .iter()
            .map(|it| (it.tenant, it.from.0, it.until.map(|until| until.0)))
            .collect();
        assert_eq!(
            shape,
            [
                (Some(one), 1, Some(4)),
                (None, 2, Some(5)),
                (Some(other), 3, None),
                (Some(one), 6, None),
            ]
        );
    }
}
