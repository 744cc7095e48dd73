-- The control plane: approvals with claims, votes and plans; held commands; delegations; stages,
-- counters and reports; kill switches with scopes; and what workflows have to be told of.

alter table approvals
    alter ticket_id drop not null,
    drop constraint approvals_state_check,
    drop constraint approvals_check,
    add operation           text not null default 'request_change',
    add requested_by_kind   text not null default 'person',
    add demands             jsonb not null default '[]',
    add votes               jsonb not null default '[]',
    -- Rises when it is amended.
    add version             integer not null default 1 check (version > 0),
    -- Rises with each write.
    add revision            bigint not null default 0,
    add facts_sha256        text,
    add expires_at          timestamptz,
    add on_expiry           text not null default 'deny' check (on_expiry in ('deny', 'escalate')),
    add steps               jsonb not null default '[]',
    add claimed_by          text,
    add claimed_until       timestamptz,
    add decision_id         uuid,
    add executed_command_id uuid,
    add check (state in ('pending', 'approved', 'rejected', 'withdrawn', 'expired', 'stale', 'executed')),
    add check (state not in ('approved', 'rejected', 'executed')
               or decided_by is not null and decided_at is not null),
    add check ((state = 'executed') = (executed_command_id is not null)),
    add check ((claimed_by is null) = (claimed_until is null));

-- The inbox: what waits, the least time left first.
create index approvals_waiting on approvals (tenant_id, expires_at, id) where state = 'pending';
grant update (votes, demands, required_roles, version, revision, request, request_sha256,
              facts_sha256, expires_at, on_expiry, steps, claimed_by, claimed_until,
              executed_command_id) on approvals to dispatch_app;

-- A held command as it was sent, with whatever people wrote in it: nowhere else. One row for each
-- version of its approval.
create table held_commands (
    tenant_id        uuid not null,
    approval_id      uuid not null,
    version          integer not null check (version > 0),
    operation        text not null,
    -- Canonical JSON: operation, ticket_id, body.
    command          text not null,
    -- SHA-256 over it, as the approval holds it.
    sha256           text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    -- contracts::policy::PolicyActor: who asked, as the policy saw them.
    proposer         jsonb not null,
    command_id       uuid not null,
    primary key (tenant_id, approval_id, version),
    foreign key (tenant_id, approval_id) references approvals (tenant_id, id)
        deferrable initially deferred
);

-- What people said about an approval.
create table approval_comments (
    tenant_id   uuid not null,
    id          uuid not null,
    approval_id uuid not null,
    command_id  uuid not null,
    author_id   text not null,
    text        text not null,
    created_at  timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, approval_id) references approvals (tenant_id, id)
);
create index approval_comments_by_approval on approval_comments (tenant_id, approval_id, created_at, id);

-- Rights to decide approvals, lent for a time.
create table delegations (
    tenant_id  uuid not null references tenants,
    id         uuid not null,
    from_actor text not null,
    to_actor   text not null,
    roles      jsonb not null,
    starts_at  timestamptz not null,
    ends_at    timestamptz not null,
    reason     text not null,
    revoked_at timestamptz,
    command_id uuid not null,
    primary key (tenant_id, id),
    check (starts_at < ends_at),
    check (from_actor <> to_actor)
);
create index delegations_by_receiver on delegations (tenant_id, to_actor) where revoked_at is null;

-- How far software may act; no row: the bundle's default.
create table autonomy_stages (
    tenant_id    uuid not null references tenants,
    operation    text not null,
    -- '' for all risk classes.
    risk         text not null default '',
    mode         text not null check (mode in ('OFF', 'SHADOW', 'APPROVE', 'CANARY', 'AUTO')),
    percent      smallint check (percent between 1 and 99),
    version      bigint not null check (version > 0),
    set_by       text not null,
    set_at       timestamptz not null,
    reason       text not null,
    command_id   uuid not null,
    primary key (tenant_id, operation, risk),
    check ((mode = 'CANARY') = (percent is not null))
);

