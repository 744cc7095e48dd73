-- A login that looks at what was recorded, of all tenants, and cannot write anything: for replaying
-- tickets and decisions. It sees no contact, note or message, and may run no function of ours.

grant select (tenant_id, slug) on tenants to dispatch_reader;
grant select on audit_events, policy_decisions, proposals, sla_records to dispatch_reader;
grant select on deployment, _sqlx_migrations to dispatch_reader;
grant select (sha256, version, archive) on policy_bundles to dispatch_reader;

create policy of_all_tenants_for_replay on tenants for select to dispatch_reader using (true);
create policy of_all_tenants_for_replay on audit_events for select to dispatch_reader using (true);
create policy of_all_tenants_for_replay on policy_decisions for select to dispatch_reader using (true);
create policy of_all_tenants_for_replay on proposals for select to dispatch_reader using (true);
create policy of_all_tenants_for_replay on sla_records for select to dispatch_reader using (true);

-- Postgres lets everybody run a new function until somebody thinks of closing it. What was open so
-- far stays open to the logins that had it; from now on a function is closed to all others, the
-- reader among them, without anybody having to think of it.
do $$
declare
    open_to_all regprocedure;
begin
    for open_to_all in
        select p.oid::regprocedure from pg_proc p
         where p.pronamespace = 'public'::regnamespace and exists (
            select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
             where a.grantee = 0 and a.privilege_type = 'EXECUTE')
    loop
        execute format(
            'grant execute on function %s to dispatch_app, dispatch_relay, dispatch_comms, dispatch_maintenance',
            open_to_all);
        execute format('revoke execute on function %s from public', open_to_all);
    end loop;
end
$$;
alter default privileges revoke execute on functions from public;
alter default privileges grant execute on functions
    to dispatch_app, dispatch_relay, dispatch_comms, dispatch_maintenance;
