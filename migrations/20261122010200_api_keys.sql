-- Service accounts, which software calls with, and the hashes of their keys
-- (domain::filing::service_account).

create table service_accounts (
    tenant_id  uuid not null references tenants,
    id         uuid not null,
    -- A code names an account in files and records, for ever.
    code       text not null check (code ~ '^[a-z][a-z0-9_]{0,63}$'),
    -- Null after the tenant was erased: somebody may have put a person's name there.
    name       text check (length(name) between 1 and 100),
    kind       text not null check (kind in ('agent', 'integration', 'workflow')),
    roles      text[] not null,
    -- Acts in any tenant, which its caller names with each request.
    any_tenant boolean not null check (not any_tenant or kind = 'workflow'),
    state      text not null check (state in ('active', 'disabled')),
    -- Rises with each command about it and its keys.
    version    bigint not null check (version > 0),
    created_by text not null,
    created_at timestamptz not null,
    command_id uuid not null,
    primary key (tenant_id, id),
    unique (tenant_id, code)
);
select protect_tenant_rows('service_accounts');

create table api_keys (
    tenant_id    uuid not null,
    id           uuid not null,
    account_id   uuid not null,
    prefix       text not null check (prefix ~ '^[0-9A-Za-z]{10}$'),
    -- SHA-256 over the whole key. No two tenants have the same one.
    key_hash     bytea not null unique check (length(key_hash) = 32),
    -- None: all that the account may do.
    scopes       text[] not null,
    expires_at   timestamptz not null,
    created_by   text not null,
    created_at   timestamptz not null,
    revoked_at   timestamptz,
    replaced_by  uuid,
    last_used_at timestamptz,
    command_id   uuid not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, account_id) references service_accounts (tenant_id, id)
);
create index api_keys_of_account on api_keys (tenant_id, account_id, id);
select protect_tenant_rows('api_keys');

grant select, insert, update (name, roles, state, version, command_id) on service_accounts
    to dispatch_app;
grant select, insert, update (expires_at, revoked_at, replaced_by, last_used_at) on api_keys
    to dispatch_app;

-- Who calls is found out before it is known which tenant it is about. The owner of the tables looks, for
-- whoever has the very hash; as one cannot guess it, nobody sees another's rows by this.
create policy of_all_tenants_for_callers on service_accounts for select to dispatch_owner using (true);
create policy of_all_tenants_for_callers on api_keys for select to dispatch_owner using (true);
create function api_key_of_caller(hash bytea)
returns table (tenant_id uuid, id uuid, prefix text, key_hash bytea, scopes text[],
               expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz, code text,
               kind text, roles text[], any_tenant boolean, active boolean)
language sql stable security definer set search_path = pg_catalog, public
begin atomic
    select k.tenant_id, k.id, k.prefix, k.key_hash, k.scopes, k.expires_at, k.revoked_at,
           k.last_used_at, a.code, a.kind, a.roles, a.any_tenant,
           -- Of a tenant that was erased nothing is left that could serve all the others.
           a.state = 'active' and not (a.any_tenant and t.state = 'erased')
      from api_keys k
      join service_accounts a on a.tenant_id = k.tenant_id and a.id = k.account_id
      join tenants t on t.tenant_id = k.tenant_id
     where k.key_hash = hash;
end;

-- contracts::service_account::ServiceAccountSummary
create function service_account_json(a service_accounts) returns jsonb
language sql stable
return jsonb_build_object(
    'id', wire_id('sva', a.id), 'code', a.code, 'name', a.name, 'kind', a.kind,
    'roles', to_jsonb(a.roles), 'any_tenant', a.any_tenant, 'state', a.state,
    'version', a.version, 'created_by', a.created_by, 'created_at', a.created_at);

-- contracts::service_account::ApiKeyRecord
create function api_key_json(k api_keys) returns jsonb
language sql stable
return jsonb_build_object(
    'id', wire_id('key', k.id), 'service_account_id', wire_id('sva', k.account_id),
    'prefix', k.prefix, 'scopes', to_jsonb(k.scopes), 'expires_at', k.expires_at,
    'created_by', k.created_by, 'created_at', k.created_at, 'revoked_at', k.revoked_at,
    'replaced_by', wire_id('key', k.replaced_by), 'last_used_at', k.last_used_at);

-- What a command about a service account depends on (domain::AccountFacts).
create function service_account_facts(for_tenant uuid, named jsonb) returns jsonb
language sql stable
return (
    select jsonb_build_object(
               'id', a.id, 'code', a.code, 'kind', a.kind, 'roles', to_jsonb(a.roles),
               'any_tenant', a.any_tenant, 'state', a.state, 'version', a.version,
               'good_keys', (
                   select count(*) from api_keys g
                    where g.tenant_id = for_tenant and g.account_id = a.id
                      and g.revoked_at is null and g.expires_at > now()),
               'key', case when k.id is not null then jsonb_build_object(
                   'id', k.id, 'scopes', to_jsonb(k.scopes), 'expires_at', k.expires_at,
                   'revoked', k.revoked_at is not null) end)
      from service_accounts a
      left join api_keys k
        on k.tenant_id = for_tenant and k.account_id = a.id and k.id = (named ->> 'key')::uuid
     where a.tenant_id = for_tenant
       and case when named ? 'code' then a.code = named ->> 'code'
                when named ? 'id' then a.id = (named ->> 'id')::uuid
                else k.id is not null end);

-- As before (20261121170200_kill_scopes_seen); what is new is `account`. Commands about service accounts
-- of a tenant take one lock: they are rare.
create or replace function filing_facts(for_tenant uuid, asks jsonb, dry_run boolean) returns jsonb
language plpgsql volatile as $$
declare
    thing constant text := asks ->> 'thing';
    named constant text := asks ->> 'code';
    of_technician constant uuid := (asks ->> 'absences_of')::uuid;
    known jsonb;
    away jsonb;
    switch jsonb;
    seen boolean;
    account jsonb;
