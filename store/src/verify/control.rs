//! The control plane's own rows: comments, delegations, stages, reports, bundles, and what workflows
//! were to be told of. Each is what an accepted attempt wrote, and each such attempt wrote one.

use contracts::rollout::GateReport;
use domain::rollout::policy_figures;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Findings, Invariant, MOST_PER_CHECK};
use crate::Error;

/// Accepted filings with their attempts; an approval may have carried one out.
macro_rules! filed {
    ($rest:literal) => {
        concat!(
            "with filed as materialized (
                 select a.tenant_id, a.command_id, a.actor_id, a.at, a.operation, a.payload,
                        a.produced_version, f.filed ->> 'type' as type, f.filed -> 'data' as data
                   from audit_events a
                  cross join lateral (
                      select case when a.changes #>> '{0,type}' = 'approval.changed'
                                  then a.changes #> '{0,data,executed}'
                                  else a.changes -> 0 end as filed) f
                  where a.ticket_id is null and a.refused is null) ",
            $rest
        )
    };
}

const CHECKS: &[(Invariant, &str, &str)] = &[
    (
        Invariant::I1,
        "a comment that is not what its attempt wrote, or is missing",
        "select 'approval_comments ' || coalesce(c.id::text, a.command_id::text)
         from (select * from audit_events where operation = 'comment_approval' and refused is null) a
         full join approval_comments c on c.tenant_id = a.tenant_id and c.command_id = a.command_id
         where a.command_id is null or c.id is null or c.author_id <> a.actor_id
            or c.created_at <> a.at or wire_id('apr', c.approval_id) <> a.payload ->> 'approval_id'
            or a.ticket_id is not null
               and wire_id('cmt', c.id) <> a.changes #>> '{0,event,data,comment_id}'",
    ),
    (
        Invariant::I1,
        "a delegation that is not what its attempts made of it, or is missing",
        filed!(
            ", revoked as (select * from filed where type = 'delegation.revoked')
             select 'delegations ' || coalesce(d.id::text, f.command_id::text)
             from (select * from filed where type = 'delegation.made') f
             full join delegations d on d.tenant_id = f.tenant_id and d.command_id = f.command_id
             left join revoked r on r.tenant_id = d.tenant_id
               and row_id(r.data ->> 'delegation_id') = d.id
             where f.command_id is null or d.id is null
                or row_id(f.data ->> 'delegation_id') <> d.id or d.from_actor <> f.actor_id
                or d.to_actor <> f.payload ->> 'to' or d.roles <> f.payload -> 'roles'
                or d.starts_at <> (f.payload ->> 'from')::timestamptz
                or d.ends_at <> (f.payload ->> 'until')::timestamptz
                or jsonb_typeof(f.payload -> 'reason') = 'string'
                   and d.reason <> f.payload ->> 'reason'
                or d.revoked_at is distinct from r.at"
        ),
    ),
    (
        Invariant::I1,
        "a change of a stage that is not what its attempt decided, or is missing",
        filed!(
            "select 'stage_changes ' || coalesce(c.command_id, f.command_id)
             from (select * from filed where type = 'stage.set') f
             full join stage_changes c on c.tenant_id = f.tenant_id and c.command_id = f.command_id
             where f.command_id is null or c.command_id is null
                or c.operation <> f.data #>> '{target,operation}'
                or c.risk <> coalesce(f.data #>> '{target,risk}', '')
                or c.from_mode <> f.data ->> 'from' or c.to_mode <> f.data ->> 'to'
                or c.percent is distinct from (f.data ->> 'percent')::smallint
                or c.decided_by <> f.actor_id or c.decided_at <> f.at
                or c.effective_at <> coalesce((f.data ->> 'effective_at')::timestamptz, f.at)
                or case when f.data ->> 'effective_at' is null then c.applied_at is distinct from f.at
                   else c.applied_at is not null and not exists (
                        select from filed p where p.tenant_id = c.tenant_id
                           and p.operation = 'apply_stage_change' and p.at = c.applied_at
                           and p.produced_version = c.stage_version + 1
                           and row_id(p.payload ->> 'change') = c.command_id) end
                or c.stage_version <> f.produced_version
                       - case when f.data ->> 'effective_at' is null then 1 else 0 end
                or f.operation in ('promote_stage', 'demote_stage')
                   and c.reason <> f.payload ->> 'reason'
                or f.operation = 'promote_stage'
                   and c.report_sha256 is distinct from f.payload ->> 'report_sha256'"
        ),
    ),
    (
        Invariant::I1,
        "a change to come that is void although its stage has not moved on, or the other way round",
        "select 'stage_changes ' || c.command_id
         from stage_changes c
         left join stage_changes n on n.tenant_id = c.tenant_id and n.command_id = c.superseded_by
         where case when c.superseded_by is null
               then c.applied_at is null
                    and c.stage_version <> stage_version(c.tenant_id, c.operation, c.risk)
               else c.applied_at is not null or n.command_id is null
                    or c.stage_version = stage_version(c.tenant_id, c.operation, c.risk)
                    or n.effective_at <> n.decided_at or n.operation <> c.operation
                    or n.risk not in (c.risk, '') or n.stage_version <> c.stage_version end",
    ),
    (
        Invariant::I1,
        "a stage that is not what was decided last, or is missing",
        filed!(
            ", latest as (
                 select distinct on (tenant_id, data -> 'target') * from filed
                  where type = 'stage.set' and data ->> 'effective_at' is null
                  order by tenant_id, data -> 'target', produced_version desc)
             select 'autonomy_stages ' || coalesce(s.command_id, f.command_id)
             from latest f
             full join autonomy_stages s on s.tenant_id = f.tenant_id
               and s.operation = f.data #>> '{target,operation}'
               and s.risk = coalesce(f.data #>> '{target,risk}', '')
             where f.command_id is null or s.command_id is null or s.command_id <> f.command_id
                or s.mode <> f.data ->> 'to' or s.version <> f.produced_version
                or s.percent is distinct from (f.data ->> 'percent')::smallint
                or s.set_by <> f.actor_id or s.set_at <> f.at
                or exists (select from stage_changes c where c.tenant_id = s.tenant_id
                              and c.command_id = s.command_id and c.reason <> s.reason)"
        ),
    ),
    (
        Invariant::I1,
        "a report that is not what its attempt kept",
        filed!(
            "select 'reports ' || r.sha256 from reports r
             left join filed f on f.tenant_id = r.tenant_id and f.command_id = r.command_id
               and f.at = r.made_at
               and case r.kind when 'gate' then f.type = 'report.kept' and f.data ->> 'sha256' = r.sha256
                   when 'drill' then f.type = 'kill_switch.drilled' end
             where f.command_id is null
                or r.sha256 <> encode(sha256(convert_to(r.document, 'UTF8')), 'hex')
                or r.kind = 'drill' and (not r.document::jsonb @> r.figures
                    or r.subject <> r.document::jsonb ->> 'scope'
                    or r.document::jsonb -> 'stop_millis' <> f.data -> 'stop_millis')"
        ),
    ),
    (
        Invariant::I1,
        "a report that an attempt kept is missing",
        filed!(
            "select 'audit_events ' || f.command_id from filed f
             where f.type = 'report.kept' and not exists (select from reports r
                       where r.tenant_id = f.tenant_id and r.sha256 = f.data ->> 'sha256')
                or f.type = 'kill_switch.drilled' and not exists (select from reports r
                       where r.tenant_id = f.tenant_id and r.command_id = f.command_id)"
        ),
    ),
    (
        Invariant::I1,
        "a bundle that is not what was uploaded, or is missing",
        filed!(
            "select 'policy_bundles ' || b.sha256 from policy_bundles b
             left join filed f on f.tenant_id = b.by_tenant and f.command_id = b.command_id
               and f.type = 'bundle.uploaded' and f.data #>> '{bundle,sha256}' = b.sha256
               and f.data #>> '{bundle,version}' = b.version and f.actor_id = b.uploaded_by
               and f.at = b.uploaded_at
             where (b.by_tenant is not null or b.command_id is not null) and f.command_id is null
             union all
             select 'audit_events ' || f.command_id from filed f
             where f.type = 'bundle.uploaded' and not exists (
                 select from policy_bundles b where b.sha256 = f.data #>> '{bundle,sha256}')"
        ),
    ),
    (
        Invariant::I1,
        "an activation of a bundle that is not what was decided, or is missing",
        filed!(
            "select 'bundle_activations ' || coalesce(n.position::text, f.command_id::text)
             from (select * from filed where type = 'bundle.activated') f
             full join (select * from bundle_activations
                         where by_tenant is not null or command_id is not null) n
               on n.by_tenant = f.tenant_id and n.command_id = f.command_id
             where f.command_id is null or n.sha256 is null
                or n.sha256 <> f.data #>> '{bundle,sha256}'
                or n.version <> f.data #>> '{bundle,version}'
                or n.previous_sha256 is distinct from f.data ->> 'previous'
                or n.activated_by <> f.actor_id or n.activated_at <> f.at"
        ),
    ),
    (
        Invariant::I1,
        "a bundle decides that was not activated last",
        "select 'deployment' from deployment d
         join (select sha256, version from bundle_activations order by position desc limit 1) n
           on n.sha256 is distinct from d.bundle_sha256 or n.version is distinct from d.bundle_version
         union all
         select 'bundle_activations ' || n.position
         from (select position, previous_sha256, lag(sha256) over (order by position) as before,
                      row_number() over (order by position) as n from bundle_activations) n
         where n.n > 1 and n.before is distinct from n.previous_sha256",
    ),
    (
        Invariant::I1,
        "what workflows are to be told of is not what happened, or is missing",
        filed!(
            "select 'control_events ' || coalesce(e.id::text, f.command_id::text)
             from (select *, case when type like 'kill_switch.%' then 'kill_switch'
                                  when type = 'stage.set' then 'stage'
                                  when type = 'tenant.written' then 'tenant' else 'bundle' end as kind
                     from filed
                    where type = 'tenant.written' and operation in ('resume_tenant', 'erase_tenant')
                       or type in ('kill_switch.engaged', 'kill_switch.released', 'bundle.activated')
                       or type = 'stage.set' and data ->> 'effective_at' is null) f
             full join control_events e on e.command_id = f.command_id
             where f.command_id is null or e.id is null or e.kind <> f.kind or e.created_at <> f.at
                or e.for_tenant is distinct from case when f.kind = 'bundle'
                       or f.data #>> '{scope,kind}' = 'everything' then null else f.tenant_id end
                or e.ticket_id is distinct from row_id(f.data #>> '{scope,ticket_id}')"
        ),
    ),
];

pub(super) async fn check(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    for (invariant, what, sql) in CHECKS {
        let places: Vec<String> = sqlx::query_scalar(*sql).fetch_all(&mut *tx).await?;
        for place in places.into_iter().take(MOST_PER_CHECK) {
            found.add(*invariant, place, *what);
        }
    }
    gates(tx, found).await
}

/// The figures that policy is told of a gate report are those of its document.
async fn gates(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    let rows: Vec<(String, String, String, Value)> = sqlx::query_as(
        "select sha256, subject, document, figures from reports where kind = 'gate'",
    )
    .fetch_all(tx)
    .await?;
    for (sha256, subject, document, figures) in rows {
        let sound = serde_json::from_str::<GateReport>(&document).is_ok_and(|report| {
            let told = policy_figures(&report);
            // A version of before it said whether there is an advisor kept one figure less.
            let mut told_less = told.clone();
            told_less.remove("advised");
            report.target.key() == subject && [json!(told), json!(told_less)].contains(&figures)
        });
        if !sound {
            let what = "a gate report whose figures are not those of its document";
            found.add(Invariant::I1, format!("reports {sha256}"), what);
        }
    }
    Ok(())
}
