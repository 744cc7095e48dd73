-- Sites, assets, contacts and technicians get a code, a version and a way to be written; the kill
-- switch gets its row.

alter table sites add version bigint not null default 1 check (version > 0),
                  add active boolean not null default true;

-- The migration fills columns of all tenants' rows; only for that are the owner's rows not hidden.
alter table assets no force row level security;
alter table contacts no force row level security;
alter table technicians no force row level security;

-- A code names a thing in files and filters, for ever. Rows from before get one from their id.
alter table assets add code text check (code ~ '^[a-z][a-z0-9_]{0,63}$'),
                   add version bigint not null default 1 check (version > 0),
                   add active boolean not null default true;
update assets set code = wire_id('ast', id);
alter table assets alter code set not null, add unique (tenant_id, code);

alter table contacts add code text check (code ~ '^[a-z][a-z0-9_]{0,63}$'),
                     add version bigint not null default 1 check (version > 0);
-- Addresses are looked up, so they get the one spelling that the commands write.
update contacts set code = wire_id('con', id),
    phone = nullif(regexp_replace(regexp_replace(phone, '[[:space:]().-]', '', 'g'), '^00', '+'), ''),
    email = nullif(lower(regexp_replace(email, '[[:space:]]', '', 'g')), '');
alter table contacts alter code set not null, add unique (tenant_id, code);

alter table technicians add code text check (code ~ '^[a-z][a-z0-9_]{0,63}$'),
                        add version bigint not null default 1 check (version > 0);
update technicians set code = wire_id('tec', id);
alter table technicians alter code set not null, add unique (tenant_id, code);

alter table assets force row level security;
alter table contacts force row level security;
alter table technicians force row level security;

alter table technician_absences add reason text not null default 'away'
    check (reason ~ '^[a-z][a-z0-9_]{0,63}$');

-- Who sent a message: looked up by address.
create index contacts_by_phone on contacts (tenant_id, phone) where phone is not null;
create index contacts_by_email on contacts (tenant_id, email) where email is not null;

-- No row: never turned.
create table kill_switches (
    tenant_id  uuid primary key references tenants,
    engaged    boolean not null,
    -- Rises with each turn.
    generation bigint not null check (generation > 0),
    reason     text not null check (reason ~ '^[a-z][a-z0-9_]{0,63}$'),
    turned_by  text not null,
    turned_at  timestamptz not null,
    command_id uuid not null
);
select protect_tenant_rows('kill_switches');

grant insert, update on sites, assets, technicians to dispatch_app;
grant insert, delete on technician_absences to dispatch_app;
grant select, insert, update on contacts to dispatch_app;
grant select, insert, update on kill_switches to dispatch_app;
-- The checker compares versions and places; what is personal stays out of its sight.
grant select (code, site_id, version) on contacts to dispatch_maintenance;

-- What a filing depends on (domain::FilingFacts), with the thing locked. `asks` names the thing by
-- its code, or the technician whose absences matter, and the site where it is. Two first writes of
-- one code wait for each other on the advisory lock. Unlike a ticket's, the site and the technician
-- of a filing need not be active.
create function filing_facts(for_tenant uuid, asks jsonb, dry_run boolean) returns jsonb
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
              from kill_switches k where k.tenant_id = for_tenant;
        else null;
    end case;
    return jsonb_build_object('known', known, 'absences', coalesce(away, '[]'), 'kill_switch', switch,
        'site_known', not asks ? 'at_site' or exists (
            select from sites s
             where s.tenant_id = for_tenant and s.id = (asks ->> 'at_site')::uuid));
end
$$;

-- Writes what a filing led to. `filing` is the body with `id` and `version`.
create function write_filing(
    for_tenant uuid, with_command uuid, by_actor text, at timestamptz, operation text, filing jsonb)
returns void
language plpgsql volatile as $$
declare
    with_id constant uuid := (filing ->> 'id')::uuid;
    new_version constant bigint := (filing ->> 'version')::bigint;
    body constant jsonb := filing -> 'body';
    written bigint := 1;
