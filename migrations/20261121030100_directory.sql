-- What a tenant has before the first ticket: settings, places, things, people.

create table tenants (
    tenant_id  uuid primary key,
    slug       text not null unique check (slug ~ '^[a-z][a-z0-9_]{0,63}$'),
    -- contracts::schedule::TenantSettings
    settings   jsonb not null,
    created_at timestamptz not null default now()
);

create table sites (
    tenant_id uuid not null references tenants,
    id        uuid not null,
    code      text not null check (code ~ '^[a-z][a-z0-9_]{0,63}$'),
    -- Millionths of a degree, WGS 84.
    lat_e6    integer not null check (lat_e6 between -90000000 and 90000000),
    lon_e6    integer not null check (lon_e6 between -180000000 and 180000000),
    primary key (tenant_id, id),
    unique (tenant_id, code)
);

create table assets (
    tenant_id uuid not null,
    id        uuid not null,
    site_id   uuid not null,
    kind      text not null check (kind ~ '^[a-z][a-z0-9_]{0,63}$'),
    primary key (tenant_id, id),
    foreign key (tenant_id, site_id) references sites (tenant_id, id)
);

-- The only table with names, phones and streets. Everything else refers to a row of it by id, so
-- that erasing a person is one update here.
create table contacts (
    tenant_id uuid not null references tenants,
    id        uuid not null,
    site_id   uuid,
    name      text,
    phone     text,
    email     text,
    street    text,
    primary key (tenant_id, id),
    foreign key (tenant_id, site_id) references sites (tenant_id, id)
);

create table technicians (
    tenant_id   uuid not null references tenants,
    id          uuid not null,
    -- Their name and phone.
    contact_id  uuid not null,
    skills      text[] not null default '{}',
    base_lat_e6 integer not null check (base_lat_e6 between -90000000 and 90000000),
    base_lon_e6 integer not null check (base_lon_e6 between -180000000 and 180000000),
    -- contracts::schedule::WorkCalendar
    calendar    jsonb not null,
    active      boolean not null default true,
    primary key (tenant_id, id),
    foreign key (tenant_id, contact_id) references contacts (tenant_id, id)
);

create table technician_absences (
    tenant_id     uuid not null,
    technician_id uuid not null,
    starts_at     timestamptz not null,
    ends_at       timestamptz not null check (ends_at > starts_at),
    primary key (tenant_id, technician_id, starts_at),
    foreign key (tenant_id, technician_id) references technicians (tenant_id, id)
);

select protect_tenant_rows(t) from unnest(array[
    'tenants', 'sites', 'assets', 'contacts', 'technicians', 'technician_absences']::regclass[]) t;

grant select on tenants, sites, assets, technicians, technician_absences to dispatch_app;
-- Whether a contact exists, and nothing about them.
grant select (tenant_id, id) on contacts to dispatch_app;
-- And nothing about them to the checker either, which has no question about people.
revoke select on contacts from dispatch_maintenance;
grant select (tenant_id, id) on contacts to dispatch_maintenance;
