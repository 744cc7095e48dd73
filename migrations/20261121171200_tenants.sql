-- The life of a tenant (domain::filing::tenant): where it stands, and what it is set up with besides
-- its settings.

alter table tenants
    add state       text not null default 'active'
                    check (state in ('active', 'suspended', 'deleting', 'erased')),
    -- Why it stands there, and since when.
    add reason      text check (reason ~ '^[a-z][a-z0-9_]{0,63}$'),
    add since       timestamptz not null default now(),
    -- From when on it may be erased.
    add erase_after timestamptz,
    -- Rises with each command about it.
    add version     bigint not null default 1 check (version > 0),
    -- Apart from the settings: a dispatch-api of before reads those strictly.
    add locale      text not null default 'en',
    -- Names of incident templates; null for all of the bundle.
    add templates   jsonb check (jsonb_typeof(templates) = 'array'),
    add command_id  uuid,
    add check ((state = 'deleting') = (erase_after is not null));

-- The owner of the table reads past its own policy here: the rows are of all tenants.
alter table tenants no force row level security;
update tenants set since = created_at;
alter table tenants force row level security;

grant insert, update (settings, state, reason, since, erase_after, version, locale, templates,
                      command_id) on tenants to dispatch_app;
-- A copy of everything that is kept of a tenant has its checkpoints.
grant select on audit_checkpoints, audit_sealed_heads to dispatch_app;
-- Relay and sender leave a tenant alone that is not active.
grant select (state) on tenants to dispatch_relay;
grant select (tenant_id, state) on tenants to dispatch_comms;
create policy of_all_tenants_for_sending on tenants for select to dispatch_comms using (true);

-- The tenants of the installation, for whoever runs it: the one window of the application login
-- through the rows of others, and no wider than a list. Its policies show it its own tenant alone, so
-- the owner looks, who may look at this table and at no other.
create policy of_all_tenants_for_lists on tenants for select to dispatch_owner using (true);
create function tenants_of_installation(after_slug text, in_state text, most integer)
returns table (tenant_id uuid, slug text, state text, since timestamptz, reason text,
               erase_after timestamptz)
language sql stable security definer set search_path = pg_catalog, public
begin atomic
    select t.tenant_id, t.slug, t.state, t.since, t.reason, t.erase_after from tenants t
     where t.slug > coalesce(after_slug, '') and t.state = coalesce(in_state, t.state)
     order by t.slug limit most;
end;

-- Every command stands between two turns of its tenant: it shares this lock, a turn takes it alone, and
-- the row is read after it. So nothing that read "active" commits after a suspension. It is the first
-- lock of a command. A trial takes none, nor does a command of a tenant that is not active: it is refused
-- anyway, and a turn may take long.
create function tenant_gate(for_tenant uuid, turns boolean, dry_run boolean) returns jsonb
language plpgsql volatile as $$
begin
    if turns and not dry_run then
        perform pg_advisory_xact_lock(hashtextextended('tenant ' || for_tenant, 0));
    elsif not dry_run and exists (
        select from tenants t where t.tenant_id = for_tenant and t.state = 'active') then
        perform pg_advisory_xact_lock_shared(hashtextextended('tenant ' || for_tenant, 0));
    end if;
    return (
        select jsonb_build_object('slug', t.slug, 'state', t.state, 'version', t.version,
                   'erase_after', t.erase_after, 'templates', t.templates)
          from tenants t where t.tenant_id = for_tenant);
end
$$;

-- Of a tenant that was erased nothing is read any more, but by whoever runs the installation.
create function tenant_read() returns void
language plpgsql stable as $$
begin
    if exists (select from tenants t
                where t.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
                  and t.state = 'erased') then
        raise exception 'the tenant was erased' using errcode = 'RD003';
    end if;
end
$$;

-- Writes what a command about a tenant led to. A tenant that is made has rows of its own from then on,
-- while the command stands in the records of whoever made it.
create function write_tenant(
    for_tenant uuid, with_command uuid, at timestamptz, operation text, filing jsonb) returns void
language plpgsql volatile as $$
declare
    about constant uuid := (filing ->> 'id')::uuid;
    new_version constant bigint := (filing ->> 'version')::bigint;
    body constant jsonb := filing -> 'body';
    written bigint;
