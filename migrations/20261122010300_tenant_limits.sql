-- How much a tenant may use (contracts::tenant::TenantLimits), as far as that is not what is usual in
-- the installation; null for all of that.
alter table tenants add limits jsonb check (jsonb_typeof(limits) = 'object');
grant update (limits) on tenants to dispatch_app;

create index tenants_with_limits on tenants (tenant_id) where limits is not null;

-- How many bytes are kept of a tenant: what people and providers said, and the policy bundles that it
-- uploaded. The maintenance login counts, beside the commands, and may not read what was said: the owner
-- of the tables adds the lengths up, within the tenant that it is told.
create function tenant_storage_bytes(for_tenant uuid) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, public as $$
begin
    perform set_config('app.tenant_id', for_tenant::text, true);
    return (select coalesce(sum(coalesce(octet_length(c.text), 0)
                                + coalesce(octet_length(c.raw), 0)), 0)
              from comms_contents c where c.tenant_id = for_tenant)
         + (select coalesce(sum(octet_length(b.archive)), 0)
              from policy_bundles b where b.by_tenant = for_tenant);
end
$$;

-- As before (20261121171200), and the limits.
create or replace function write_tenant(
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
           limits = case when body ? 'limits' then nullif(body -> 'limits', '{}') else t.limits end,
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

revoke execute on function tenant_storage_bytes
    from public, dispatch_app, dispatch_relay, dispatch_comms;
grant execute on function tenant_storage_bytes to dispatch_maintenance;
