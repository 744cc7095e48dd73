-- The way of an outbound message to its receiver: a queue, and a ledger of what was tried.

-- One row per outbound message, written with it.
create table comms_queue (
    tenant_id      uuid not null,
    message_id     uuid not null,
    state          text not null default 'queued'
                   check (state in ('queued', 'sent', 'withdrawn', 'failed')),
    due_at         timestamptz not null,
    -- Not before; later than due_at after a try that failed.
    next_at        timestamptz not null,
    attempts       integer not null default 0 check (attempts >= 0),
    -- Which sender has it, and until when. One that died lets go by itself.
    leased_by      uuid,
    lease_until    timestamptz,
    ended_at       timestamptz,
    -- What the last try met, or why there is none.
    last_result    text check (last_result ~ '^[a-z][a-z0-9_]{0,63}$'),
    -- Whether the receiver of the last try acts on a key once.
    receiver_keyed boolean,
    primary key (tenant_id, message_id),
    foreign key (tenant_id, message_id) references comms_messages (tenant_id, id),
    check ((state = 'queued') = (ended_at is null)),
    check (num_nulls(leased_by, lease_until) in (0, 2)),
    check (lease_until is null or state = 'queued')
) with (fillfactor = 85);

create index comms_queue_waiting on comms_queue (next_at) where state = 'queued';
-- What a person has to look at.
create index comms_queue_failed on comms_queue (ended_at) where state = 'failed';

-- Every try, written before it is made: one without an end was cut off, and nobody knows whether
-- the receiver has the message.
create table comms_attempts (
    tenant_id      uuid not null,
    message_id     uuid not null,
    attempt        integer not null check (attempt > 0),
    -- What the receiver knows the message by: the same in each try.
    key            text not null,
    endpoint       text not null check (endpoint ~ '^[a-z][a-z0-9_]{0,63}$'),
    receiver_keyed boolean not null,
    -- What was to be done if the outcome stays unknown.
    on_unknown     text not null check (on_unknown in ('retry', 'give_up')),
    at             timestamptz not null,
    ended_at       timestamptz,
    result         text check (result ~ '^[a-z][a-z0-9_]{0,63}$'),
    http_status    smallint check (http_status between 100 and 999),
    -- The receiver may have taken it, and we cannot tell.
    ambiguous      boolean,
    primary key (tenant_id, message_id, attempt),
    foreign key (tenant_id, message_id) references comms_queue (tenant_id, message_id),
    check (num_nulls(ended_at, result, ambiguous) in (0, 3)),
    check (http_status is null or ended_at is not null)
);

select protect_tenant_rows(t) from unnest(array['comms_queue', 'comms_attempts']::regclass[]) t;

-- dispatch-api queues a message and shows how far it got.
grant select, insert on comms_queue to dispatch_app;
grant select on comms_attempts to dispatch_app;

-- The sender serves all tenants, and sees of their rows what a message needs: where it goes, what it
-- says, and whether it is still wanted. Of people it sees addresses, no names.
grant select (tenant_id, id, ticket_id, direction, channel, purpose, recipient, only_while, due_at,
              correlation_id) on comms_messages to dispatch_comms;
grant select (tenant_id, message_id, text) on comms_contents to dispatch_comms;
grant select (tenant_id, id, phone, email) on contacts to dispatch_comms;
grant select (tenant_id, id, state) on approvals to dispatch_comms;
grant select (tenant_id, id, doc, state, version, priority, template, due_at, waiting_for)
    on tickets to dispatch_comms;
grant select (tenant_id, generation) on kill_switches to dispatch_comms;
grant select on comms_queue, comms_attempts to dispatch_comms;
grant update (state, next_at, attempts, leased_by, lease_until, ended_at, last_result,
              receiver_keyed) on comms_queue to dispatch_comms;
grant insert on comms_attempts to dispatch_comms;
grant update (ended_at, result, http_status, ambiguous) on comms_attempts to dispatch_comms;
grant select on deployment, _sqlx_migrations to dispatch_comms;

create policy of_all_tenants_for_sending on comms_messages for select to dispatch_comms using (true);
create policy of_all_tenants_for_sending on comms_contents for select to dispatch_comms using (true);
create policy of_all_tenants_for_sending on contacts for select to dispatch_comms using (true);
create policy of_all_tenants_for_sending on approvals for select to dispatch_comms using (true);
create policy of_all_tenants_for_sending on tickets for select to dispatch_comms using (true);
create policy of_all_tenants_for_sending on kill_switches for select to dispatch_comms using (true);
create policy of_all_tenants_for_sending on comms_queue for select to dispatch_comms using (true);
create policy sending on comms_queue for update to dispatch_comms using (true) with check (true);
create policy of_all_tenants_for_sending on comms_attempts for select to dispatch_comms using (true);
create policy sending on comms_attempts for insert to dispatch_comms with check (true);
create policy sending_ended on comms_attempts for update to dispatch_comms using (true) with check (true);

