//! The kill switches: how they stand, how far a stop has come, which have come to their end, and the
//! drills on record.

use chrono::{DateTime, Utc};
use contracts::{
    autonomy::{AutonomyRules, THROUGH_KILL_SWITCH},
    directory::KillSwitchView,
    kill_switch::{DrillReport, KillScope, StopPhase, SwitchStatus, UnderWay},
};
use domain::rollout::TurnedSwitch;
use sqlx::{FromRow, types::Json};

use crate::{Error, TenantTx, read::Sees};

/// The engagement of a switch waits for the commands of software that are under way, so all that may
/// be under way after it are messages whose sending had begun, and the word to the workflows.
///
/// Effects of software are looked for between the moment at which the engagement came in and that at
/// which it was written: later ones cannot be. That of another tenant's switch over everything is not
/// seen from here; the longest that an engagement waits stands in for it. What the workflow carries out
/// is the proposer's doing: a person's is no effect of software. `$1`: the tenant; `$2`: what the
/// workflow goes on with whatever a switch says.
const SWITCHES: &str = "
    with switches as (
        select k.scope, k.engaged, k.generation, k.reason, k.turned_by, k.turned_at, k.expires_at,
               k.command_id
          from kill_switches k where k.tenant_id = $1
         union all
        select 'everything', e.engaged, e.generation, e.reason, e.turned_by, e.turned_at,
               e.expires_at, e.command_id
          from kill_switch_of_everything e),
    seen as (
        select s.*, s.engaged and (s.expires_at is null or clock_timestamp() < s.expires_at) as stops,
               coalesce((select a.recorded_at from audit_events a
                          where a.tenant_id = $1 and a.command_id = s.command_id),
                        s.turned_at + interval '30 seconds') as written_at
          from switches s),
    messages as (
        select s.scope, t.at, t.ended_at
          from seen s
          join comms_attempts t on t.tenant_id = $1 and t.at <= s.written_at
           and (t.ended_at is null or t.ended_at > s.turned_at)
          join comms_messages m on m.tenant_id = t.tenant_id and m.id = t.message_id
           and m.by_software is not null
         where s.stops
           and s.scope in ('everything', 'tenant', 'operation:comms_outbound', 'channel:' || m.channel,
                           'agent:' || m.by_software, 'ticket:' || wire_id('tkt', m.ticket_id))),
    acts as (
        select s.scope, max(a.recorded_at) as last_at
          from seen s
          join audit_events a on a.tenant_id = $1
           and a.recorded_at > s.turned_at and a.recorded_at <= s.written_at
           and a.refused is null and a.actor_kind in ('agent', 'workflow')
           and a.operation <> all($2)
          join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
           and wanted_by_software(d.input::jsonb) is not null
         where s.stops
           and s.scope in ('everything', 'tenant', 'operation:' || a.operation,
                           'channel:' || (a.payload ->> 'channel'),
                           'agent:' || coalesce(a.payload #>> '{approval,proposed_by}', a.actor_id),
                           'ticket:' || wire_id('tkt', a.ticket_id))
         group by s.scope)
    select s.scope, s.stops, s.generation, s.reason, s.turned_by, s.turned_at, s.expires_at,
           s.stops and not coalesce(kill_scope_seen($1, s.scope), true) as never_seen,
           (select count(*) from messages m where m.scope = s.scope and m.ended_at is null)
               as messages,
           exists (select from control_events c
                    where c.command_id = s.command_id and c.done_at is null) as telling,
           coalesce((select sum(c.told) from control_events c
                      where c.command_id = s.command_id), 0)::bigint as told,
           ceil(extract(epoch from greatest(
               (select max(m.ended_at) from messages m where m.scope = s.scope),
               (select a.last_at from acts a where a.scope = s.scope),
               s.turned_at) - s.turned_at) * 1000)::bigint as stop_millis
      from seen s order by s.scope";

#[derive(FromRow)]
struct SwitchRow {
    scope: String,
    stops: bool,
    generation: i64,
    reason: String,
    turned_by: String,
    turned_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    never_seen: bool,
    messages: i64,
    telling: bool,
    told: i64,
    stop_millis: i64,
}

impl SwitchRow {
    /// Whether workflows go on with what it is over. Without rules nobody does anything.
    fn is_passed(&self, rules: Option<&AutonomyRules>) -> bool {
        let scope = KillScope::of_key(&self.scope);
        rules
            .zip(scope)
            .is_some_and(|(rules, scope)| rules.workflows_pass(&scope))
    }

    /// As the reader may see it: who turned the one over everything, and how many workflows heard of
    /// it, is not the matter of a single tenant.
    fn status(self, sees: Sees, rules: Option<&AutonomyRules>) -> Result<SwitchStatus, Error> {
        let sees = match self.scope == KillScope::Everything.key() {
            true => sees,
            false => Sees::Everybody,
        };
        let workflows_pass = self.stops && self.is_passed(rules);
        let phase = match self.stops {
            false => StopPhase::Running,
            true if self.telling || self.messages > 0 => StopPhase::Stopping,
            true => StopPhase::Stopped,
        };
        Ok(SwitchStatus {
            reason: self
                .reason
                .parse()
                .map_err(|e| Error::corrupt("kill_switches", "reason", &self.scope, e))?,
            engaged: self.stops,
            phase,
            generation: self.generation.unsigned_abs(),
            turned_by: sees.of_others(self.turned_by),
            turned_at: self.turned_at,
            expires_at: self.expires_at,
            never_seen: self.never_seen,
            workflows_pass,
            under_way: self.stops.then_some(UnderWay {
                messages: self.messages.unsigned_abs(),
                telling: self.telling,
                told: sees.of_others(self.told.unsigned_abs()),
            }),
            stop_millis: (phase == StopPhase::Stopped).then_some(self.stop_millis.unsigned_abs()),
            scope: self.scope,
        })
    }
}

/// The kill switches that were ever turned; the members about the tenant's are as new when that one
/// never was. `rules` are those of the active bundle.
pub async fn kill_switch(
    tx: &mut TenantTx,
    sees: Sees,
    rules: Option<&AutonomyRules>,
) -> Result<KillSwitchView, Error> {
    let rows: Vec<SwitchRow> = sqlx::query_as(SWITCHES)
        .bind(tx.tenant_id().as_uuid())
        .bind(THROUGH_KILL_SWITCH.map(|it| it.to_string()))
        .fetch_all(tx.connection())
        .await?;
    let switches = rows
        .into_iter()
        .map(|row| row.status(sees, rules))
        .collect::<Result<Vec<_>, _>>()?;
    let of_tenant = KillScope::Tenant.key();
    let tenant = switches.iter().find(|switch| switch.scope == of_tenant);
    Ok(KillSwitchView {
        engaged: tenant.is_some_and(|switch| switch.engaged),
        generation: tenant.map_or(0, |switch| switch.generation),
        reason: tenant.map(|switch| switch.reason.clone()),
        turned_by: tenant.and_then(|switch| switch.turned_by.clone()),
        turned_at: tenant.map(|switch| switch.turned_at),
        switches,
    })
}

/// The tenant's switches that were ever turned, and the one over everything.
pub async fn turned_switches(tx: &mut TenantTx) -> Result<Vec<TurnedSwitch>, Error> {
    let rows: Vec<(String, Option<DateTime<Utc>>)> = sqlx::query_as(
        "select k.scope, case when k.engaged then k.expires_at else k.turned_at end
           from kill_switches k where k.tenant_id = $1
          union all
         select 'everything', case when e.engaged then e.expires_at else e.turned_at end
           from kill_switch_of_everything e",
    )
    .bind(tx.tenant_id().as_uuid())
    .fetch_all(tx.connection())
    .await?;
    let switches = rows.into_iter();
    Ok(switches
        .map(|(scope, until)| TurnedSwitch { scope, until })
        .collect())
}

/// A switch whose end has come, and whose release is not on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredSwitch {
    /// Where.
    pub scope: KillScope,
    /// Its version: what the release expects.
    pub generation: u64,
    /// When it ended.
    pub expires_at: DateTime<Utc>,
}

