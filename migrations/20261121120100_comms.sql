-- Messages and evidence.

-- A message without what people say or who they are: that stands in comms_contents, so that erasing
-- it will be one update there (no command does so yet). contracts::comms::CommsEnvelope is both.
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
create index comms_messages_by_time on comms_messages (tenant_id, received_at, id);
-- What a person has to place.
create index comms_messages_held on comms_messages (tenant_id, received_at, id)
    where ticket_id is null and direction = 'inbound';
create index comms_messages_by_contact on comms_messages (tenant_id, contact_id)
    where contact_id is not null;
create index tickets_by_contact on tickets (tenant_id, contact_id)
    where contact_id is not null and state <> 'CLOSED';

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

-- Where an inbound message could belong (domain::comms::RouteFacts), with what must not change until
-- it is placed locked: the provider's message, the peer, then the peer's open tickets by their id.
-- So a message that comes twice is taken once, two of one peer open one ticket, and no ticket ends
-- under a message that is about to be attached.
--
-- `message` says provider, provider_message_id, peer, kind (what sort of address: phone, email, web),
-- channels (those that share it) and site_id. A handle of a website means somebody only together
-- with its provider.
create function command_route(for_tenant uuid, message jsonb, dry_run boolean) returns jsonb
language plpgsql volatile as $$
declare
    from_provider constant text := message ->> 'provider';
    from_peer     constant text := message ->> 'peer';
    kind          constant text := message ->> 'kind';
    with_address  uuid[] := '{}';
    of_peer       uuid[];
    locked        uuid[] := '{}';
    seen          jsonb;
begin
    if not dry_run then
        perform pg_advisory_xact_lock(hashtextextended(concat_ws(chr(31), 'message', for_tenant,
            from_provider, message ->> 'provider_message_id'), 0));
    end if;
    select jsonb_build_object('message_id', wire_id('msg', m.id), 'ticket_id', wire_id('tkt', m.ticket_id))
      into seen from comms_messages m
     where m.tenant_id = for_tenant and m.provider = from_provider
       and m.provider_message_id = message ->> 'provider_message_id';
    if seen is not null then
        return jsonb_build_object('bundle', (select d.bundle_sha256 from deployment d), 'seen', seen,
                                  'contacts', '[]'::jsonb, 'tickets', '[]'::jsonb);
    end if;

    if not dry_run then
        perform pg_advisory_xact_lock(hashtextextended(concat_ws(chr(31), 'peer', for_tenant, kind,
            case when kind = 'web' then from_provider end, from_peer), 0));
    end if;
    if kind = 'phone' then
        with_address := array(select c.id from contacts c
                               where c.tenant_id = for_tenant and c.phone = from_peer);
    elsif kind = 'email' then
        with_address := array(select c.id from contacts c
                               where c.tenant_id = for_tenant and c.email = from_peer);
    end if;
    -- What was said on a ticket goes on in the one that it was merged into. While one is waited for,
    -- it may be merged into one that was not looked at: so the peer's tickets are read again until
    -- all of them are locked.
    for round in 1 .. 5 loop
        with recursive theirs (id) as (
            select t.id from tickets t
             where t.tenant_id = for_tenant and t.contact_id = any(with_address)
               and t.state <> 'CLOSED'
               and (t.state <> 'CANCELLED' or t.doc ->> 'merged_into' is not null)
            union
            select m.ticket_id from comms_messages m
             where m.tenant_id = for_tenant and m.contact_id = any(with_address)
            union
            select m.ticket_id from comms_contents c
              join comms_messages m on m.tenant_id = c.tenant_id and m.id = c.message_id
             where c.tenant_id = for_tenant and c.peer = from_peer
               and message -> 'channels' ? m.channel
               and (kind <> 'web' or m.provider = from_provider)),
        followed (id) as (
            select id from theirs
            union
            select row_id(t.doc ->> 'merged_into') from followed f
              join tickets t on t.tenant_id = for_tenant and t.id = f.id
             where t.doc ->> 'merged_into' is not null)
        select coalesce(array_agg(t.id order by t.id), '{}') into of_peer
          from followed f join tickets t on t.tenant_id = for_tenant and t.id = f.id
         where t.state not in ('CLOSED', 'CANCELLED');
        exit when dry_run or of_peer <@ locked;
        if round = 5 then
            raise exception 'the tickets of the peer are being merged' using errcode = '55P03';
        end if;
        perform from tickets t
          where t.tenant_id = for_tenant and t.id = any(of_peer)
          order by t.id for no key update;
        locked := locked || of_peer;
    end loop;

    return jsonb_build_object(
        'bundle', (select d.bundle_sha256 from deployment d),
        'site_active', (select s.active from sites s
                         where s.tenant_id = for_tenant and s.id = (message ->> 'site_id')::uuid),
        'contacts', (
            select coalesce(jsonb_agg(jsonb_build_object('id', wire_id('con', c.id),
                       'site_id', wire_id('sit', s.id))), '[]')
              from contacts c
              left join sites s on s.tenant_id = c.tenant_id and s.id = c.site_id and s.active
             where c.tenant_id = for_tenant and c.id = any(with_address)),
        'tickets', (
            select coalesce(jsonb_agg(jsonb_build_object('id', wire_id('tkt', t.id),
                       'site_id', wire_id('sit', t.site_id),
                       'contact_id', wire_id('con', t.contact_id),
                       'last_activity', greatest((t.doc ->> 'updated_at')::timestamptz,
                           (select max(m.received_at) from comms_messages m
                             where m.tenant_id = t.tenant_id and m.ticket_id = t.id)))), '[]')
              from tickets t
             where t.tenant_id = for_tenant and t.id = any(of_peer)
               and t.state not in ('CLOSED', 'CANCELLED')));
end
$$;
grant execute on function command_route to dispatch_app;

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
    insert into comms_queue (tenant_id, message_id, due_at, next_at)
    select for_tenant, m.id, m.due_at, m.due_at
      from jsonb_to_recordset(messages) as m (id uuid, direction text, due_at timestamptz)
     where m.direction = 'outbound';
end
$$;
