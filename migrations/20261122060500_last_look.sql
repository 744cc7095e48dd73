-- What software wants to say by itself leaves only while its stage lets it; and the notice of a stage
-- tells which, from where to where, and why.

-- In the order in which commands take them: stages, then messages.
create policy of_all_tenants_for_sending on autonomy_stages for select to dispatch_comms using (true);
create policy of_all_tenants_for_sending on stage_changes for select to dispatch_comms using (true);

-- The risk class under whose stage software let a message pass by itself; null where no stage did:
-- people wanted it, or approved it. Messages that were queued before have none.
alter table comms_messages add stage_risk text;

create function stage_of_software(decision_input jsonb) returns text
language sql immutable
return case when decision_input #>> '{actor,kind}' in ('agent', 'workflow')
             and jsonb_typeof(decision_input -> 'release') is distinct from 'object'
            then decision_input #>> '{stage,risk}' end;

-- As before, with the class. The decision is written before what it let pass.
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
         correlation_id, traceparent, command_id, by_software, stage_risk)
    select for_tenant, m.id, (attempt ->> 'ticket_id')::uuid, m.direction, m.channel, m.purpose,
           m.provider, m.provider_message_id, m.contact_id, m.recipient, m.routing, m.only_while,
           m.due_at, m.provider_time, at, attempt ->> 'correlation_id', attempt ->> 'traceparent',
           (attempt ->> 'command_id')::uuid, said.by_software,
           case when said.by_software is not null then risk end
      from jsonb_to_recordset(messages) as m (
           id uuid, direction text, channel text, purpose text, provider text,
           provider_message_id text, contact_id uuid, recipient jsonb, routing jsonb,
           only_while jsonb, due_at timestamptz, provider_time timestamptz)
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

-- domain::autonomy::is_in_canary.
create function is_in_canary(about_ticket uuid, percent integer) returns boolean
language sql immutable
return ('x' || substr(encode(sha256(convert_to(
           '"' || wire_id('tkt', about_ticket) || '"', 'UTF8')), 'hex'), 1, 15))::bit(60)::bigint % 100
       < percent;

-- Why a message that software let pass by itself may not leave any more; null while it may. The
-- ceiling of the environment is dispatch-api's and not known here.
create function comms_stage_over(for_tenant uuid, with_risk text, about_ticket uuid) returns text
language plpgsql volatile as $$
declare
    stands record;
begin
    if exists (select from tickets t where t.tenant_id = for_tenant and t.id = about_ticket
                  and (t.doc ->> 'autonomy_opt_out')::boolean) then
        return 'ticket_opted_out';
    end if;
    -- What is set for the class, else for all. Nothing is let pass where nothing was ever set.
    select s.mode, s.percent into stands from autonomy_stages s
     where s.tenant_id = for_tenant and s.operation = 'comms_outbound' and s.risk in (with_risk, '')
     order by s.risk desc limit 1;
    return case when stands.mode = 'AUTO'
                  or stands.mode = 'CANARY' and is_in_canary(about_ticket, stands.percent)
                then null else 'stage_changed' end;
end
$$;

-- What a notice tells of a stage: contracts::comms::WebhookStage.
create function comms_about_stage(for_tenant uuid, with_command uuid) returns jsonb
language sql stable
return (
    select jsonb_build_object(
               'target', jsonb_build_object('operation', c.operation, 'risk', nullif(c.risk, '')),
               'from', c.from_mode, 'to', c.to_mode, 'percent', c.percent, 'reason', c.reason,
               'effective_at', c.effective_at)
      from stage_changes c where c.tenant_id = for_tenant and c.command_id = with_command);

grant select (command_id, stage_risk) on comms_messages to dispatch_comms;
grant select (tenant_id, operation, risk, mode, percent) on autonomy_stages to dispatch_comms;
grant select (tenant_id, command_id, operation, risk, from_mode, to_mode, percent, reason, effective_at)
    on stage_changes to dispatch_comms;

-- As before, and: what software let pass by itself leaves only while its stage lets it. The shared lock
-- of the kill switch is the one that a turn of a stage takes alone; the ticket's is taken alone by
-- whoever takes the ticket out. So after the answer to either no try begins that rests on before.
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
           m.command_id, c.text, t.state, t.version, t.priority, t.template, t.waiting_for,
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
    if message.recipient ->> 'to' = 'concerned' then
        concerned := comms_concerned(
            for_tenant, row_id(message.recipient ->> 'approval_id'), message.purpose);
        if concerned is null then
            perform comms_settle(for_tenant, about, worker, 'withdrawn', 'nobody_concerned', null);
            return '{"begun": "withdrawn", "reason": "nobody_concerned"}';
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

revoke execute on function stage_of_software, is_in_canary, comms_stage_over, comms_about_stage
    from public;
grant execute on function stage_of_software to dispatch_app;
grant execute on function is_in_canary, comms_stage_over, comms_about_stage to dispatch_comms;

-- As before, but for the hour: an act of software is one of the hour in which it is done, and one of its
-- kind in the hour in which it takes effect. An older dispatch-api says one hour for both.
create or replace function count_autonomous(for_tenant uuid, counted jsonb) returns void
language plpgsql volatile as $$
declare
    written bigint;
begin
    -- The row of all first, always: two commands of one hour wait for each other in one order.
    insert into autonomy_hours as h (tenant_id, hour, operation, commands, spent_cents)
    select for_tenant, n.hour, n.operation, 1, c.spends_cents
      from jsonb_to_record(counted) as c (
           hour timestamptz, hour_of_operation timestamptz, operation text, spends_cents bigint,
           most integer, most_of_operation integer, most_cents bigint),
           lateral (values (c.hour, '*', c.most, c.most_cents),
                           (coalesce(c.hour_of_operation, c.hour), c.operation, c.most_of_operation,
                            c.most_cents))
               as n (hour, operation, most, most_cents)
     where n.most > 0 and c.spends_cents <= n.most_cents
     order by n.operation
    on conflict (tenant_id, hour, operation) do update
       set commands = h.commands + 1, spent_cents = h.spent_cents + excluded.spent_cents
     where h.commands < case h.operation when '*' then (counted ->> 'most')::integer
                                         else (counted ->> 'most_of_operation')::integer end
       and h.spent_cents + excluded.spent_cents <= (counted ->> 'most_cents')::bigint;
    get diagnostics written = row_count;
    if written <> 2 then
        raise exception 'a cap on what software does in an hour is reached' using errcode = 'RD002';
    end if;
end
$$;