-- Takes messages whose time has come. Senders skip what another is just taking, and so take them in
-- no order: each message stands for itself, a notice is withdrawn when it is no longer true, and a
-- message that has to be tried again is overtaken by others anyway.
create function comms_claim(worker uuid, batch integer, lease interval)
returns table (tenant_id uuid, message_id uuid, channel text, due_at timestamptz,
               attempts integer, "now" timestamptz, open_attempt integer, open_endpoint text,
               open_keyed boolean, open_retry boolean)
language sql volatile as $$
    with waiting as (
        select q.tenant_id, q.message_id from comms_queue q
         where q.state = 'queued' and q.next_at <= now()
           and (q.lease_until is null or q.lease_until <= now())
         order by q.next_at limit batch for update skip locked),
    taken as (
        update comms_queue q set leased_by = worker, lease_until = clock_timestamp() + lease
          from waiting w
         where q.tenant_id = w.tenant_id and q.message_id = w.message_id
        returning q.tenant_id, q.message_id, q.due_at, q.attempts)
    select t.tenant_id, t.message_id, m.channel, t.due_at, t.attempts, now(), a.attempt, a.endpoint,
           a.receiver_keyed, a.on_unknown = 'retry'
      from taken t
      join comms_messages m on m.tenant_id = t.tenant_id and m.id = t.message_id
      left join comms_attempts a on a.tenant_id = t.tenant_id and a.message_id = t.message_id
                                and a.ended_at is null
$$;

-- Why a message is no longer wanted; NULL while it is (contracts::comms::OnlyWhile).
create function comms_unwanted(for_tenant uuid, about uuid) returns text
language plpgsql volatile as $$
declare
    wanted  jsonb;
    subject uuid;
    found_state text;
    found_doc jsonb;
begin
    select m.only_while, m.ticket_id into wanted, subject from comms_messages m
     where m.tenant_id = for_tenant and m.id = about;
    if wanted ->> 'only' in ('ticket_open', 'ticket_in', 'clock_running') then
        select t.state, t.doc into found_state, found_doc from tickets t
         where t.tenant_id = for_tenant and t.id = subject;
    end if;
    case wanted ->> 'only'
        when 'ticket_open' then
            return case when found_state is null or found_state in ('CLOSED', 'CANCELLED')
                        then 'ticket_ended' end;
        when 'ticket_in' then
            return case when found_state is null or not wanted -> 'states' ? found_state
                        then 'ticket_moved_on' end;
        when 'approval_pending' then
            return case (select a.state from approvals a
                          where a.tenant_id = for_tenant and a.id = row_id(wanted ->> 'approval_id'))
                   when 'pending' then null
                   when 'withdrawn' then 'approval_withdrawn'
                   else 'approval_decided' end;
        when 'clock_running' then
            return case when not exists (
                       select from jsonb_to_recordset(found_doc -> 'sla') as c (
                              name text, revision bigint, phase text)
                        where c.name = wanted ->> 'clock' and c.phase = 'running'
                          and c.revision = (wanted ->> 'revision')::bigint)
                   then 'clock_stopped' end;
        when 'kill_generation' then
            return case when (select k.generation from kill_switches k
                               where k.tenant_id = for_tenant)
                             is distinct from (wanted ->> 'generation')::bigint
                   then 'kill_switch_turned' end;
        -- Of a later version: rather not at all than against a condition.
        else
            return 'unknown_condition';
    end case;
end
$$;

-- The last look before a message leaves: still ours, still wanted, still an address. Then the try is
-- in the ledger, and the caller commits before it sends.
create function comms_begin(for_tenant uuid, about uuid, worker uuid, lease interval,
                            to_endpoint text, keyed boolean, if_unknown text)
returns jsonb
language plpgsql volatile as $$
declare
    message record;
    address text;
    number  integer;
    reason  text;
    at      timestamptz;
