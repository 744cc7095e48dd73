-- How a table that belongs to tenants is protected. Every later migration that creates one calls
-- this for it; `dispatch verify` finds a table that was forgotten.
--
-- The setting is local to a transaction. After one has ended it reads '' on that connection, not
-- NULL, and ''::uuid is an error: hence nullif. Without a tenant nothing is visible.
create function protect_tenant_rows(protected regclass) returns void
language plpgsql as $$
declare
    own_rows constant text := 'tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid';
begin
    execute format('alter table %s enable row level security', protected);
    execute format('alter table %s force row level security', protected);
    execute format('create policy of_one_tenant on %s to dispatch_owner, dispatch_app using (%s) with check (%s)',
                   protected, own_rows, own_rows);
    execute format('create policy of_all_tenants on %s for select to dispatch_maintenance using (true)', protected);
    execute format('grant select on %s to dispatch_maintenance', protected);
end
$$;

-- The id as it stands in JSON: `tkt_<32 hex>`.
create function wire_id(prefix text, id uuid) returns text
language sql immutable strict parallel safe
return prefix || '_' || replace(id::text, '-', '');

-- And back.
create function row_id(wire text) returns uuid
language sql immutable strict parallel safe
return substr(wire, 5)::uuid;
