-- A change of a stage that is to come names the version of the stage that it was decided on, and is
-- void exactly when the stage has moved on from there, with the change that moved it on record.

alter table stage_changes
    add stage_version bigint check (stage_version >= 0),
    add superseded_by uuid;

-- The owner of the tables reads past its own policies here: the rows are of all tenants.
alter table stage_changes no force row level security;
alter table autonomy_stages no force row level security;
alter table audit_events no force row level security;

-- A change at once raised the version; one to come left it as it is.
update stage_changes c
   set stage_version = a.produced_version
                       - case when c.effective_at = c.decided_at then 1 else 0 end
  from audit_events a
 where a.tenant_id = c.tenant_id and a.command_id = c.command_id and a.refused is null;
-- Without an attempt on record (no dispatch-api wrote it) it is bound to no version that there is.
update stage_changes set stage_version = 0 where stage_version is null;
alter table stage_changes alter stage_version set not null;

-- Where a stage stands: while nothing is set for a risk class, where the stage for all classes does.
create function stage_version(of_tenant uuid, of_operation text, of_risk text) returns bigint
language sql stable
return coalesce(
    (select s.version from autonomy_stages s
      where s.tenant_id = of_tenant and s.operation = of_operation and s.risk in (of_risk, '')
      order by s.risk desc limit 1), 0);

-- The changes to come of a stage that has moved on with this one, or that follow it.
create function supersede_stage_changes(for_tenant uuid, with_command uuid) returns void
language sql volatile
begin atomic
    update stage_changes c set superseded_by = with_command
      from stage_changes n
     where n.tenant_id = for_tenant and n.command_id = with_command
       and c.tenant_id = for_tenant and c.operation = n.operation and n.risk in (c.risk, '')
       and c.applied_at is null and c.superseded_by is null
       and c.stage_version <> stage_version(for_tenant, c.operation, c.risk);
end;

-- Changes that were void by the clock until now are so by the version, and with the change that moved
-- the stage on from it. What was decided for a risk class that followed the stage for all classes named
-- no version of that one: it is void too where that was ever set, and has to be decided anew.
update stage_changes c
   set superseded_by = (
       select n.command_id from stage_changes n
        where n.tenant_id = c.tenant_id and n.operation = c.operation and n.risk in (c.risk, '')
          and n.effective_at = n.decided_at and n.stage_version = c.stage_version
        order by n.risk desc, n.applied_at limit 1)
 where c.applied_at is null
   and c.stage_version <> stage_version(c.tenant_id, c.operation, c.risk);

alter table stage_changes force row level security;
alter table autonomy_stages force row level security;
alter table audit_events force row level security;

alter table stage_changes add check (superseded_by is null or applied_at is null);
grant update (superseded_by) on stage_changes to dispatch_app;

-- contracts::rollout::StageChange
create or replace function stage_change_json(c stage_changes) returns jsonb
language sql stable
return jsonb_build_object(
    'command_id', wire_id('cmd', c.command_id),
    'target', jsonb_build_object('operation', c.operation, 'risk', nullif(c.risk, '')),
    'from', c.from_mode, 'to', c.to_mode, 'percent', c.percent,
    'report_sha256', c.report_sha256, 'reason', c.reason, 'decided_by', c.decided_by,
    'decided_at', c.decided_at, 'effective_at', c.effective_at, 'applied_at', c.applied_at,
    'stage_version', c.stage_version, 'superseded', c.superseded_by is not null,
    'superseded_by', (
        select jsonb_build_object(
                   'command_id', wire_id('cmd', n.command_id),
                   'target', jsonb_build_object('operation', n.operation, 'risk', nullif(n.risk, '')),
                   'to', n.to_mode, 'reason', n.reason, 'decided_by', n.decided_by,
                   'at', n.applied_at)
          from stage_changes n
         where n.tenant_id = c.tenant_id and n.command_id = c.superseded_by));

-- Writes what a filing of the control plane led to, as before; a stage that moves on makes void what
-- was decided for later on where it stood.
create or replace function write_control(
    for_tenant uuid, with_command uuid, by_actor text, at timestamptz, operation text, filing jsonb)
returns void
language plpgsql volatile as $$
declare
    new_version constant bigint := (filing ->> 'version')::bigint;
    body constant jsonb := filing -> 'body';
    everything constant boolean := body #>> '{scope,kind}' = 'everything';
    written bigint := 1;
