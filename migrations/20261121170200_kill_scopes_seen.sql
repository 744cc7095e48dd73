-- Whether anything that a kill switch is to stop was ever seen in this tenant: a switch over a ticket
-- that is not there, or over an agent by a wrong name, stops nothing, and whoever engages it has to
-- hear that.

-- Null for scopes that are never empty. An actor is software by what it was seen to be; a person or an
-- integration of that name is stopped by no switch. The first few of its attempts tell.
create function kill_scope_seen(for_tenant uuid, scope text) returns boolean
language sql stable
return case split_part(scope, ':', 1)
    when 'ticket' then exists (
        select from tickets t
         where t.tenant_id = for_tenant and t.id = row_id(substr(scope, 8)))
    when 'agent' then exists (
        select from (select k.command_id from idempotency_keys k
                      where k.tenant_id = for_tenant and k.actor_id = substr(scope, 7) limit 20) k
          join audit_events a on a.tenant_id = for_tenant and a.command_id = k.command_id
         where a.actor_kind in ('agent', 'workflow'))
    when 'channel' then exists (
        select from comms_messages m
         where m.tenant_id = for_tenant and m.channel = substr(scope, 9)
           and m.by_software is not null)
    end;
revoke execute on function kill_scope_seen from public;
grant execute on function kill_scope_seen to dispatch_app;

-- As before; what is new is `scope_seen`.
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
        else null;
    end case;
    return jsonb_build_object('known', known, 'absences', coalesce(away, '[]'), 'kill_switch', switch,
        'scope_seen', seen,
        'site_known', not asks ? 'at_site' or exists (
            select from sites s
             where s.tenant_id = for_tenant and s.id = (asks ->> 'at_site')::uuid));
end
$$;
