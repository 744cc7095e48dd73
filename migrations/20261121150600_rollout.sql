-- The rollout of staged autonomy: what the ledger and the changes of stages are read by.

create index stage_changes_by_stage on stage_changes (tenant_id, operation, risk, applied_at);

-- contracts::rollout::StageChange. A change to come is void once its stage has changed otherwise.
create function stage_change_json(c stage_changes) returns jsonb
language sql stable
return jsonb_build_object(
    'command_id', wire_id('cmd', c.command_id),
    'target', jsonb_build_object('operation', c.operation, 'risk', nullif(c.risk, '')),
    'from', c.from_mode, 'to', c.to_mode, 'percent', c.percent,
    'report_sha256', c.report_sha256, 'reason', c.reason, 'decided_by', c.decided_by,
    'decided_at', c.decided_at, 'effective_at', c.effective_at, 'applied_at', c.applied_at,
    'superseded', c.applied_at is null and exists (
        select from stage_changes n
         where n.tenant_id = c.tenant_id and n.operation = c.operation and n.risk = c.risk
           and n.applied_at > c.decided_at));

-- What the control plane has on record about what a filing names. A gate report is as old as what it
-- looked at, however late it was made.
create or replace function control_facts(for_tenant uuid, asks jsonb) returns jsonb
language sql volatile
return jsonb_build_object(
    'report', (select jsonb_build_object('kind', r.kind, 'subject', r.subject, 'figures', r.figures,
                      'made_at', case r.kind
                          when 'gate' then least(
                              r.made_at, (r.document::jsonb ->> 'until')::timestamptz)
                          else r.made_at end)
                 from reports r where r.tenant_id = for_tenant and r.sha256 = asks ->> 'report'),
    'change', (select stage_change_json(c) from stage_changes c
                where c.tenant_id = for_tenant and c.command_id = (asks ->> 'change')::uuid),
    'bundle', (select jsonb_build_object('version', b.version, 'sha256', b.sha256)
                 from policy_bundles b where b.sha256 = asks ->> 'bundle' limit 1),
    'delegation', (select jsonb_build_object('from', d.from_actor, 'revoked', d.revoked_at is not null)
                     from delegations d
                    where d.tenant_id = for_tenant and d.id = (asks ->> 'delegation')::uuid));

revoke execute on function stage_change_json from public;
grant execute on function stage_change_json to dispatch_app;
