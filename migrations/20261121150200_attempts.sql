-- The command transaction's two functions, widened once more: approvals and held commands, stages,
-- kill switches with scopes, hourly counters, bundles.

-- Takes the request's key and the ticket's row, then gathers the facts.
--
-- Volatile, so that each statement sees what was committed before it began: after waiting for a
-- lock, what its last holder wrote.
--
-- `asks` names the rows whose existence the command depends on: site, asset, contact, technician,
-- approval, merge_into (uuids) and the series of numbers it may use: invoice, credit_note (true).
-- `intent` is the hash of what is asked for: the same one again needs no more than its stored answer.
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

    -- A stage is changed as a switch is turned: what software does under the old one is done before.
    if asks #>> '{control,stages}' = 'true' and not dry_run then
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

-- Writes one attempt: its decision, its audit row, its stored answer, and what it changed.
--
-- Every write that depends on what was read is guarded; a guard that trips raises RD001 and nothing
-- is written. Times and versions come from the caller, who decided with them.
create or replace function command_commit(
    -- Scalars of the attempt, the decision and the audit row.
    attempt jsonb,
    decision_input text,
    -- The canonical JSON that is chained.
    audit_content text,
    audit_payload jsonb,
    audit_changes jsonb,
    -- The ticket after the command; NULL when it is the same.
    ticket jsonb,
    -- Rows beside the ticket: visits, events, notes, …; NULL for a refusal.
    writes jsonb,
    -- The answer to store; NULL when it must not be replayed.
    answer text)
returns void
language plpgsql volatile as $$
declare
    for_tenant   constant uuid := (attempt ->> 'tenant_id')::uuid;
    about_ticket constant uuid := (attempt ->> 'ticket_id')::uuid;
    with_command constant uuid := (attempt ->> 'command_id')::uuid;
    with_decision constant uuid := (attempt ->> 'decision_id')::uuid;
    by_actor     constant text := attempt ->> 'actor_id';
    at           constant timestamptz := (attempt ->> 'at')::timestamptz;
    head_seq     constant bigint := (attempt ->> 'event_seq')::bigint;
    chain        text := attempt ->> 'stream';
    link         record;
    expected     bigint;
    written      bigint;
