-- What people are asked about after an amendment another decision wants: the approval names that one
-- from then on. What is new is `decision_id` of the approvals that are written.
grant update (decision_id) on approvals to dispatch_app;

create or replace function write_approvals(for_tenant uuid, attempt jsonb, writes jsonb) returns void
language plpgsql volatile as $$
declare
    with_command constant uuid := (attempt ->> 'command_id')::uuid;
    expected bigint;
    written  bigint;
begin
    if writes ? 'approvals' then
        insert into approvals
            (tenant_id, id, ticket_id, command_id, kind, state, operation, requested_by,
             requested_by_kind, required_roles, demands, request_sha256, request, facts_sha256,
             requested_at, expires_at, on_expiry, steps, decision_id)
        select for_tenant, row_id(a.id), row_id(a.ticket_id), with_command, a.kind, a.state,
               coalesce(a.operation, 'request_change'), a.requested_by,
               coalesce(a.requested_by_kind, 'person'), a.required_roles,
               coalesce(a.demands, '[]'), a.request_sha256, a.request, a.facts_sha256,
               a.requested_at, a.expires_at, coalesce(a.on_expiry, 'deny'),
               coalesce(a.steps, '[]'), (attempt ->> 'decision_id')::uuid
          from jsonb_to_recordset(writes -> 'approvals') as a (
               id text, ticket_id text, kind text, state text, operation text, requested_by text,
               requested_by_kind text, required_roles jsonb, demands jsonb, request_sha256 text,
               request jsonb, facts_sha256 text, requested_at timestamptz, expires_at timestamptz,
               on_expiry text, steps jsonb);
    end if;
    if writes ? 'approvals_written' then
        expected := jsonb_array_length(writes -> 'approvals_written');
        update approvals a
           set state = n.state, required_roles = n.required_roles, demands = n.demands,
               votes = n.votes, version = n.version, revision = n.revision, request = n.request,
               request_sha256 = n.request_sha256, facts_sha256 = n.facts_sha256,
               expires_at = n.expires_at, on_expiry = n.on_expiry, steps = n.steps,
               claimed_by = n.claim ->> 'by', claimed_until = (n.claim ->> 'until')::timestamptz,
               decided_by = n.decided_by, decided_at = n.decided_at, reason = n.reason,
               decision_id = coalesce(row_id(n.decision_id), a.decision_id),
               executed_command_id = row_id(n.executed_command_id),
               decided_command_id = case when n.state = a.state then a.decided_command_id
                                         else with_command end
          from jsonb_to_recordset(writes -> 'approvals_written') as n (
               id text, state text, required_roles jsonb, demands jsonb, votes jsonb,
               version integer, revision bigint, request jsonb, request_sha256 text,
               facts_sha256 text, expires_at timestamptz, on_expiry text, steps jsonb, claim jsonb,
               decided_by text, decided_at timestamptz, reason text, executed_command_id text,
               decision_id text)
         where a.tenant_id = for_tenant and a.id = row_id(n.id) and a.revision = n.revision - 1;
        get diagnostics written = row_count;
        if written <> expected then
            raise exception 'an approval is not at the revision that was decided on'
                using errcode = 'RD001';
        end if;
    end if;
    if writes ? 'approvals_settled' then
        expected := jsonb_array_length(writes -> 'approvals_settled');
        update approvals a
           set state = s.state, revision = a.revision + 1, steps = '[]', claimed_by = null,
               claimed_until = null, reason = coalesce(s.reason, a.reason),
               decided_at = coalesce(a.decided_at, s.at),
               executed_command_id = case when s.state = 'executed' then with_command end,
               decided_command_id = case when s.state = 'executed' then a.decided_command_id
                                         else with_command end
          from jsonb_to_recordset(writes -> 'approvals_settled') as s (
               id uuid, state text, reason text, at timestamptz)
         where a.tenant_id = for_tenant and a.id = s.id and a.state in ('pending', 'approved');
        get diagnostics written = row_count;
        if written <> expected then
            raise exception 'an approval that ends was not open' using errcode = 'RD001';
        end if;
    end if;
    if writes ? 'held' then
        insert into held_commands
            (tenant_id, approval_id, version, operation, command, sha256, proposer, command_id)
        select for_tenant, h.approval_id, h.version, h.operation, h.command, h.sha256, h.proposer,
               with_command
          from jsonb_to_record(writes -> 'held') as h (
               approval_id uuid, version integer, operation text, command text, sha256 text,
               proposer jsonb);
    end if;
    if writes ? 'comments' then
        insert into approval_comments
            (tenant_id, id, approval_id, command_id, author_id, text, created_at)
        select for_tenant, c.id, c.approval_id, with_command, attempt ->> 'actor_id', c.text,
               (attempt ->> 'at')::timestamptz
          from jsonb_to_recordset(writes -> 'comments') as c (id uuid, approval_id uuid, text text);
    end if;
    if writes ? 'seen' then
        insert into proposal_views (tenant_id, proposal_id, actor_id)
        select for_tenant, s.id::uuid, attempt ->> 'actor_id'
          from jsonb_array_elements_text(writes -> 'seen') as s (id)
        on conflict do nothing;
    end if;
end
$$;
