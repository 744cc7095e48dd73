-- A change to come is called off by setting its stage where it stands: that is asked for with the stage
-- (`coming_to`), and what stands there is the next change to come. What is new is that case.
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
                where c.tenant_id = for_tenant
                  and case when asks ? 'change' then c.command_id = (asks ->> 'change')::uuid
                      else c.applied_at is null and c.superseded_by is null
                       and c.operation = asks #>> '{coming_to,operation}'
                       and c.risk = coalesce(asks #>> '{coming_to,risk}', '') end
                order by c.effective_at, c.command_id limit 1),
    'bundle', (select jsonb_build_object('version', b.version, 'sha256', b.sha256)
                 from policy_bundles b where b.sha256 = asks ->> 'bundle' limit 1),
    'delegation', (select jsonb_build_object('from', d.from_actor, 'revoked', d.revoked_at is not null)
                     from delegations d
                    where d.tenant_id = for_tenant and d.id = (asks ->> 'delegation')::uuid));
