-- What policy binds to quiet hours leaves in none of them, however late it leaves.

-- When it must not leave, from its time on, and for ever from where nothing more is known
-- (domain::comms::Quiet). Null: nothing binds it, or it was queued before.
alter table comms_messages add quiet tstzmultirange;
grant select (quiet) on comms_messages to dispatch_comms;

-- As before, with the quiet hours. An older dispatch-api says none.
create or replace function write_messages(for_tenant uuid, attempt jsonb, messages jsonb) returns void
language plpgsql volatile as $$
declare
    at constant timestamptz := (attempt ->> 'at')::timestamptz;
    risk text;
begin
    if attempt ->> 'by_software' is not null then
        select stage_of_software(d.input::jsonb) into risk from policy_decisions d
         where d.tenant_id = for_tenant and d.id = (attempt ->> 'decision_id')::uuid;
    end if;
    insert into comms_messages
        (tenant_id, id, ticket_id, direction, channel, purpose, provider, provider_message_id,
         contact_id, recipient, routing, only_while, due_at, provider_time, received_at,
         correlation_id, traceparent, command_id, by_software, stage_risk, quiet)
    select for_tenant, m.id, (attempt ->> 'ticket_id')::uuid, m.direction, m.channel, m.purpose,
           m.provider, m.provider_message_id, m.contact_id, m.recipient, m.routing, m.only_while,
           m.due_at, m.provider_time, at, attempt ->> 'correlation_id', attempt ->> 'traceparent',
           (attempt ->> 'command_id')::uuid, said.by_software,
           case when said.by_software is not null then risk end, m.quiet
      from jsonb_to_recordset(messages) as m (
           id uuid, direction text, channel text, purpose text, provider text,
           provider_message_id text, contact_id uuid, recipient jsonb, routing jsonb,
           only_while jsonb, due_at timestamptz, provider_time timestamptz, quiet tstzmultirange)
     cross join lateral (
           select case when m.direction = 'outbound' and m.purpose = 'conversation'
                       then attempt ->> 'by_software' end as by_software) said;
    insert into comms_contents (tenant_id, message_id, peer, text, raw)
    select for_tenant, m.id, m.peer, m.text, m.raw
      from jsonb_to_recordset(messages) as m (id uuid, peer text, text text, raw text);
    insert into comms_queue (tenant_id, message_id, due_at, next_at)
    select for_tenant, m.id, m.due_at, m.due_at
      from jsonb_to_recordset(messages) as m (id uuid, direction text, due_at timestamptz)
     where m.direction = 'outbound';
end
$$;

-- As before, and: in quiet hours it goes back into the queue until they are over. The moment of the look
-- is that of the try.
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
    risk    text;
    subject uuid;
    concerned jsonb;
begin
    select m.by_software, m.stage_risk, m.ticket_id into speaker, risk, subject from comms_messages m
     where m.tenant_id = for_tenant and m.id = about;
    if speaker is not null then
        perform pg_advisory_xact_lock_shared(hashtextextended('kill switch everything', 0));
        perform pg_advisory_xact_lock_shared(hashtextextended('kill switch ' || for_tenant, 0));
    end if;
    if risk is not null then
        perform pg_advisory_xact_lock_shared(hashtextextended('autonomy of ' || subject, 0));
    end if;
    perform from comms_queue q
      where q.tenant_id = for_tenant and q.message_id = about and q.state = 'queued'
        and q.leased_by = worker and q.lease_until > clock_timestamp()
        for update;
    if not found then
        return '{"begun": "not_ours"}';
    end if;
    reason := comms_unwanted(for_tenant, about);
    if reason is null and risk is not null then
        reason := comms_stage_over(for_tenant, risk, subject);
    end if;
    if reason is not null then
        perform comms_settle(for_tenant, about, worker, 'withdrawn', reason, null);
        return jsonb_build_object('begun', 'withdrawn', 'reason', reason);
    end if;
    select m.ticket_id, m.channel, m.purpose, m.recipient, m.only_while, m.due_at, m.correlation_id,
           m.command_id, m.quiet, c.text, t.state, t.version, t.priority, t.template, t.waiting_for,
           t.due_at as ticket_due_at
      into strict message
      from comms_messages m
      left join comms_contents c on c.tenant_id = m.tenant_id and c.message_id = m.id
      left join tickets t on t.tenant_id = m.tenant_id and t.id = m.ticket_id
     where m.tenant_id = for_tenant and m.id = about;
    at := clock_timestamp();
    if message.quiet @> at then
        -- Where nothing more is known the sender finds it too old by then.
        update comms_queue q
           set last_result = 'quiet_hours', leased_by = null, lease_until = null,
               next_at = coalesce((select upper(r) from unnest(message.quiet) r where r @> at),
                                  at + interval '1 hour')
         where q.tenant_id = for_tenant and q.message_id = about;
        return '{"begun": "held", "scope": "quiet_hours"}';
    end if;
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
    if message.recipient ->> 'to' = 'concerned' then
        concerned := comms_concerned(
            for_tenant, row_id(message.recipient ->> 'approval_id'), message.purpose);
        if concerned is null then
            perform comms_settle(for_tenant, about, worker, 'withdrawn', 'nobody_concerned', null);
            return '{"begun": "withdrawn", "reason": "nobody_concerned"}';
        end if;
    end if;
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
        -- contracts::comms::WebhookRecipient: an address in the place of the person, and actors in that
        -- of the approval.
        'recipient', case when concerned is not null
                          then jsonb_build_object('to', 'actors', 'actor_ids', concerned)
                          when address is null then message.recipient
                          else jsonb_build_object('to', 'address', 'address', address) end,
        'only_while', message.only_while, 'due_at', message.due_at,
        'correlation_id', message.correlation_id, 'text', message.text,
        'stage', case when message.purpose = 'stage_changed'
                      then comms_about_stage(for_tenant, message.command_id) end,
        'ticket', case when message.state is not null then jsonb_build_object(
            'state', message.state, 'version', message.version, 'priority', message.priority,
            'template', message.template, 'waiting_for', message.waiting_for,
            'due_at', message.ticket_due_at,
            'link', '/api/v1/tickets/' || wire_id('tkt', message.ticket_id)) end);
end
$$;