-- Changes of a stage, those to come included: `applied_at` is null until their time has come.
create table stage_changes (
    tenant_id     uuid not null references tenants,
    command_id    uuid not null,
    operation     text not null,
    risk          text not null default '',
    from_mode     text not null,
    to_mode       text not null,
    percent       smallint,
    report_sha256 text,
    reason        text not null,
    decided_by    text not null,
    decided_at    timestamptz not null,
    effective_at  timestamptz not null,
    applied_at    timestamptz,
    primary key (tenant_id, command_id)
);
create index stage_changes_to_come on stage_changes (tenant_id, effective_at) where applied_at is null;

-- What software did by itself in a clock hour; operation '*' counts all.
create table autonomy_hours (
    tenant_id   uuid not null references tenants,
    hour        timestamptz not null,
    operation   text not null,
    commands    integer not null,
    spent_cents bigint not null,
    primary key (tenant_id, hour, operation)
);

-- Reports that decisions are bound to: gate reports, drills, comparisons of bundles.
create table reports (
    tenant_id  uuid not null references tenants,
    sha256     text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    kind       text not null check (kind in ('gate', 'drill', 'policy_diff')),
    subject    text not null,
    -- Canonical JSON; the hash is over it.
    document   text not null,
    figures    jsonb not null,
    made_at    timestamptz not null,
    command_id uuid not null,
    primary key (tenant_id, sha256)
);

alter table kill_switches
    add scope      text not null default 'tenant',
    add expires_at timestamptz,
    drop constraint kill_switches_pkey,
    add primary key (tenant_id, scope);

-- The switch over all tenants. No row of a tenant, so that every transaction can read it.
create table kill_switch_of_everything (
    only_row   boolean primary key default true check (only_row),
    engaged    boolean not null,
    generation bigint not null check (generation > 0),
    reason     text not null,
    turned_by  text not null,
    turned_at  timestamptz not null,
    expires_at timestamptz,
    by_tenant  uuid not null,
    command_id uuid not null
);

-- What workflows have to be told of besides events of their tickets: another stage, a turned kill
-- switch, another bundle. The relay signals the tickets concerned to read the truth anew.
create table control_events (
    id          bigint generated always as identity primary key,
    -- Null: all tenants.
    for_tenant  uuid,
    -- Null: all open tickets of the tenant.
    ticket_id   uuid,
    kind        text not null check (kind in ('kill_switch', 'stage', 'bundle')),
    command_id  uuid not null,
    created_at  timestamptz not null,
    -- How many workflows were told.
    told        integer,
    done_at     timestamptz
);
create index control_events_to_do on control_events (id) where done_at is null;

select protect_tenant_rows(t) from unnest(array[
    'held_commands', 'approval_comments', 'delegations', 'autonomy_stages', 'stage_changes',
    'autonomy_hours', 'reports']::regclass[]) t;

-- The checker compares hashes and places, not what people wrote.
revoke select on held_commands, approval_comments from dispatch_maintenance;
grant select (tenant_id, approval_id, version, operation, sha256, proposer, command_id)
    on held_commands to dispatch_maintenance;
grant select (tenant_id, id, approval_id, command_id, author_id, created_at)
    on approval_comments to dispatch_maintenance;

grant select, insert on held_commands, approval_comments, reports, stage_changes to dispatch_app;
grant select, insert, update on delegations, autonomy_stages, autonomy_hours,
    kill_switch_of_everything to dispatch_app;
grant update (applied_at) on stage_changes to dispatch_app;
grant select, insert on control_events to dispatch_app;
grant select, update (told, done_at) on control_events to dispatch_relay;
grant select on kill_switch_of_everything, control_events to dispatch_maintenance;

-- Who had to release it, for a decision that asked for an approval.
alter table policy_decisions add approval jsonb;

-- contracts::approval::Approval
create or replace function approval_json(a approvals) returns jsonb
language sql stable
return jsonb_build_object(
    'id', wire_id('apr', a.id), 'ticket_id', wire_id('tkt', a.ticket_id), 'kind', a.kind,
    'state', a.state, 'operation', a.operation, 'requested_by', a.requested_by,
    'requested_by_kind', a.requested_by_kind, 'required_roles', a.required_roles,
    'demands', a.demands, 'votes', a.votes, 'version', a.version, 'revision', a.revision,
    'request_sha256', a.request_sha256, 'request', a.request, 'facts_sha256', a.facts_sha256,
    'requested_at', a.requested_at, 'expires_at', a.expires_at, 'on_expiry', a.on_expiry,
    'steps', a.steps, 'claim', case when a.claimed_by is not null then
        jsonb_build_object('by', a.claimed_by, 'until', a.claimed_until) end,
    'decision_id', wire_id('dec', a.decision_id),
    'decided_by', a.decided_by, 'decided_at', a.decided_at, 'reason', a.reason,
    'executed_command_id', wire_id('cmd', a.executed_command_id));