begin
    if not dry_run and thing is not null then
        perform pg_advisory_xact_lock(hashtextextended(
            concat_ws(chr(31), 'filing', for_tenant, thing, coalesce(named, of_technician::text)), 0));
    end if;
    case thing
        when 'site' then
            select jsonb_build_object('id', t.id, 'version', t.version) into known from sites t
             where t.tenant_id = for_tenant and t.code = named;
        when 'asset' then
            select jsonb_build_object('id', t.id, 'version', t.version, 'site', t.site_id) into known
              from assets t where t.tenant_id = for_tenant and t.code = named;
        when 'contact' then
            select jsonb_build_object('id', t.id, 'version', t.version) into known from contacts t
             where t.tenant_id = for_tenant and t.code = named;
        when 'technician' then
            select jsonb_build_object('id', t.id, 'version', t.version) into known from technicians t
             where t.tenant_id = for_tenant and t.code = named;
        when 'absence' then
            -- An absence has no version of its own: it is there or not. Known is its technician.
            select jsonb_build_object('id', t.id, 'version', t.version) into known from technicians t
             where t.tenant_id = for_tenant and t.id = of_technician;
            select coalesce(jsonb_agg(jsonb_build_object('start', a.starts_at, 'end', a.ends_at)
                       order by a.starts_at), '[]') into away
              from technician_absences a
             where a.tenant_id = for_tenant and a.technician_id = of_technician;
        when 'kill_switch' then
            select jsonb_build_object('engaged', k.engaged, 'generation', k.generation) into switch
              from kill_switches k where k.tenant_id = for_tenant and k.scope = 'tenant';
            seen := kill_scope_seen(for_tenant, asks ->> 'scope');
        when 'service_account' then
            account := service_account_facts(for_tenant, asks -> 'account');
        else null;
    end case;
    return jsonb_build_object('known', known, 'absences', coalesce(away, '[]'), 'kill_switch', switch,
        'scope_seen', seen, 'account', account,
        'site_known', not asks ? 'at_site' or exists (
            select from sites s
             where s.tenant_id = for_tenant and s.id = (asks ->> 'at_site')::uuid));
end
$$;

-- Writes what a command about a service account led to.
create function write_service_account(
    for_tenant uuid, with_command uuid, at timestamptz, operation text, filing jsonb) returns void
language plpgsql volatile as $$
declare
    about constant uuid := (filing ->> 'id')::uuid;
    new_version constant bigint := (filing ->> 'version')::bigint;
    body constant jsonb := filing -> 'body';
    key_id constant uuid := (body ->> 'key_id')::uuid;
    written bigint;
begin
    if operation = 'upsert_service_account' then
        insert into service_accounts as a
            (tenant_id, id, code, name, kind, roles, any_tenant, state, version, created_by, created_at,
             command_id)
        values (for_tenant, about, body ->> 'code', body ->> 'name', body ->> 'kind',
                array(select jsonb_array_elements_text(body -> 'roles')),
                (body ->> 'any_tenant')::boolean, body ->> 'state', 1, body ->> 'by', at, with_command)
        on conflict (tenant_id, code) do update
           set name = excluded.name, roles = excluded.roles, state = excluded.state,
               version = new_version, command_id = with_command
         where a.id = about and a.version = new_version - 1 and a.kind = excluded.kind
           and a.any_tenant = excluded.any_tenant;
    else
        update service_accounts a
           set state = coalesce(body ->> 'state', a.state), version = new_version,
               command_id = with_command
         where a.tenant_id = for_tenant and a.id = about and a.version = new_version - 1;
    end if;
    get diagnostics written = row_count;
    if written = 1 and operation in ('issue_api_key', 'rotate_api_key') then
        begin
            insert into api_keys (tenant_id, id, account_id, prefix, key_hash, scopes, expires_at,
                                  created_by, created_at, command_id)
            values (for_tenant, key_id, about, body ->> 'prefix', decode(body ->> 'key_hash', 'hex'),
                    array(select jsonb_array_elements_text(body -> 'scopes')),
                    (body ->> 'expires_at')::timestamptz, body ->> 'by', at, with_command);
        exception when unique_violation then
            raise exception 'the key is known' using errcode = 'RD004';
        end;
    end if;
    if written = 1 and operation = 'rotate_api_key' then
        update api_keys k
           set expires_at = (body ->> 'replaced_ends_at')::timestamptz, replaced_by = key_id
         where k.tenant_id = for_tenant and k.id = (body ->> 'replaces')::uuid
           and k.account_id = about and k.revoked_at is null;
        get diagnostics written = row_count;
    elsif written = 1 and operation = 'revoke_api_key' then
        update api_keys k set revoked_at = at
         where k.tenant_id = for_tenant and k.id = key_id and k.account_id = about
           and k.revoked_at is null;
        get diagnostics written = row_count;
    end if;
    if written <> 1 then
        raise exception 'what % writes is not at the version that was decided on', operation
            using errcode = 'RD001';
    end if;
end
$$;

-- As before (20261121171200_tenants); what is new is that accounts lose their names.
create or replace function erase_tenant_rows(for_tenant uuid) returns void
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
    update service_accounts a set name = null where a.tenant_id = for_tenant;
end
$$;

revoke execute on function api_key_of_caller, service_account_json, api_key_json,
    service_account_facts, write_service_account
    from public, dispatch_relay, dispatch_comms, dispatch_maintenance;
grant execute on function api_key_of_caller, service_account_json, api_key_json,
    service_account_facts, write_service_account to dispatch_app;