begin
    if operation = 'create_tenant' then
        perform set_config('app.tenant_id', about::text, true);
        begin
            insert into tenants (tenant_id, slug, settings, locale, templates, state, since,
                                 created_at, version, command_id)
            values (about, body ->> 'slug', body -> 'settings', body ->> 'locale',
                    nullif(body -> 'templates', 'null'), body ->> 'state', at, at, new_version,
                    with_command);
        exception when unique_violation then
            raise exception 'the slug is taken' using errcode = 'RD004';
        end;
        perform set_config('app.tenant_id', for_tenant::text, true);
        return;
    end if;
    if about <> for_tenant then
        raise exception 'a command about another tenant' using errcode = 'RD001';
    end if;
    if operation = 'erase_tenant' then
        perform erase_tenant_rows(for_tenant);
    end if;
    update tenants t
       set state = body ->> 'state',
           settings = coalesce(body -> 'settings', t.settings),
           locale = coalesce(body ->> 'locale', t.locale),
           templates = case when body ? 'settings' then nullif(body -> 'templates', 'null')
                            else t.templates end,
           reason = case when body ? 'since' then body ->> 'reason' else t.reason end,
           since = coalesce((body ->> 'since')::timestamptz, t.since),
           erase_after = case when body ? 'erase_after' then (body ->> 'erase_after')::timestamptz
                              else t.erase_after end,
           version = new_version, command_id = with_command
     where t.tenant_id = for_tenant and t.version = new_version - 1;
    get diagnostics written = row_count;
    if written <> 1 then
        raise exception 'what % writes is not at the version that was decided on', operation
            using errcode = 'RD001';
    end if;
    -- Those that were refused meanwhile try again; those of a tenant that was erased look, and end.
    if operation in ('resume_tenant', 'erase_tenant') then
        insert into control_events (for_tenant, kind, command_id, created_at)
        values (for_tenant, 'tenant', with_command, at);
    end if;
end
$$;

alter table control_events drop constraint control_events_kind_check,
    add constraint control_events_kind_check
        check (kind in ('kill_switch', 'stage', 'bundle', 'tenant'));

-- Erases what is personal of a tenant whose time of grace is over; its rows and chains stay. The owner
-- of the tables does it, within the tenant that the transaction is bound to, so that dispatch-api needs
-- no right to change what people wrote.
--
-- What stays: ids, codes, states, times, amounts, the places of sites (the audit log names them), who
-- acted (subjects of tokens), hashes.
create function erase_tenant_rows(for_tenant uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public as $$
begin
    -- The time of grace by the database's clock too: nothing brings these rows back.
    if not exists (select from tenants t where t.tenant_id = for_tenant
                      and t.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
                      and t.state = 'deleting' and t.erase_after <= clock_timestamp()) then
        raise exception 'the tenant is not to be erased' using errcode = 'RD001';
    end if;
    update contacts c set name = null, phone = null, email = null, street = null
     where c.tenant_id = for_tenant;
    update comms_contents c set peer = null, text = null, raw = null where c.tenant_id = for_tenant;
    -- It may be an address.
    update comms_messages m set provider_message_id = m.id::text
     where m.tenant_id = for_tenant and m.provider_message_id is not null;
    update comms_queue q
       set state = 'withdrawn', last_result = 'tenant_erased', leased_by = null, lease_until = null,
           ended_at = clock_timestamp()
     where q.tenant_id = for_tenant and q.state = 'queued';
    update notes n set text = '' where n.tenant_id = for_tenant;
    update approval_comments c set text = '' where c.tenant_id = for_tenant;
    update held_commands h set command = '{}' where h.tenant_id = for_tenant;
    -- Where technicians start from, often their home, and why they are away.
    update technicians t set base_lat_e6 = 0, base_lon_e6 = 0 where t.tenant_id = for_tenant;
    update technician_absences a set reason = 'erased' where a.tenant_id = for_tenant;
    -- As advisors were told of them. The recorded hash stays that of what they were told.
    update proposals p
       set input = jsonb_set(p.input, '{candidates}', (
               select coalesce(jsonb_agg(
                          c || '{"base": {"lat_e6": 0, "lon_e6": 0}, "absent": []}'), '[]')
                 from jsonb_array_elements(p.input -> 'candidates') c))
     where p.tenant_id = for_tenant and jsonb_typeof(p.input -> 'candidates') = 'array';
    update delegations d set reason = 'erased' where d.tenant_id = for_tenant;
end
$$;

-- The last look before a message leaves (comms_begin), in the sender: a tenant that is not active sends
-- nothing. It shares the lock of commands, so a suspension waits for tries that have begun, and finds
-- them in the ledger. Held back a message stays queued.
create function comms_begin_if_active(
    for_tenant uuid, about uuid, worker uuid, lease interval, to_endpoint text, keyed boolean,
    if_unknown text)
returns jsonb
language plpgsql volatile as $$
begin
    if exists (select from tenants t where t.tenant_id = for_tenant and t.state = 'active') then
        perform pg_advisory_xact_lock_shared(hashtextextended('tenant ' || for_tenant, 0));
    end if;
    if exists (select from tenants t where t.tenant_id = for_tenant and t.state <> 'active') then
        if not comms_settle(for_tenant, about, worker, 'queued', 'tenant_suspended', '5 seconds') then
            return '{"begun": "not_ours"}';
        end if;
        return '{"begun": "held", "scope": "tenant_suspended"}';
    end if;
    return comms_begin(for_tenant, about, worker, lease, to_endpoint, keyed, if_unknown);
end
$$;

revoke execute on function tenants_of_installation, tenant_gate, tenant_read, write_tenant,
    erase_tenant_rows, comms_begin_if_active
    from public, dispatch_relay, dispatch_comms, dispatch_maintenance;
grant execute on function tenants_of_installation, tenant_gate, tenant_read, write_tenant,
    erase_tenant_rows to dispatch_app;
grant execute on function comms_begin_if_active to dispatch_comms;