begin
    perform from comms_queue q
      where q.tenant_id = for_tenant and q.message_id = about and q.state = 'queued'
        and q.leased_by = worker and q.lease_until > clock_timestamp()
        for update;
    if not found then
        return '{"begun": "not_ours"}';
    end if;
    reason := comms_unwanted(for_tenant, about);
    if reason is not null then
        perform comms_settle(for_tenant, about, worker, 'withdrawn', reason, null);
        return jsonb_build_object('begun', 'withdrawn', 'reason', reason);
    end if;
    select m.ticket_id, m.channel, m.purpose, m.recipient, m.only_while, m.due_at, m.correlation_id,
           c.text, t.state, t.version, t.priority, t.template, t.waiting_for,
           t.due_at as ticket_due_at
      into strict message
      from comms_messages m
      left join comms_contents c on c.tenant_id = m.tenant_id and c.message_id = m.id
      left join tickets t on t.tenant_id = m.tenant_id and t.id = m.ticket_id
     where m.tenant_id = for_tenant and m.id = about;
    if message.recipient ->> 'to' = 'contact' then
        -- All that is white space to contracts::PeerAddress, whatever the database's locale.
        select regexp_replace(
                   case when message.channel in ('sms', 'whatsapp', 'voice') then c.phone
                        when message.channel = 'email' then c.email end,
                   '[\s\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]', '', 'g')
          into address from contacts c
         where c.tenant_id = for_tenant and c.id = row_id(message.recipient ->> 'contact_id');
        if address is null or octet_length(address) not between 1 and 254
           or address ~ '[\u0001-\u001f\u007f-\u009f]' then
            perform comms_settle(for_tenant, about, worker, 'failed', 'no_address', null);
            return '{"begun": "no_address"}';
        end if;
    end if;
    at := clock_timestamp();
    update comms_queue q
       set attempts = q.attempts + 1, receiver_keyed = keyed, lease_until = at + lease
     where q.tenant_id = for_tenant and q.message_id = about
    returning q.attempts into number;
    insert into comms_attempts (tenant_id, message_id, attempt, key, endpoint, receiver_keyed,
                                on_unknown, at)
    values (for_tenant, about, number, wire_id('msg', about), to_endpoint, keyed, if_unknown, at);
    return jsonb_build_object(
        'begun', 'sending', 'attempt', number, 'at', at,
        'may_have_it', exists (
            select from comms_attempts a
             where a.tenant_id = for_tenant and a.message_id = about and a.endpoint = to_endpoint
               and a.ambiguous),
        'ticket_id', wire_id('tkt', message.ticket_id),
        'channel', message.channel, 'purpose', message.purpose,
        -- contracts::comms::WebhookRecipient: an address in the place of the person.
        'recipient', case when address is null then message.recipient
                          else jsonb_build_object('to', 'address', 'address', address) end,
        'only_while', message.only_while, 'due_at', message.due_at,
        'correlation_id', message.correlation_id, 'text', message.text,
        'ticket', case when message.state is not null then jsonb_build_object(
            'state', message.state, 'version', message.version, 'priority', message.priority,
            'template', message.template, 'waiting_for', message.waiting_for,
            'due_at', message.ticket_due_at,
            'link', '/api/v1/tickets/' || wire_id('tkt', message.ticket_id)) end);
end
$$;

-- Ends a try, and says what becomes of the message. False when it is not this sender's any more:
-- then another has judged the try, and this one's news comes too late.
create function comms_finish(for_tenant uuid, about uuid, worker uuid, number integer,
                             with_result text, status smallint, unclear boolean,
                             to_state text, queue_result text, wait interval)
returns boolean
language plpgsql volatile as $$
begin
    if not comms_settle(for_tenant, about, worker, to_state, queue_result, wait) then
        return false;
    end if;
    update comms_attempts a
       set ended_at = clock_timestamp(), result = with_result, http_status = status,
           ambiguous = unclear
     where a.tenant_id = for_tenant and a.message_id = about and a.attempt = number
       and a.ended_at is null;
    if not found then
        raise exception 'try % of message % has ended before', number, about using errcode = 'RD001';
    end if;
    return true;
end
$$;

-- Lets go of a message: back into the queue for later, or ended.
create function comms_settle(for_tenant uuid, about uuid, worker uuid, to_state text,
                             with_result text, wait interval)
returns boolean
language plpgsql volatile as $$
begin
    update comms_queue q
       set state = to_state, last_result = with_result, leased_by = null, lease_until = null,
           next_at = case when to_state = 'queued' then clock_timestamp() + wait else q.next_at end,
           ended_at = case when to_state = 'queued' then null else clock_timestamp() end
     where q.tenant_id = for_tenant and q.message_id = about and q.state = 'queued'
       and q.leased_by = worker;
    return found;
end
$$;

revoke execute on function comms_claim, comms_unwanted, comms_begin, comms_finish, comms_settle
    from public;
grant execute on function comms_claim, comms_unwanted, comms_begin, comms_finish, comms_settle,
    wire_id, row_id to dispatch_comms;
