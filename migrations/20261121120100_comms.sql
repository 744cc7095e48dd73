-- Messages and evidence.

-- A message without what people say or who they are: that stands in comms_contents, so that erasing
-- it is one update there. contracts::comms::CommsEnvelope is both.
create table comms_messages (
    tenant_id           uuid not null references tenants,
    id                  uuid not null,
    ticket_id           uuid,
    direction           text not null check (direction in ('inbound', 'outbound')),
    channel             text not null,
    purpose             text,
    provider            text,
    provider_message_id text,
    contact_id          uuid,
    recipient           jsonb,
    routing             jsonb,
    only_while          jsonb,
    due_at              timestamptz,
    provider_time       timestamptz,
    received_at         timestamptz not null,
    correlation_id      text not null,
    traceparent         text not null,
    command_id          uuid not null,
    primary key (tenant_id, id),
    -- Kept as long as the message: longer than any provider tries again.
    unique (tenant_id, provider, provider_message_id),
    foreign key (tenant_id, ticket_id) references tickets (tenant_id, id),
    foreign key (tenant_id, contact_id) references contacts (tenant_id, id),
    check ((direction = 'inbound') = (provider is not null and provider_message_id is not null
                                      and routing is not null)),
    check ((direction = 'outbound') = (purpose is not null and recipient is not null
                                       and due_at is not null and only_while is not null))
);

create index comms_messages_by_ticket on comms_messages (tenant_id, ticket_id, received_at, id);
-- What a person has to place.
create index comms_messages_held on comms_messages (tenant_id, received_at, id)
    where ticket_id is null;

create table comms_contents (
    tenant_id  uuid not null,
    message_id uuid not null,
    -- Who sent it; outbound addresses are looked up when it is sent.
    peer       text,
    text       text,
    -- What the provider sent, byte for byte.
    raw        text,
    primary key (tenant_id, message_id),
    foreign key (tenant_id, message_id) references comms_messages (tenant_id, id)
);

create index comms_contents_by_peer on comms_contents (tenant_id, peer) where peer is not null;

create table evidence (
    tenant_id  uuid not null,
    id         uuid not null,
    ticket_id  uuid not null,
    command_id uuid not null,
    kind       text not null check (kind ~ '^[a-z][a-z0-9_]{0,63}$'),
    sha256     text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    media_type text not null,
    size_bytes bigint not null check (size_bytes > 0),
    taken_at   timestamptz,
    added_by   text not null,
    added_at   timestamptz not null,
    -- When the file was there and had this hash; no upload exists yet.
    verified_at timestamptz,
    primary key (tenant_id, id),
    foreign key (tenant_id, ticket_id) references tickets (tenant_id, id)
);

create index evidence_by_ticket on evidence (tenant_id, ticket_id, added_at, id);

select protect_tenant_rows(t)
  from unnest(array['comms_messages', 'comms_contents', 'evidence']::regclass[]) t;

-- The checker asks which messages there are, not who says what.
revoke select on comms_contents from dispatch_maintenance;
grant select (tenant_id, message_id) on comms_contents to dispatch_maintenance;

grant select, insert, update (ticket_id) on comms_messages to dispatch_app;
grant select, insert on comms_contents, evidence to dispatch_app;

-- Writes the messages of one attempt: taken in, or to be sent.
create function write_messages(for_tenant uuid, attempt jsonb, messages jsonb) returns void
language plpgsql volatile as $$
declare
    at constant timestamptz := (attempt ->> 'at')::timestamptz;
begin
    insert into comms_messages
        (tenant_id, id, ticket_id, direction, channel, purpose, provider, provider_message_id,
         contact_id, recipient, routing, only_while, due_at, provider_time, received_at,
         correlation_id, traceparent, command_id)
    select for_tenant, m.id, (attempt ->> 'ticket_id')::uuid, m.direction, m.channel, m.purpose,
           m.provider, m.provider_message_id, m.contact_id, m.recipient, m.routing, m.only_while,
           m.due_at, m.provider_time, at, attempt ->> 'correlation_id', attempt ->> 'traceparent',
           (attempt ->> 'command_id')::uuid
      from jsonb_to_recordset(messages) as m (
           id uuid, direction text, channel text, purpose text, provider text,
           provider_message_id text, contact_id uuid, recipient jsonb, routing jsonb,
           only_while jsonb, due_at timestamptz, provider_time timestamptz);
    insert into comms_contents (tenant_id, message_id, peer, text, raw)
    select for_tenant, m.id, m.peer, m.text, m.raw
      from jsonb_to_recordset(messages) as m (id uuid, peer text, text text, raw text);
end
$$;
