//! What software did by itself: nothing under an engaged kill switch, and no more than its stage let
//! it.
//!
//! The policy decides so from what it is told, and what it is told is read under locks. This looks
//! at the outcome instead. Which switch was engaged from when to when is rebuilt from the audit log,
//! and every accepted act of software is held against it, in the order of `audit_events.written`: a
//! number from one sequence, taken while the locks of the kill switch are held. A turn holds them
//! alone, so a number above that of an engagement was taken after its commit, whatever any clock says.
//! (By their `at` an act that was asked for before an engagement and waited for its ticket would look
//! allowed, and one that was let pass before it, forbidden.) Rows of before that sequence have none
//! and come first, by the database's clock.

use chrono::{DateTime, Utc};
use contracts::{
    Operation, TicketId, command::CommandClass, filing::Filed, kill_switch::KillScope,
};
use sqlx::{FromRow, PgConnection, types::Json};
use strum::VariantArray;
use uuid::Uuid;

use super::{Findings, Invariant, MOST_PER_CHECK};
use crate::Error;

/// What the workflow goes on with whatever the kill switch says: `autonomy.through_kill_switch` of the
/// policy data. Carrying out an approval is recorded as what is carried out.
const THROUGH_KILL_SWITCH: [Operation; 6] = [
    Operation::DemoteStage,
    Operation::ExecuteApproval,
    Operation::RecordApprovalStep,
    Operation::RecordProposal,
    Operation::RecordSla,
    Operation::ReleaseKillSwitch,
];

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

/// Messages of software that left meanwhile; their tries are begun under the same locks. The
/// parameters as above, without the first.
const SENDS: &str = "
    select 'comms_attempts ' || t.message_id || '/' || t.attempt
      from comms_attempts t
      join comms_messages m on m.tenant_id = t.tenant_id and m.id = t.message_id
     where m.by_software is not null and ($1::uuid is null or t.tenant_id = $1)
       and t.at > $2 and ($3::timestamptz is null or t.at < $3)
       and ($5::timestamptz is null or t.at < $5)
       and $4 in ('everything', 'tenant', 'operation:comms_outbound', 'channel:' || m.channel,
                  'agent:' || m.by_software, 'ticket:' || wire_id('tkt', m.ticket_id))
     limit 101";

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
type Place = (i64, DateTime<Utc>);

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
    staged(tx, found).await
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

    #[test]
    fn a_switch_stands_engaged_from_its_engagement_to_its_release() {
        let at = |n: i64| (n, DateTime::UNIX_EPOCH);
        let reason = || "drill".parse().unwrap();
        let engage = |scope: KillScope| Filed::KillSwitchEngaged {
            generation: 1,
            reason: reason(),
            scope,
            expires_at: None,
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
