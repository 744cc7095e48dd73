-- The kill switch over all it stops: an order of what was written that no clock makes, messages that
-- wait while it is engaged, and what the relay needs to tell workflows.

-- Rows of the audit log in the order in which they were written, over all streams. A number is taken
-- while the locks of the kill switch are held, so between a turn of it and what software does the
-- order is that of the commits, whatever the clocks say. Rows from before have none: they come first.
create sequence audit_order as bigint;
alter table audit_events add written bigint;
alter table audit_events alter written set default nextval('audit_order');
grant usage on sequence audit_order to dispatch_app;
-- The checker looks at what was written between two turns of a kill switch.
create index audit_events_by_order on audit_events using brin (written)
    with (pages_per_range = 16, autosummarize = on);

-- The software that wanted a message; null for people, for notices, and where a person had it sent
-- although a kill switch was engaged.
alter table comms_messages add by_software text;

create or replace function write_messages(for_tenant uuid, attempt jsonb, messages jsonb) returns void
language plpgsql volatile as $$
declare
    at constant timestamptz := (attempt ->> 'at')::timestamptz;
begin
    insert into comms_messages
        (tenant_id, id, ticket_id, direction, channel, purpose, provider, provider_message_id,
         contact_id, recipient, routing, only_while, due_at, provider_time, received_at,
         correlation_id, traceparent, command_id, by_software)
    select for_tenant, m.id, (attempt ->> 'ticket_id')::uuid, m.direction, m.channel, m.purpose,
           m.provider, m.provider_message_id, m.contact_id, m.recipient, m.routing, m.only_while,
           m.due_at, m.provider_time, at, attempt ->> 'correlation_id', attempt ->> 'traceparent',
           (attempt ->> 'command_id')::uuid,
           case when m.direction = 'outbound' and m.purpose = 'conversation'
                then attempt ->> 'by_software' end
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

-- Who wanted what a decision let pass, when that is software; null when a person overrode the kill
-- switch.
create function wanted_by_software(decision_input jsonb) returns text
language sql immutable
return case when decision_input #>> '{actor,kind}' in ('agent', 'workflow')
             and decision_input ->> 'kill_switch_override' is null
            then decision_input #>> '{actor,id}' end;

-- A kill switch that stops a message of software now; null when none does.
create function kill_switch_over(
    for_tenant uuid, by_software text, on_channel text, about_ticket uuid) returns text
language sql volatile
return (
    select k.scope
      from (select s.scope, s.engaged, s.expires_at from kill_switches s
             where s.tenant_id = for_tenant
             union all
            select 'everything', e.engaged, e.expires_at from kill_switch_of_everything e) k
     where k.engaged and (k.expires_at is null or clock_timestamp() < k.expires_at)
       and k.scope in ('everything', 'tenant', 'operation:comms_outbound', 'channel:' || on_channel,
                       'agent:' || by_software, 'ticket:' || wire_id('tkt', about_ticket))
     order by k.scope limit 1);

create index comms_attempts_open on comms_attempts (tenant_id, at) where ended_at is null;
create index comms_attempts_by_end on comms_attempts (tenant_id, ended_at) where ended_at is not null;

grant select (scope, engaged, expires_at) on kill_switches to dispatch_comms;
grant select (engaged, generation, expires_at) on kill_switch_of_everything to dispatch_comms;
grant select (by_software) on comms_messages to dispatch_comms;

-- Why a message is no longer wanted; NULL while it is (contracts::comms::OnlyWhile). A notice of a
-- kill switch is about one of them.
create or replace function comms_unwanted(for_tenant uuid, about uuid) returns text
language plpgsql volatile as $$
declare
    wanted  jsonb;
    subject uuid;
    found_state text;
    found_doc jsonb;
    found_generation bigint;
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
        when 'always' then
            return null;
        when 'kill_generation' then
            if wanted ->> 'scope' = 'everything' then
                select e.generation into found_generation from kill_switch_of_everything e;
            else
                select k.generation into found_generation from kill_switches k
                 where k.tenant_id = for_tenant and k.scope = coalesce(wanted ->> 'scope', 'tenant');
            end if;
            return case when found_generation is distinct from (wanted ->> 'generation')::bigint
                   then 'kill_switch_turned' end;
        -- Of a later version: rather not at all than against a condition.
        else
            return 'unknown_condition';
    end case;
