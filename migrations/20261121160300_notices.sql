-- Notices of what became of an approval: to whoever asked for it and whoever had agreed to it, looked
-- up when they are sent, and only while it stands as they tell.

-- Who those are; still no names.
grant select (requested_by, requested_by_kind, votes, decided_by) on approvals to dispatch_comms;

-- Whom a message about an approval concerns: who asked and who said yes, except a workflow, which hears
-- of it by an event, and whose word decided it, when that is what the message tells.
create function comms_concerned(for_tenant uuid, about_approval uuid, purpose text) returns jsonb
language sql stable
return (
    select jsonb_agg(w.who order by w.who)
      from approvals a
     cross join lateral (
           select a.requested_by as who where a.requested_by_kind <> 'workflow'
            union
           select v ->> 'actor_id' from jsonb_array_elements(a.votes) v where v ->> 'verdict' = 'approve') w
     where a.tenant_id = for_tenant and a.id = about_approval
       and not (purpose = 'approval_decided' and w.who is not distinct from a.decided_by));
revoke execute on function comms_concerned from public;
grant execute on function comms_concerned to dispatch_comms;

-- Why a message is no longer wanted; NULL while it is (contracts::comms::OnlyWhile).
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
        when 'approval_in' then
            return case when not exists (
                       select from approvals a
                        where a.tenant_id = for_tenant and a.id = row_id(wanted ->> 'approval_id')
                          and wanted -> 'states' ? a.state)
                   then 'approval_moved_on' end;
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
    concerned jsonb;
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
        'ticket', case when message.state is not null then jsonb_build_object(
            'state', message.state, 'version', message.version, 'priority', message.priority,
            'template', message.template, 'waiting_for', message.waiting_for,
            'due_at', message.ticket_due_at,
            'link', '/api/v1/tickets/' || wire_id('tkt', message.ticket_id)) end);
end
$$;
