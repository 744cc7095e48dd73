-- What every attempt leaves behind: a decision, an audit row, events, a stored answer.

-- One row about the installation.
create table deployment (
    only_row       boolean primary key default true check (only_row),
    -- Raised after the database was set back to an earlier copy.
    epoch          bigint not null default 1 check (epoch > 0),
    -- The policy bundle that decides; without one every command is refused.
    bundle_version text,
    bundle_sha256  text check (bundle_sha256 ~ '^[0-9a-f]{64}$'),
    check (num_nulls(bundle_version, bundle_sha256) in (0, 2))
);
insert into deployment default values;

create table policy_decisions (
    tenant_id         uuid not null,
    id                uuid not null,
    command_id        uuid not null,
    ticket_id         uuid,
    correlation_id    text not null,
    trace_id          text not null,
    operation         text not null,
    at                timestamptz not null,
    result            text not null,
    reasons           jsonb not null,
    obligations       jsonb not null,
    bundle_version    text not null,
    bundle_sha256     text not null,
    -- Canonical, free of personal data: the same input under the same bundle decides the same.
    input             text not null,
    evaluation_micros bigint not null,
    primary key (tenant_id, id)
);

-- The permanent timeline. A stream is a ticket, or an actor for attempts without a ticket; its rows
-- are numbered from 1 and chained by hash.
create table audit_events (
    tenant_id          uuid not null,
    stream             text not null,
    position           bigint not null check (position > 0),
    id                 uuid not null,
    ticket_id          uuid,
    command_id         uuid not null,
    decision_id        uuid not null,
    -- Over the decision's result, reasons, obligations, bundle and input: the chain covers them too.
    decision_sha256    text not null,
    bundle_sha256      text not null,
    request_id         text not null,
    correlation_id     text not null,
    trace_id           text not null,
    actor_id           text not null,
    actor_kind         text not null,
    actor_roles        jsonb not null,
    tool_name          text,
    operation          text not null,
    at                 timestamptz not null,
    refused            text,
    before             text,
    after              text,
    applied_to_version bigint not null,
    produced_version   bigint not null,
    payload            jsonb not null,
    changes            jsonb not null,
    -- sha256(hash before it || position || ' ' || canonical JSON of the columns above)
    chain_hash         bytea not null check (length(chain_hash) = 32),
    recorded_at        timestamptz not null default clock_timestamp(),
    primary key (tenant_id, stream, position),
    unique (tenant_id, command_id),
    foreign key (tenant_id, decision_id) references policy_decisions (tenant_id, id),
    foreign key (tenant_id, ticket_id) references tickets (tenant_id, id)
);

-- The sealer looks for what is new; rows come in this order, so a block range index does.
create index audit_events_by_time on audit_events using brin (recorded_at)
    with (pages_per_range = 16, autosummarize = on);

-- Ends of the chains that no ticket row carries.
create table audit_streams (
    tenant_id uuid not null,
    stream    text not null,
    length    bigint not null check (length > 0),
    head      bytea not null,
    primary key (tenant_id, stream)
);

-- Signed, chained lists of chain ends: what was sealed cannot be rewritten or cut off unseen.
create table audit_checkpoints (
    tenant_id uuid not null,
    number    bigint not null check (number > 0),
    at        timestamptz not null,
    -- [[stream, length, hash], …], sorted by stream
    heads     jsonb not null,
    prev_hash text not null,
    hash      text not null,
    key_id    text not null,
    signature text not null,
    primary key (tenant_id, number)
);

-- How far each chain is sealed: derived from the checkpoints, so that sealing need not read them.
create table audit_sealed_heads (
    tenant_id uuid not null,
    stream    text not null,
    length    bigint not null,
    primary key (tenant_id, stream)
);

-- Every row recorded before this moment is in a checkpoint. It moves only after a pass of the sealer
-- that found no more than it could take.
create table audit_sealer (
    only_row       boolean primary key default true check (only_row),
    sealed_through timestamptz not null default '-infinity'
);
insert into audit_sealer default values;