end
$$;

-- The last look before a message leaves: still ours, still wanted, still an address, and not stopped.
-- Then the try is in the ledger, and the caller commits before it sends.
--
-- What software says takes the same shared locks as what software does: an engagement waits until
-- each try is either in the ledger, where it is seen to be under way, or held back. Held back it stays
-- queued, and is looked at again after a while.
create or replace function comms_begin(for_tenant uuid, about uuid, worker uuid, lease interval,
                            to_endpoint text, keyed boolean, if_unknown text)
returns jsonb
language plpgsql volatile as $$
declare
    message record;
    address text;
    number  integer;
    reason  text;
    at      timestamptz;
    speaker text;
begin
    select m.by_software into speaker from comms_messages m
     where m.tenant_id = for_tenant and m.id = about;
    if speaker is not null then
        perform pg_advisory_xact_lock_shared(hashtextextended('kill switch everything', 0));
        perform pg_advisory_xact_lock_shared(hashtextextended('kill switch ' || for_tenant, 0));
    end if;
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
    if speaker is not null then
        reason := kill_switch_over(for_tenant, speaker, message.channel, message.ticket_id);
        if reason is not null then
            perform comms_settle(for_tenant, about, worker, 'queued', 'kill_switch', '5 seconds');
            return jsonb_build_object('begun', 'held', 'scope', reason);
        end if;
    end if;
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

-- A control event is one relay's work at a time, and is taken up where the last one left off.
alter table control_events
    add leased_by    uuid,
    add lease_until  timestamptz,
    add after_tenant uuid,
    add after_ticket uuid,
    add check (num_nulls(leased_by, lease_until) in (0, 2));
create index control_events_by_command on control_events (command_id);
grant update (leased_by, lease_until, after_tenant, after_ticket) on control_events to dispatch_relay;

-- Whom a turned kill switch concerns: where software acts, or may once it is released.
grant select (tenant_id, mode) on autonomy_stages to dispatch_relay;
grant select (tenant_id, ticket_id, state, requested_by_kind) on approvals to dispatch_relay;
grant select (activated_at) on bundle_activations to dispatch_relay;
create policy of_all_tenants_for_delivery on autonomy_stages for select to dispatch_relay using (true);
create policy of_all_tenants_for_delivery on approvals for select to dispatch_relay using (true);

-- The tickets whose workflows a control event concerns, in order, after the given one.
--
-- Another stage and another bundle concern every open ticket. A kill switch concerns those on which
-- software may act or waits to: the stage of the tenant lets it, the ticket's last level did, it waits
-- for an approval, or the rules are newer than that level. To the others it makes no difference.
create function control_concerned(
    event_kind text, of_tenant uuid, of_ticket uuid, after_tenant uuid, after_ticket uuid, most integer)
returns table (tenant_id uuid, ticket_id uuid)
language sql stable
begin atomic
    select t.tenant_id, t.id
      from tickets t
      left join outbox_events e
        on e.tenant_id = t.tenant_id and e.ticket_id = t.id and e.seq = t.event_seq
     where t.state not in ('CLOSED', 'CANCELLED')
       and (of_tenant is null or t.tenant_id = of_tenant)
       and (of_ticket is null or t.id = of_ticket)
       and (t.tenant_id, t.id) > (after_tenant, after_ticket)
       and (event_kind <> 'kill_switch' or of_ticket is not null
            or coalesce(e.level ->> 'autonomy', 'AUTO') not in ('OFF', 'SHADOW')
            or exists (select from autonomy_stages s
                        where s.tenant_id = t.tenant_id and s.mode not in ('OFF', 'SHADOW'))
            or exists (select from approvals a
                        where a.tenant_id = t.tenant_id and a.ticket_id = t.id
                          and a.state in ('pending', 'approved')
                          and a.requested_by_kind in ('agent', 'workflow'))
            or e.created_at < (select max(b.activated_at) from bundle_activations b))
     order by t.tenant_id, t.id
     limit most;
end;
