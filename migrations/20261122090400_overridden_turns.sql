-- An override is for the turns of the switches that it names, and no engagement over everything lets a
-- stage be raised after it.

-- As before; what is new is that a change of a stage shares the lock over everything, and takes that of
-- its tenant after it, as all do.
create or replace function command_open(
    for_tenant uuid, by_actor text, with_operation text, with_request text, about_ticket uuid,
    intent bytea, asks jsonb, dry_run boolean,
    -- The stored answer, if the key was used before.
    out stored_sha256 bytea, out stored_status smallint, out stored_body text,
    out stored_command uuid, out stored_decision uuid,
    -- The ticket, locked.
    out ticket jsonb, out event_seq bigint,
    out facts jsonb)
language plpgsql volatile as $$
begin
    if not dry_run then
        -- The lock makes a second attempt with this key wait for the first one's end. It costs no
        -- write, unlike a row inserted first and filled in later; the primary key is still the
        -- last word.
        perform pg_advisory_xact_lock(hashtextextended(
            concat_ws(chr(31), for_tenant, by_actor, with_operation, with_request), 0));
        select k.intent_sha256, k.status, k.body, k.command_id, k.decision_id
          into stored_sha256, stored_status, stored_body, stored_command, stored_decision
          from idempotency_keys k
         where k.tenant_id = for_tenant and k.actor_id = by_actor
           and k.operation = with_operation and k.request_id = with_request;
        if stored_sha256 = intent then
            return;
        end if;
    end if;

    -- Shared for what software does, exclusive for turning a switch, and always before the rows are
    -- read: nothing autonomous that read "released" commits after an engagement. The lock over
    -- everything comes first, so that two of them cannot wait for each other.
    if asks ? 'kill_switch' and not dry_run then
        perform pg_advisory_xact_lock_shared(hashtextextended('kill switch everything', 0));
        perform pg_advisory_xact_lock_shared(hashtextextended('kill switch ' || for_tenant, 0));
    end if;
    if asks #>> '{filing,thing}' = 'kill_switch' and not dry_run then
        if asks #>> '{filing,scope}' = 'everything' then
            perform pg_advisory_xact_lock(hashtextextended('kill switch everything', 0));
        end if;
        perform pg_advisory_xact_lock(hashtextextended('kill switch ' || for_tenant, 0));
    end if;

    -- A stage is changed as a switch is turned: what software does under the old one is done before. And
    -- as software acts: a change that was to come must not come after an engagement over everything.
    if asks #>> '{control,stages}' = 'true' and not dry_run then
        perform pg_advisory_xact_lock_shared(hashtextextended('kill switch everything', 0));
        perform pg_advisory_xact_lock(hashtextextended('kill switch ' || for_tenant, 0));
    end if;

    -- Whatever is done with an approval is done to its ticket too.
    if about_ticket is null and asks ? 'approval' then
        select a.ticket_id into about_ticket from approvals a
         where a.tenant_id = for_tenant and a.id = (asks ->> 'approval')::uuid;
        if about_ticket is null and not dry_run then
            perform from approvals a
              where a.tenant_id = for_tenant and a.id = (asks ->> 'approval')::uuid
                for no key update;
        end if;
    end if;

    -- Two people who place one message at once: the second finds it placed.
    if asks ? 'held_message' and not dry_run then
        perform from comms_messages m
          where m.tenant_id = for_tenant and m.id = (asks ->> 'held_message')::uuid
          for no key update;
    end if;

    -- Both tickets of a merge, in one order for everybody: of two that are merged into each other at
    -- once one wins, and the ticket that stays cannot end before the other one has ended.
    if asks ? 'merge_into' and not dry_run then
        perform from tickets t
          where t.tenant_id = for_tenant
            and t.id in (about_ticket, (asks ->> 'merge_into')::uuid)
          order by t.id for no key update;
    end if;

    if about_ticket is not null then
        if dry_run then
            select t.doc, t.event_seq into ticket, event_seq from tickets t
             where t.tenant_id = for_tenant and t.id = about_ticket;
        else
            select t.doc, t.event_seq into ticket, event_seq from tickets t
             where t.tenant_id = for_tenant and t.id = about_ticket for no key update;
        end if;
    end if;

    if not dry_run and asks ?| array['invoice', 'credit_note'] then
        insert into invoice_counters (tenant_id, series)
        select for_tenant, s from unnest(array['invoice', 'credit_note']) s where asks ? s
        on conflict do nothing;
        perform from invoice_counters c
          where c.tenant_id = for_tenant and asks ? c.series order by c.series for no key update;
    end if;

    select jsonb_build_object(
        'settings', (select t.settings from tenants t where t.tenant_id = for_tenant),
        'bundle', (select d.bundle_sha256 from deployment d),
        'site_known', not asks ? 'site' or exists (
            select from sites s where s.tenant_id = for_tenant and s.id = (asks ->> 'site')::uuid
               and s.active),
        -- A thing at another site is as unknown as none.
        'asset_known', not asks ? 'asset' or exists (
            select from assets a where a.tenant_id = for_tenant and a.id = (asks ->> 'asset')::uuid
               and a.site_id = (asks ->> 'site')::uuid and a.active),
        'contact_known', not asks ? 'contact' or exists (
            select from contacts c where c.tenant_id = for_tenant and c.id = (asks ->> 'contact')::uuid),
        'technician_known', not asks ? 'technician' or exists (
            select from technicians t where t.tenant_id = for_tenant
               and t.id = (asks ->> 'technician')::uuid and t.active),
        'contact_reachable', not asks ? 'reach' or exists (
            select from contacts c where c.tenant_id = for_tenant
               and c.id = (asks ->> 'contact')::uuid
               and case asks ->> 'reach' when 'phone' then c.phone is not null
                                         when 'email' then c.email is not null else false end),
        'message_held', not asks ? 'held_message' or exists (
            select from comms_messages m where m.tenant_id = for_tenant
               and m.id = (asks ->> 'held_message')::uuid and m.ticket_id is null
               and m.direction = 'inbound'),
        -- What an older dispatch-api asks for.
        'kill_switch', case when asks ? 'kill_switch' then (
            select to_jsonb(k.engaged) from kill_switches k
             where k.tenant_id = for_tenant and k.scope = 'tenant') end,
        'switches', (
            select coalesce(jsonb_agg(jsonb_build_object('scope', k.scope, 'engaged', k.engaged,
                       'generation', k.generation, 'reason', k.reason, 'expires_at', k.expires_at)
                       order by k.scope), '[]')
              from (select k.scope, k.engaged, k.generation, k.reason, k.expires_at
                      from kill_switches k where k.tenant_id = for_tenant
                     union all
                    select 'everything', e.engaged, e.generation, e.reason, e.expires_at
                      from kill_switch_of_everything e) k),
        'stages', (
            select coalesce(jsonb_agg(jsonb_build_object('target', jsonb_build_object(
                       'operation', s.operation, 'risk', nullif(s.risk, '')),
                       'mode', s.mode, 'percent', s.percent, 'version', s.version)
                       order by s.operation, s.risk), '[]')
              from autonomy_stages s where s.tenant_id = for_tenant),
        'lent', case when asks ? 'lent' then (
            select coalesce(jsonb_agg(jsonb_build_object('from', d.from_actor, 'roles', d.roles)
                       order by d.from_actor, d.id), '[]')
              from delegations d
             where d.tenant_id = for_tenant and d.to_actor = by_actor and d.revoked_at is null
               and d.starts_at <= (asks ->> 'lent')::timestamptz
               and (asks ->> 'lent')::timestamptz < d.ends_at) end,
        'hour', case when asks ? 'hour' then (
            select jsonb_build_object(
                       'of_operation', coalesce(sum(h.commands) filter (where h.operation <> '*'), 0),
                       'in_all', coalesce(sum(h.commands) filter (where h.operation = '*'), 0),
                       'spent_cents', coalesce(sum(h.spent_cents) filter (where h.operation = '*'), 0))
              from autonomy_hours h
             where h.tenant_id = for_tenant
               and h.hour = date_trunc('hour', (asks #>> '{hour,at}')::timestamptz, 'UTC')
               and h.operation in ('*', asks #>> '{hour,operation}')) end,
        'control', case when asks ? 'control' then control_facts(for_tenant, asks -> 'control') end,
        'evidence', case when asks ? 'evidence' then (
            select coalesce(jsonb_agg(jsonb_build_object('kind', e.kind,
                       'verified', e.verified_at is not null) order by e.added_at, e.id), '[]')
              from evidence e where e.tenant_id = for_tenant and e.ticket_id = about_ticket) end,
        'filing', case when asks ? 'filing' then
            filing_facts(for_tenant, asks -> 'filing', dry_run) end,
        'approval', case when asks ? 'approval' then (
            select approval_json(a) from approvals a
             where a.tenant_id = for_tenant and a.id = (asks ->> 'approval')::uuid
               and a.ticket_id is not distinct from about_ticket) end,
        'merge_target', case when asks ? 'merge_into' then (
            select t.state from tickets t
             where t.tenant_id = for_tenant and t.id = (asks ->> 'merge_into')::uuid) end,
        'numbers', case when asks ?| array['invoice', 'credit_note'] then (
            select jsonb_object_agg(s, coalesce(c.next, 1))
              from unnest(array['invoice', 'credit_note']) s
              left join invoice_counters c on c.tenant_id = for_tenant and c.series = s
             where asks ? s) end,
        'open_proposals', (
            select coalesce(jsonb_agg(jsonb_build_object(
                       'id', wire_id('prp', p.id), 'kind', p.kind,
                       'based_on_version', p.based_on_version, 'advice', p.advice,
                       'seen', exists (
                           select from proposal_views v where v.tenant_id = for_tenant
                              and v.proposal_id = p.id and v.actor_id = by_actor))
                       order by p.recorded_at, p.id), '[]')
              from proposals p where p.tenant_id = for_tenant and p.ticket_id = about_ticket
               and p.paired_at is null),
        'sla_recorded', (
            select coalesce(jsonb_agg(jsonb_build_object(
                       'clock', r.clock, 'kind', r.kind, 'revision', r.revision)
                       order by r.clock, r.kind, r.revision), '[]')
              from sla_records r where r.tenant_id = for_tenant and r.ticket_id = about_ticket))
      into facts;
end
$$;

-- The turns of kill switches that a person overrode when they had a message of software sent: switch by
-- switch the generation; null where none stood. By any other turn it is stopped like what nobody overrode
-- anything for.
alter table comms_messages add overridden jsonb;
grant select (overridden) on comms_messages to dispatch_comms;

-- Who wanted what a decision let pass, when that is software; also where a person overrode a kill switch
-- for it.
create or replace function wanted_by_software(decision_input jsonb) returns text
language sql immutable
return case when decision_input #>> '{actor,kind}' in ('agent', 'workflow')
            then decision_input #>> '{actor,id}' end;

-- The turns that a decision was told to override. They are read under the lock that a turn takes alone, so
-- they are those that policy was told of.
create function turns_overridden(for_tenant uuid, decision_input jsonb) returns jsonb
language sql volatile
return (
    select jsonb_object_agg(k.scope, k.generation)
      from (select s.scope, s.generation from kill_switches s where s.tenant_id = for_tenant
             union all
            select 'everything', e.generation from kill_switch_of_everything e) k
     where decision_input ->> 'kill_switch_override' is not null
       and decision_input -> 'kill_switches' ? k.scope);

-- A kill switch that stops a message of software now; null when none does. `overridden` names the turns
-- that do not.
drop function kill_switch_over(uuid, text, text, uuid);
create function kill_switch_over(
    for_tenant uuid, by_software text, on_channel text, about_ticket uuid, overridden jsonb)
returns text
language sql volatile
return (
    select k.scope
      from (select s.scope, s.engaged, s.generation, s.expires_at from kill_switches s
             where s.tenant_id = for_tenant
             union all
            select 'everything', e.engaged, e.generation, e.expires_at
              from kill_switch_of_everything e) k
     where k.engaged and (k.expires_at is null or clock_timestamp() < k.expires_at)
       and k.scope in ('everything', 'tenant', 'operation:comms_outbound', 'channel:' || on_channel,
                       'agent:' || by_software, 'ticket:' || wire_id('tkt', about_ticket))
       and k.generation is distinct from (overridden ->> k.scope)::bigint
     order by k.scope limit 1);

revoke execute on function turns_overridden, kill_switch_over from public;
grant execute on function turns_overridden to dispatch_app;
grant execute on function kill_switch_over to dispatch_comms;

-- As before, with the turns that were overridden. The decision is written before what it let pass.
create or replace function write_messages(for_tenant uuid, attempt jsonb, messages jsonb) returns void
language plpgsql volatile as $$
declare
    at constant timestamptz := (attempt ->> 'at')::timestamptz;
    risk text;
    overrides jsonb;
begin
    if attempt ->> 'by_software' is not null then
        select stage_of_software(d.input::jsonb), turns_overridden(for_tenant, d.input::jsonb)
          into risk, overrides from policy_decisions d
         where d.tenant_id = for_tenant and d.id = (attempt ->> 'decision_id')::uuid;
    end if;
    insert into comms_messages
        (tenant_id, id, ticket_id, direction, channel, purpose, provider, provider_message_id,
         contact_id, recipient, routing, only_while, due_at, provider_time, received_at,
         correlation_id, traceparent, command_id, by_software, stage_risk, overridden,
         quiet)
    select for_tenant, m.id, (attempt ->> 'ticket_id')::uuid, m.direction, m.channel, m.purpose,
           m.provider, m.provider_message_id, m.contact_id, m.recipient, m.routing, m.only_while,
           m.due_at, m.provider_time, at, attempt ->> 'correlation_id', attempt ->> 'traceparent',
           (attempt ->> 'command_id')::uuid, said.by_software,
           case when said.by_software is not null then risk end,
           case when said.by_software is not null then overrides end, m.quiet
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

-- As before, but for the turns that were overridden.
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
    overrides jsonb;
    subject uuid;
    concerned jsonb;
begin
    select m.by_software, m.stage_risk, m.overridden, m.ticket_id
      into speaker, risk, overrides, subject from comms_messages m
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
        reason := kill_switch_over(
            for_tenant, speaker, message.channel, message.ticket_id, overrides);
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
