-- A dispatch-api of before version 0.3 knows one kill switch, that of the tenant. Rows are one per scope
-- now, and without its scope it was told of any of them: of one that stops a single ticket, for example.
-- What is new is the condition on `scope`; newer ones read switches in `command_open`.
create or replace function filing_facts(for_tenant uuid, asks jsonb, dry_run boolean) returns jsonb
language plpgsql volatile as $$
declare
    thing constant text := asks ->> 'thing';
    named constant text := asks ->> 'code';
    of_technician constant uuid := (asks ->> 'absences_of')::uuid;
    known jsonb;
    away jsonb;
    switch jsonb;
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
        else null;
    end case;
    return jsonb_build_object('known', known, 'absences', coalesce(away, '[]'), 'kill_switch', switch,
        'site_known', not asks ? 'at_site' or exists (
            select from sites s
             where s.tenant_id = for_tenant and s.id = (asks ->> 'at_site')::uuid));
end
$$;