begin
    case operation
        when 'engage_kill_switch', 'release_kill_switch' then
            if everything then
                insert into kill_switch_of_everything as k
                    (engaged, generation, reason, turned_by, turned_at, expires_at, by_tenant,
                     command_id)
                values (operation = 'engage_kill_switch', new_version, body ->> 'reason', by_actor,
                        at, (body ->> 'expires_at')::timestamptz, for_tenant, with_command)
                on conflict (only_row) do update
                   set engaged = excluded.engaged, generation = excluded.generation,
                       reason = excluded.reason, turned_by = excluded.turned_by,
                       turned_at = excluded.turned_at, expires_at = excluded.expires_at,
                       by_tenant = excluded.by_tenant, command_id = excluded.command_id
                 where k.generation = new_version - 1;
            else
                insert into kill_switches as k
                    (tenant_id, scope, engaged, generation, reason, turned_by, turned_at,
                     expires_at, command_id)
                values (for_tenant, coalesce(filing ->> 'scope', 'tenant'),
                        operation = 'engage_kill_switch', new_version, body ->> 'reason', by_actor,
                        at, (body ->> 'expires_at')::timestamptz, with_command)
                on conflict (tenant_id, scope) do update
                   set engaged = excluded.engaged, generation = excluded.generation,
                       reason = excluded.reason, turned_by = excluded.turned_by,
                       turned_at = excluded.turned_at, expires_at = excluded.expires_at,
                       command_id = excluded.command_id
                 where k.generation = new_version - 1;
            end if;
            get diagnostics written = row_count;
            insert into control_events (for_tenant, ticket_id, kind, command_id, created_at)
            values (case when everything then null else for_tenant end,
                    row_id(body #>> '{scope,ticket_id}'), 'kill_switch', with_command, at);
        when 'record_drill', 'record_gate_report' then
            insert into reports (tenant_id, sha256, kind, subject, document, figures, made_at, command_id)
            values (for_tenant, body ->> 'sha256', body ->> 'kind', body ->> 'subject',
                    body ->> 'document', body -> 'figures', at, with_command)
            on conflict do nothing;
        when 'delegate_approvals' then
            insert into delegations
                (tenant_id, id, from_actor, to_actor, roles, starts_at, ends_at, reason, command_id)
            values (for_tenant, (filing ->> 'id')::uuid, by_actor, body ->> 'to', body -> 'roles',
                    (body ->> 'from')::timestamptz, (body ->> 'until')::timestamptz,
                    body ->> 'reason', with_command);
        when 'revoke_delegation' then
            update delegations d set revoked_at = at
             where d.tenant_id = for_tenant and d.id = (filing ->> 'id')::uuid
               and d.revoked_at is null;
            get diagnostics written = row_count;
        when 'promote_stage', 'demote_stage' then
            -- A change to come leaves the version as it is: that is the one it was decided on.
            insert into stage_changes
                (tenant_id, command_id, operation, risk, from_mode, to_mode, percent, report_sha256,
                 reason, decided_by, decided_at, effective_at, applied_at, stage_version)
            values (for_tenant, with_command, body ->> 'operation', coalesce(body ->> 'risk', ''),
                    body ->> 'from', body ->> 'to', (body ->> 'percent')::smallint,
                    body ->> 'report_sha256', body ->> 'reason', by_actor, at,
                    coalesce((body ->> 'effective_at')::timestamptz, at),
                    case when body ->> 'effective_at' is null then at end,
                    case when body ->> 'effective_at' is null then new_version - 1
                         else new_version end);
            -- A change to come is applied by its own command when its time has come.
            if body ->> 'effective_at' is null then
                insert into autonomy_stages as s
                    (tenant_id, operation, risk, mode, percent, version, set_by, set_at, reason,
                     command_id)
                values (for_tenant, body ->> 'operation', coalesce(body ->> 'risk', ''),
                        body ->> 'to', (body ->> 'percent')::smallint, new_version, by_actor, at,
                        body ->> 'reason', with_command)
                on conflict on constraint autonomy_stages_pkey do update
                   set mode = excluded.mode, percent = excluded.percent,
                       version = excluded.version, set_by = excluded.set_by,
                       set_at = excluded.set_at, reason = excluded.reason,
                       command_id = excluded.command_id
                 where s.version = new_version - 1;
                get diagnostics written = row_count;
                update stage_changes c set applied_at = at
                 where c.tenant_id = for_tenant and c.command_id = row_id(body ->> 'applies')
                   and c.applied_at is null;
                perform supersede_stage_changes(for_tenant, with_command);
                insert into control_events (for_tenant, kind, command_id, created_at)
                values (for_tenant, 'stage', with_command, at);
            end if;
        when 'upload_bundle' then
            insert into policy_bundles
                (sha256, version, archive, signed_by, uploaded_at, uploaded_by, by_tenant, command_id)
            values (body ->> 'sha256', body ->> 'version', decode(body ->> 'archive', 'base64'),
                    body ->> 'signed_by', at, by_actor, for_tenant, with_command)
            on conflict do nothing;
        when 'activate_bundle' then
            update deployment d
               set bundle_version = body ->> 'version', bundle_sha256 = body ->> 'sha256'
             where d.bundle_sha256 is not distinct from (body ->> 'previous');
            get diagnostics written = row_count;
            insert into bundle_activations
                (sha256, version, previous_sha256, activated_at, activated_by, reason, by_tenant,
                 command_id)
            values (body ->> 'sha256', body ->> 'version', body ->> 'previous', at, by_actor,
                    body ->> 'reason', for_tenant, with_command);
            insert into control_events (kind, command_id, created_at)
            values ('bundle', with_command, at);
        else
            raise exception 'nothing is written for %', operation;
    end case;
    if written <> 1 then
        raise exception 'what % writes is not at the version that was decided on', operation
            using errcode = 'RD001';
    end if;
end
$$;

revoke execute on function stage_version, supersede_stage_changes from public;
grant execute on function stage_version, supersede_stage_changes to dispatch_app, dispatch_maintenance;