-- Writes approvals: those that are asked for, those that were read and are written as they are now,
-- and those that end beside something else.
create function write_approvals(for_tenant uuid, attempt jsonb, writes jsonb) returns void
language plpgsql volatile as $$
declare
    with_command constant uuid := (attempt ->> 'command_id')::uuid;
    expected bigint;
    written  bigint;
begin
    if writes ? 'approvals' then
        insert into approvals
            (tenant_id, id, ticket_id, command_id, kind, state, operation, requested_by,
             requested_by_kind, required_roles, demands, request_sha256, request, facts_sha256,
             requested_at, expires_at, on_expiry, steps, decision_id)
        select for_tenant, row_id(a.id), row_id(a.ticket_id), with_command, a.kind, a.state,
               coalesce(a.operation, 'request_change'), a.requested_by,
               coalesce(a.requested_by_kind, 'person'), a.required_roles,
               coalesce(a.demands, '[]'), a.request_sha256, a.request, a.facts_sha256,
               a.requested_at, a.expires_at, coalesce(a.on_expiry, 'deny'),
               coalesce(a.steps, '[]'), (attempt ->> 'decision_id')::uuid
          from jsonb_to_recordset(writes -> 'approvals') as a (
               id text, ticket_id text, kind text, state text, operation text, requested_by text,
               requested_by_kind text, required_roles jsonb, demands jsonb, request_sha256 text,
               request jsonb, facts_sha256 text, requested_at timestamptz, expires_at timestamptz,
               on_expiry text, steps jsonb);
    end if;
    if writes ? 'approvals_written' then
        expected := jsonb_array_length(writes -> 'approvals_written');
        update approvals a
           set state = n.state, required_roles = n.required_roles, demands = n.demands,
               votes = n.votes, version = n.version, revision = n.revision, request = n.request,
               request_sha256 = n.request_sha256, facts_sha256 = n.facts_sha256,
               expires_at = n.expires_at, on_expiry = n.on_expiry, steps = n.steps,
               claimed_by = n.claim ->> 'by', claimed_until = (n.claim ->> 'until')::timestamptz,
               decided_by = n.decided_by, decided_at = n.decided_at, reason = n.reason,
               executed_command_id = row_id(n.executed_command_id),
               decided_command_id = case when n.state = a.state then a.decided_command_id
                                         else with_command end
          from jsonb_to_recordset(writes -> 'approvals_written') as n (
               id text, state text, required_roles jsonb, demands jsonb, votes jsonb,
               version integer, revision bigint, request jsonb, request_sha256 text,
               facts_sha256 text, expires_at timestamptz, on_expiry text, steps jsonb, claim jsonb,
               decided_by text, decided_at timestamptz, reason text, executed_command_id text)
         where a.tenant_id = for_tenant and a.id = row_id(n.id) and a.revision = n.revision - 1;
        get diagnostics written = row_count;
        if written <> expected then
            raise exception 'an approval is not at the revision that was decided on'
                using errcode = 'RD001';
        end if;
    end if;
    if writes ? 'approvals_settled' then
        expected := jsonb_array_length(writes -> 'approvals_settled');
        update approvals a
           set state = s.state, revision = a.revision + 1, steps = '[]', claimed_by = null,
               claimed_until = null, reason = coalesce(s.reason, a.reason),
               decided_at = coalesce(a.decided_at, s.at),
               executed_command_id = case when s.state = 'executed' then with_command end,
               decided_command_id = case when s.state = 'executed' then a.decided_command_id
                                         else with_command end
          from jsonb_to_recordset(writes -> 'approvals_settled') as s (
               id uuid, state text, reason text, at timestamptz)
         where a.tenant_id = for_tenant and a.id = s.id and a.state in ('pending', 'approved');
        get diagnostics written = row_count;
        if written <> expected then
            raise exception 'an approval that ends was not open' using errcode = 'RD001';
        end if;
    end if;
    if writes ? 'held' then
        insert into held_commands
            (tenant_id, approval_id, version, operation, command, sha256, proposer, command_id)
        select for_tenant, h.approval_id, h.version, h.operation, h.command, h.sha256, h.proposer,
               with_command
          from jsonb_to_record(writes -> 'held') as h (
               approval_id uuid, version integer, operation text, command text, sha256 text,
               proposer jsonb);
    end if;
    if writes ? 'comments' then
        insert into approval_comments
            (tenant_id, id, approval_id, command_id, author_id, text, created_at)
        select for_tenant, c.id, c.approval_id, with_command, attempt ->> 'actor_id', c.text,
               (attempt ->> 'at')::timestamptz
          from jsonb_to_recordset(writes -> 'comments') as c (id uuid, approval_id uuid, text text);
    end if;
