-- Tickets and the rows beside them.

-- `doc` is the ticket (contracts::ticket::Ticket): what `domain::evolve` folded. What indexes,
-- foreign keys and other logins see is generated from it, so that the two cannot disagree.
create table tickets (
    tenant_id    uuid not null references tenants,
    id           uuid not null,
    doc          jsonb not null,
    -- `seq` of the last event to the workflow: gapless, because this row is locked.
    event_seq    bigint not null check (event_seq >= 0),
    -- The end of the ticket's audit chain, and how many rows it has.
    chain_length bigint not null check (chain_length > 0),
    chain_head   bytea not null,
    state        text not null generated always as (doc ->> 'state') stored,
    version      bigint not null generated always as ((doc ->> 'version')::bigint) stored check (version > 0),
    priority     text not null generated always as (doc ->> 'priority') stored,
    template     text not null generated always as (doc ->> 'template') stored,
    site_id      uuid not null generated always as (row_id(doc ->> 'site_id')) stored,
    asset_id     uuid generated always as (row_id(doc ->> 'asset_id')) stored,
    contact_id   uuid generated always as (row_id(doc ->> 'contact_id')) stored,
    primary key (tenant_id, id),
    foreign key (tenant_id, site_id) references sites (tenant_id, id),
    foreign key (tenant_id, asset_id) references assets (tenant_id, id),
    foreign key (tenant_id, contact_id) references contacts (tenant_id, id),
    check (row_id(doc ->> 'id') = id and row_id(doc ->> 'tenant_id') = tenant_id)
) with (fillfactor = 80, toast_tuple_target = 4096);

-- Ids are UUIDv7, so their order is that of creation: the list's order and its cursor.
create index tickets_by_state on tickets (tenant_id, state, id);
create index tickets_by_site on tickets (tenant_id, site_id, id);

-- The visits of `doc`, for planning: who is busy when.
create table visits (
    tenant_id     uuid not null,
    id            uuid not null,
    ticket_id     uuid not null,
    number        integer not null check (number > 0),
    stage         text not null,
    technician_id uuid,
    starts_at     timestamptz,
    ends_at       timestamptz,
    eta           timestamptz,
    checked_in_at timestamptz,
    ended_at      timestamptz,
    primary key (tenant_id, id),
    unique (tenant_id, ticket_id, number),
    foreign key (tenant_id, ticket_id) references tickets (tenant_id, id),
    foreign key (tenant_id, technician_id) references technicians (tenant_id, id)
);

create index visits_open_by_technician on visits (tenant_id, technician_id)
    where ended_at is null and technician_id is not null;

-- What people wrote, and the only place where it is kept.
create table notes (
    tenant_id  uuid not null,
    id         uuid not null,
    ticket_id  uuid not null,
    command_id uuid not null,
    author_id  text not null,
    text       text not null,
    created_at timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, ticket_id) references tickets (tenant_id, id)
);

create index notes_by_ticket on notes (tenant_id, ticket_id, created_at);

create table proposals (
    tenant_id         uuid not null,
    id                uuid not null,
    ticket_id         uuid not null,
    command_id        uuid not null,
    kind              text not null,
    based_on_version  bigint not null check (based_on_version > 0),
    input             jsonb not null,
    input_sha256      text not null,
    advice            jsonb not null,
    recorded_at       timestamptz not null,
    paired_command_id uuid,
    paired_actor_id   text,
    paired_outcome    text,
    paired_at         timestamptz,
    primary key (tenant_id, id),
    foreign key (tenant_id, ticket_id) references tickets (tenant_id, id),
    check (num_nulls(paired_command_id, paired_actor_id, paired_outcome, paired_at) in (0, 4))
);

create index proposals_by_ticket on proposals (tenant_id, ticket_id, recorded_at, id);
create index proposals_open on proposals (tenant_id, ticket_id) where paired_at is null;

create table approvals (
    tenant_id          uuid not null,
    id                 uuid not null,
    ticket_id          uuid not null,
    command_id         uuid not null,
    kind               text not null,
    state              text not null check (state in ('pending', 'approved', 'rejected', 'withdrawn')),
    requested_by       text not null,
    required_roles     jsonb not null,
    request_sha256     text not null,
    request            jsonb not null,
    requested_at       timestamptz not null,
    decided_by         text,
    decided_at         timestamptz,
    reason             text,
    decided_command_id uuid,
    primary key (tenant_id, id),
    foreign key (tenant_id, ticket_id) references tickets (tenant_id, id),
    check ((state in ('approved', 'rejected')) = (decided_by is not null and decided_at is not null))
);

create index approvals_by_ticket on approvals (tenant_id, ticket_id, requested_at, id);

-- A warning or breach of a promise: once per clock, kind and revision.
create table sla_records (
    tenant_id    uuid not null,
    ticket_id    uuid not null,
    clock        text not null,
    kind         text not null,
    revision     integer not null,
    effective_at timestamptz not null,
    recorded_at  timestamptz not null,
    command_id   uuid not null,
    primary key (tenant_id, ticket_id, clock, kind, revision),
    foreign key (tenant_id, ticket_id) references tickets (tenant_id, id)
);

-- The next number of each gapless series. The row stays locked until the number is used or not.
create table invoice_counters (
    tenant_id uuid not null references tenants,
    series    text not null check (series in ('invoice', 'credit_note')),
    next      bigint not null default 1 check (next > 0),
    primary key (tenant_id, series)
);

select protect_tenant_rows(t) from unnest(array[
    'tickets', 'visits', 'notes', 'proposals', 'approvals', 'sla_records', 'invoice_counters']::regclass[]) t;

-- The checker asks whether a note is there, not what it says.
revoke select on notes from dispatch_maintenance;
grant select (tenant_id, id, ticket_id, command_id, author_id, created_at) on notes
    to dispatch_maintenance;

grant select, insert, update on tickets, visits, invoice_counters to dispatch_app;
grant select, insert on notes, sla_records to dispatch_app;
grant select, insert, update (paired_command_id, paired_actor_id, paired_outcome, paired_at)
    on proposals to dispatch_app;
grant select, insert, update (state, decided_by, decided_at, reason, decided_command_id)
    on approvals to dispatch_app;

-- The reconciler compares open tickets with running workflows.
grant select (tenant_id, id, state, version, event_seq) on tickets to dispatch_relay;
create policy of_all_tenants_for_delivery on tickets for select to dispatch_relay using (true);