begin
    insert into policy_decisions
        (tenant_id, id, command_id, ticket_id, correlation_id, trace_id, operation, at, result,
         reasons, obligations, approval, bundle_version, bundle_sha256, input, evaluation_micros)
    values
        (for_tenant, with_decision, with_command, about_ticket, attempt ->> 'correlation_id',
         attempt ->> 'trace_id', attempt ->> 'operation', at,
         attempt ->> 'result', attempt -> 'reasons', attempt -> 'obligations',
         nullif(attempt -> 'approval', 'null'),
         attempt ->> 'bundle_version', attempt ->> 'bundle_sha256', decision_input,
         (attempt ->> 'evaluation_micros')::bigint);

    -- The chain's end moves in the same update as the ticket: the row is locked anyway.
    if about_ticket is null then
        insert into audit_streams as s (tenant_id, stream, length, head)
        values (for_tenant, chain, 1, sha256(convert_to('1 ' || audit_content, 'UTF8')))
        on conflict (tenant_id, stream) do update
           set length = s.length + 1,
               head = sha256(s.head || convert_to((s.length + 1) || ' ' || audit_content, 'UTF8'))
        returning s.length as position, s.head as hash into link;
    elsif (attempt ->> 'applied_to_version')::bigint = 0 then
        insert into tickets (tenant_id, id, doc, event_seq, chain_length, chain_head, waiting_for,
                             due_at, technician_id)
        values (for_tenant, about_ticket, ticket, head_seq, 1,
                sha256(convert_to('1 ' || audit_content, 'UTF8')),
                coalesce(attempt ->> 'waiting_for', waiting_for_0_1_0(ticket)),
                case when attempt ? 'waiting_for' then (attempt ->> 'due_at')::timestamptz
                     else due_at_0_1_0(ticket) end,
                (attempt ->> 'technician_id')::uuid)
        returning chain_length as position, chain_head as hash into link;
    else
        update tickets t
           set doc = coalesce(ticket, t.doc),
               waiting_for = case when ticket is null then t.waiting_for
                                  else coalesce(attempt ->> 'waiting_for',
                                                waiting_for_0_1_0(ticket)) end,
               due_at = case when ticket is null then t.due_at
                             when attempt ? 'waiting_for' then (attempt ->> 'due_at')::timestamptz
                             else due_at_0_1_0(ticket) end,
               technician_id = case when ticket is null then t.technician_id
                                    when attempt ? 'waiting_for'
                                    then (attempt ->> 'technician_id')::uuid
                                    else row_id(ticket #>> '{visits,-1,technician_id}') end,
               event_seq = head_seq,
               chain_length = t.chain_length + 1,
               chain_head = sha256(t.chain_head || convert_to((t.chain_length + 1) || ' ' || audit_content, 'UTF8'))
         where t.tenant_id = for_tenant and t.id = about_ticket
           and t.version = (attempt ->> 'applied_to_version')::bigint
           and t.event_seq = (attempt ->> 'previous_event_seq')::bigint
        returning t.chain_length as position, t.chain_head as hash into link;
    end if;
    if link.position is null then
        raise exception 'ticket % is not at the version and seq that were decided on', about_ticket
            using errcode = 'RD001';
    end if;

    insert into audit_events
        (tenant_id, stream, position, id, ticket_id, command_id, decision_id, decision_sha256,
         bundle_sha256, request_id, correlation_id, trace_id, actor_id, actor_kind, actor_roles, tool_name, operation, at,
         refused, before, after, applied_to_version, produced_version, payload, changes, chain_hash)
    values
        (for_tenant, chain, link.position, (attempt ->> 'audit_id')::uuid, about_ticket,
         with_command, with_decision, attempt ->> 'decision_sha256', attempt ->> 'bundle_sha256',
         attempt ->> 'request_id', attempt ->> 'correlation_id',
         attempt ->> 'trace_id', by_actor, attempt ->> 'actor_kind', attempt -> 'actor_roles',
         attempt ->> 'tool_name', attempt ->> 'operation', at, attempt ->> 'refused',
         attempt ->> 'before', attempt ->> 'after', (attempt ->> 'applied_to_version')::bigint,
         (attempt ->> 'produced_version')::bigint, audit_payload, audit_changes, link.hash);

    if answer is not null then
        insert into idempotency_keys
            (tenant_id, actor_id, operation, request_id, intent_sha256, command_id, decision_id,
             status, body)
        values
            (for_tenant, by_actor, coalesce(attempt ->> 'key_operation', attempt ->> 'operation'),
             attempt ->> 'request_id',
             decode(attempt ->> 'intent_sha256', 'hex'), with_command, with_decision,
             (attempt ->> 'status')::smallint, answer);
    end if;

    if writes is null then
        return;
    end if;

    insert into outbox_events
        (tenant_id, id, ticket_id, seq, event_type, event_version, payload, level, command_id,
         correlation_id, traceparent, tracestate, occurred_at, pending)
    select for_tenant, e.id, about_ticket, e.seq, e.event_type, e.event_version, e.payload, e.level,
           with_command, attempt ->> 'correlation_id', attempt ->> 'traceparent',
           attempt ->> 'tracestate', e.occurred_at, e.pending
      from jsonb_to_recordset(writes -> 'events') as e (
           id uuid, seq bigint, event_type text, event_version smallint, payload jsonb,
           level jsonb, occurred_at timestamptz, pending boolean);

    if writes ? 'visits' then
        insert into visits as v
            (tenant_id, id, ticket_id, number, stage, technician_id, starts_at, ends_at, eta,
             checked_in_at, ended_at)
        select for_tenant, row_id(n.id), about_ticket, n.number, n.stage, row_id(n.technician_id),
               (n."window" ->> 'start')::timestamptz, (n."window" ->> 'end')::timestamptz, n.eta,
               n.checked_in_at, n.ended_at
          from jsonb_to_recordset(writes -> 'visits') as n (
               id text, number integer, stage text, technician_id text, "window" jsonb,
               eta timestamptz, checked_in_at timestamptz, ended_at timestamptz)
        on conflict (tenant_id, id) do update
           set stage = excluded.stage, technician_id = excluded.technician_id,
               starts_at = excluded.starts_at, ends_at = excluded.ends_at, eta = excluded.eta,
               checked_in_at = excluded.checked_in_at, ended_at = excluded.ended_at;
    end if;

    if writes ? 'notes' then
        insert into notes (tenant_id, id, ticket_id, command_id, author_id, text, created_at)
        select for_tenant, n.id, about_ticket, with_command, by_actor, n.text, at
          from jsonb_to_recordset(writes -> 'notes') as n (id uuid, text text);
    end if;

    perform write_approvals(for_tenant, attempt, writes);

    if writes ? 'counted' then
        perform count_autonomous(for_tenant, writes -> 'counted');
    end if;

    -- What an older dispatch-api settles.
    if writes ? 'settled' then
        -- Decided or withdrawn: whoever comes second finds it no longer pending.
        expected := jsonb_array_length(writes -> 'settled');
        update approvals a
           set state = s.state, decided_by = s.decided_by, decided_at = s.decided_at,
               reason = s.reason, decided_command_id = with_command, revision = a.revision + 1,
               steps = '[]', claimed_by = null, claimed_until = null
          from jsonb_to_recordset(writes -> 'settled') as s (
               id uuid, state text, decided_by text, decided_at timestamptz, reason text)
         where a.tenant_id = for_tenant and a.id = s.id and a.ticket_id = about_ticket
           and a.state = 'pending';
        get diagnostics written = row_count;
        if written <> expected then
            raise exception 'an approval of ticket % was not pending', about_ticket
                using errcode = 'RD001';
        end if;
    end if;

    if writes ? 'proposals' then
        insert into proposals
            (tenant_id, id, ticket_id, command_id, kind, based_on_version, input, input_sha256,
             advice, recorded_at)
        select for_tenant, p.id, about_ticket, with_command, p.kind, p.based_on_version, p.input,
               p.input_sha256, p.advice, at
          from jsonb_to_recordset(writes -> 'proposals') as p (
               id uuid, kind text, based_on_version bigint, input jsonb, input_sha256 text,
               advice jsonb);
    end if;

    if writes ? 'pairings' then
        expected := jsonb_array_length(writes -> 'pairings');
        update proposals p
           set paired_command_id = with_command, paired_actor_id = by_actor,
               paired_outcome = n.outcome, paired_at = at, paired_seen = coalesce(n.seen, false)
          from jsonb_to_recordset(writes -> 'pairings') as n (id uuid, outcome text, seen boolean)
         where p.tenant_id = for_tenant and p.id = n.id and p.ticket_id = about_ticket
           and p.paired_at is null;
        get diagnostics written = row_count;
        if written <> expected then
            raise exception 'a proposal of ticket % was paired before', about_ticket
                using errcode = 'RD001';
        end if;
    end if;

    if writes ? 'sla' then
        insert into sla_records
            (tenant_id, ticket_id, clock, kind, revision, effective_at, recorded_at, command_id)
        select for_tenant, about_ticket, s.clock, s.kind, s.revision, s.effective_at, at, with_command
          from jsonb_to_recordset(writes -> 'sla') as s (
               clock text, kind text, revision integer, effective_at timestamptz);
    end if;

    if writes ? 'numbers' then
        expected := (select count(*) from jsonb_each(writes -> 'numbers'));
        update invoice_counters c
           set next = c.next + 1
          from jsonb_each_text(writes -> 'numbers') as n (series, used)
         where c.tenant_id = for_tenant and c.series = n.series and c.next = n.used::bigint;
        get diagnostics written = row_count;
        if written <> expected then
            raise exception 'a number was used twice' using errcode = 'RD001';
        end if;
    end if;

    if writes ? 'evidence' then
        insert into evidence (tenant_id, id, ticket_id, command_id, kind, sha256, media_type,
                              size_bytes, taken_at, added_by, added_at)
        select for_tenant, e.id, about_ticket, with_command, e.kind, e.sha256, e.media_type,
               e.size_bytes, e.taken_at, by_actor, at
          from jsonb_to_recordset(writes -> 'evidence') as e (
               id uuid, kind text, sha256 text, media_type text, size_bytes bigint,
               taken_at timestamptz);
    end if;

    if writes ? 'messages' then
        -- Which software wanted it: the last look before it leaves asks the kill switch again.
        perform write_messages(
            for_tenant,
            attempt || jsonb_build_object('by_software', wanted_by_software(decision_input::jsonb)),
            writes -> 'messages');
    end if;

    if writes ? 'attached' then
        update comms_messages m set ticket_id = about_ticket
         where m.tenant_id = for_tenant and m.id = (writes ->> 'attached')::uuid
           and m.ticket_id is null;
        get diagnostics written = row_count;
        if written <> 1 then
            raise exception 'message % was placed before', writes ->> 'attached'
                using errcode = 'RD001';
        end if;
    end if;

    if writes ? 'filing' then
        declare
            of_operation constant text :=
                coalesce(writes #>> '{filing,operation}', attempt ->> 'operation');
        begin
            if of_operation in ('upsert_site', 'upsert_asset', 'upsert_contact',
                                'upsert_technician', 'record_absence', 'cancel_absence') then
                perform write_filing(for_tenant, with_command, by_actor, at, of_operation,
                                     writes -> 'filing');
            else
                perform write_control(for_tenant, with_command, by_actor, at, of_operation,
                                      writes -> 'filing');
            end if;
        end;
    end if;
end
$$;

-- A held command with its approval, before anything is locked: a command on an approval needs to
-- know what it is about. What is decided on is read again under the lock.
create function held_command(for_tenant uuid, of_approval uuid) returns jsonb
language sql stable
return (
    select jsonb_build_object('approval', approval_json(a), 'command', h.command,
               'sha256', h.sha256, 'proposer', h.proposer)
      from approvals a
      left join held_commands h on h.tenant_id = a.tenant_id and h.approval_id = a.id
                               and h.version = a.version
     where a.tenant_id = for_tenant and a.id = of_approval);

revoke execute on function held_command from public;
grant execute on function held_command to dispatch_app;
