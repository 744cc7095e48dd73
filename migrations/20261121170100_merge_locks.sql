-- Every command takes its locks in one order: the key, the kill switch's, the tickets. A merge took its
-- two tickets first, so software that merged could wait for a switch that was being turned, while that
-- waited for software that wanted one of the tickets. What is new is the lock of both tickets in here.

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