create table idempotency_keys (
    tenant_id     uuid not null,
    actor_id      text not null,
    operation     text not null,
    request_id    text not null,
    intent_sha256 bytea not null check (length(intent_sha256) = 32),
    command_id    uuid not null,
    decision_id   uuid not null,
    status        smallint not null,
    body          text not null,
    created_at    timestamptz not null default clock_timestamp(),
    primary key (tenant_id, actor_id, operation, request_id)
);

create table outbox_events (
    tenant_id      uuid not null,
    id             uuid not null,
    ticket_id      uuid not null,
    partition      smallint not null generated always as ((get_byte(uuid_send(ticket_id), 15) % 64)::smallint) stored,
    -- Set for events to the workflow; NULL for live readers only.
    seq            bigint check (seq > 0),
    event_type     text not null,
    event_version  smallint not null,
    payload        jsonb not null,
    level          jsonb,
    command_id     uuid not null,
    correlation_id text not null,
    traceparent    text not null,
    tracestate     text,
    occurred_at    timestamptz not null,
    created_at     timestamptz not null default clock_timestamp(),
    pending        boolean not null,
    attempts       integer not null default 0,
    last_error     text,
    parked_at      timestamptz,
    parked_reason  text,
    delivered_at   timestamptz,
    primary key (tenant_id, id),
    unique (tenant_id, ticket_id, seq),
    foreign key (tenant_id, ticket_id) references tickets (tenant_id, id),
    check (not pending or seq is not null),
    check (parked_at is null or pending),
    check (delivered_at is null or not pending)
) with (fillfactor = 90);

create index outbox_pending on outbox_events (partition, tenant_id, ticket_id, seq) where pending;

create function refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = 'RD001';
end
$$;

create trigger append_only before update or delete or truncate on audit_events
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on policy_decisions
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on audit_checkpoints
    for each statement execute function refuse_change();

-- Which relay delivers which partitions, and which relays live.
create table relay_leases (
    partition  smallint primary key check (partition between 0 and 63),
    holder     uuid,
    epoch      bigint not null default 0,
    expires_at timestamptz not null default '-infinity',
    -- The epoch of the database for which all open tickets of the partition were resynced.
    resynced_epoch bigint not null default 1
);
insert into relay_leases (partition) select generate_series(0, 63);

create table relays (
    holder     uuid primary key,
    expires_at timestamptz not null
);

select protect_tenant_rows(t) from unnest(array[
    'policy_decisions', 'audit_events', 'audit_streams', 'audit_checkpoints', 'audit_sealed_heads',
    'idempotency_keys', 'outbox_events']::regclass[]) t;

grant select on deployment to dispatch_app, dispatch_relay, dispatch_maintenance;
grant update (epoch) on deployment to dispatch_relay;

-- Nobody but the owner of the database may update or delete these, and a trigger stops him too.
grant select, insert on policy_decisions, audit_events, idempotency_keys, outbox_events to dispatch_app;
grant select, insert, update on audit_streams to dispatch_app;

grant select on outbox_events to dispatch_relay;
grant update (pending, attempts, last_error, parked_at, parked_reason, delivered_at)
    on outbox_events to dispatch_relay;
create policy of_all_tenants_for_delivery on outbox_events for select to dispatch_relay using (true);
create policy delivery on outbox_events for update to dispatch_relay using (true) with check (true);
grant select, update on relay_leases to dispatch_relay;
grant select, insert, update, delete on relays to dispatch_relay;

grant select on relay_leases, relays to dispatch_maintenance;
grant insert on audit_checkpoints to dispatch_maintenance;
grant insert, update on audit_sealed_heads to dispatch_maintenance;
grant select, update (sealed_through) on audit_sealer to dispatch_maintenance;
create policy sealing on audit_checkpoints for insert to dispatch_maintenance with check (true);
create policy sealing on audit_sealed_heads for insert to dispatch_maintenance with check (true);
create policy sealing_on on audit_sealed_heads for update to dispatch_maintenance using (true) with check (true);

-- Health checks compare what is applied with what they were built for.
grant select on _sqlx_migrations to dispatch_app, dispatch_relay, dispatch_maintenance;