/// Those of the tenant whose end has come by then: releasing them puts that on record and tells the
/// workflows. The one over everything is there for each tenant; whoever comes first releases it.
pub async fn expired_switches(
    tx: &mut TenantTx,
    at: DateTime<Utc>,
) -> Result<Vec<ExpiredSwitch>, Error> {
    let rows: Vec<(String, i64, DateTime<Utc>)> = sqlx::query_as(
        "select k.scope, k.generation, k.expires_at from kill_switches k
          where k.tenant_id = $1 and k.engaged and k.expires_at <= $2
          union all
         select 'everything', e.generation, e.expires_at from kill_switch_of_everything e
          where e.engaged and e.expires_at <= $2
          order by 1",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(at)
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter()
        .map(|(key, generation, expires_at)| {
            Ok(ExpiredSwitch {
                scope: KillScope::of_key(&key)
                    .ok_or_else(|| Error::corrupt("kill_switches", "scope", &key, "no scope"))?,
                generation: generation.unsigned_abs(),
                expires_at,
            })
        })
        .collect()
}

/// The newest drills on record.
pub async fn drills(tx: &mut TenantTx) -> Result<Vec<DrillReport>, Error> {
    let rows: Vec<Json<DrillReport>> = sqlx::query_scalar(
        "select r.document::jsonb || jsonb_build_object('sha256', r.sha256) from reports r
          where r.tenant_id = $1 and r.kind = 'drill' order by r.made_at desc, r.sha256 limit 50",
    )
    .bind(tx.tenant_id().as_uuid())
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|Json(report)| report).collect())
}