end
$$;

-- Counts what software does by itself; a cap that is reached raises RD002 and nothing is written.
create function count_autonomous(for_tenant uuid, counted jsonb) returns void
language plpgsql volatile as $$
declare
    written bigint;
begin
    -- The row of all first, always: two commands of one hour wait for each other in one order.
    insert into autonomy_hours as h (tenant_id, hour, operation, commands, spent_cents)
    select for_tenant, c.hour, n.operation, 1, c.spends_cents
      from jsonb_to_record(counted) as c (
           hour timestamptz, operation text, spends_cents bigint, most integer,
           most_of_operation integer, most_cents bigint),
           lateral (values ('*', c.most, c.most_cents),
                           (c.operation, c.most_of_operation, c.most_cents))
               as n (operation, most, most_cents)
     where n.most > 0 and c.spends_cents <= n.most_cents
     order by n.operation
    on conflict (tenant_id, hour, operation) do update
       set commands = h.commands + 1, spent_cents = h.spent_cents + excluded.spent_cents
     where h.commands < case h.operation when '*' then (counted ->> 'most')::integer
                                         else (counted ->> 'most_of_operation')::integer end
       and h.spent_cents + excluded.spent_cents <= (counted ->> 'most_cents')::bigint;
    get diagnostics written = row_count;
    if written <> 2 then
        raise exception 'a cap on what software does in an hour is reached' using errcode = 'RD002';
    end if;
end
$$;

-- What the control plane has on record about what a filing names.
create function control_facts(for_tenant uuid, asks jsonb) returns jsonb
language sql volatile
return jsonb_build_object(
    'report', (select jsonb_build_object('kind', r.kind, 'subject', r.subject, 'figures', r.figures,
                      'made_at', r.made_at)
                 from reports r where r.tenant_id = for_tenant and r.sha256 = asks ->> 'report'),
    'bundle', (select jsonb_build_object('version', b.version, 'sha256', b.sha256)
                 from policy_bundles b where b.sha256 = asks ->> 'bundle' limit 1),
    'delegation', (select jsonb_build_object('from', d.from_actor, 'revoked', d.revoked_at is not null)
                     from delegations d
                    where d.tenant_id = for_tenant and d.id = (asks ->> 'delegation')::uuid));

-- Writes what a filing of the control plane led to. `filing` is what is to be kept, with `id` and
-- `version`.
create function write_control(
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
            insert into stage_changes
                (tenant_id, command_id, operation, risk, from_mode, to_mode, percent, report_sha256,
                 reason, decided_by, decided_at, effective_at, applied_at)
            values (for_tenant, with_command, body ->> 'operation', coalesce(body ->> 'risk', ''),
                    body ->> 'from', body ->> 'to', (body ->> 'percent')::smallint,
                    body ->> 'report_sha256', body ->> 'reason', by_actor, at,
                    coalesce((body ->> 'effective_at')::timestamptz, at),
                    case when body ->> 'effective_at' is null then at end);
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

revoke execute on function write_approvals, count_autonomous, control_facts, write_control from public;
grant execute on function write_approvals, count_autonomous, control_facts, write_control to dispatch_app;