begin
    case operation
        when 'upsert_site' then
            insert into sites as t (tenant_id, id, code, lat_e6, lon_e6, active, version)
            values (for_tenant, with_id, body ->> 'code', (body #>> '{location,lat_e6}')::integer,
                    (body #>> '{location,lon_e6}')::integer, (body ->> 'active')::boolean, 1)
            on conflict (tenant_id, code) do update
               set lat_e6 = excluded.lat_e6, lon_e6 = excluded.lon_e6, active = excluded.active,
                   version = new_version
             where t.id = with_id and t.version = new_version - 1;
        when 'upsert_asset' then
            insert into assets as t (tenant_id, id, code, site_id, kind, active, version)
            values (for_tenant, with_id, body ->> 'code', row_id(body ->> 'site_id'),
                    body ->> 'kind', (body ->> 'active')::boolean, 1)
            on conflict (tenant_id, code) do update
               set kind = excluded.kind, active = excluded.active, version = new_version
             where t.id = with_id and t.version = new_version - 1 and t.site_id = excluded.site_id;
        when 'upsert_contact' then
            insert into contacts as t
                (tenant_id, id, code, site_id, name, phone, email, street, version)
            values (for_tenant, with_id, body ->> 'code', row_id(body ->> 'site_id'),
                    body ->> 'name', body ->> 'phone', lower(body ->> 'email'), body ->> 'street', 1)
            on conflict (tenant_id, code) do update
               set site_id = excluded.site_id, name = excluded.name, phone = excluded.phone,
                   email = excluded.email, street = excluded.street, version = new_version
             where t.id = with_id and t.version = new_version - 1;
        when 'upsert_technician' then
            insert into technicians as t
                (tenant_id, id, code, contact_id, skills, base_lat_e6, base_lon_e6, calendar, active,
                 version)
            values (for_tenant, with_id, body ->> 'code', row_id(body ->> 'contact_id'),
                    array(select jsonb_array_elements_text(body -> 'skills')),
                    (body #>> '{home_base,lat_e6}')::integer, (body #>> '{home_base,lon_e6}')::integer,
                    body -> 'calendar', (body ->> 'active')::boolean, 1)
            on conflict (tenant_id, code) do update
               set contact_id = excluded.contact_id, skills = excluded.skills,
                   base_lat_e6 = excluded.base_lat_e6, base_lon_e6 = excluded.base_lon_e6,
                   calendar = excluded.calendar, active = excluded.active, version = new_version
             where t.id = with_id and t.version = new_version - 1;
        when 'record_absence' then
            insert into technician_absences (tenant_id, technician_id, starts_at, ends_at, reason)
            values (for_tenant, row_id(body ->> 'technician_id'),
                    (body #>> '{window,start}')::timestamptz, (body #>> '{window,end}')::timestamptz,
                    body ->> 'reason');
        when 'cancel_absence' then
            delete from technician_absences a
             where a.tenant_id = for_tenant and a.technician_id = row_id(body ->> 'technician_id')
               and a.starts_at = (body ->> 'starts_at')::timestamptz;
        when 'engage_kill_switch', 'release_kill_switch' then
            insert into kill_switches as k
                (tenant_id, engaged, generation, reason, turned_by, turned_at, command_id)
            values (for_tenant, operation = 'engage_kill_switch', new_version, body ->> 'reason',
                    by_actor, at, with_command)
            on conflict (tenant_id) do update
               set engaged = excluded.engaged, generation = excluded.generation,
                   reason = excluded.reason, turned_by = excluded.turned_by,
                   turned_at = excluded.turned_at, command_id = excluded.command_id
             where k.generation = new_version - 1;
        else
            raise exception 'nothing is written for %', operation;
    end case;
    get diagnostics written = row_count;
    if written <> 1 then
        raise exception 'what % writes is not at the version that was decided on', operation
            using errcode = 'RD001';
    end if;
end
$$;
