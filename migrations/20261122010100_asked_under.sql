-- Why an approval became void is said by its own cause: whether another bundle decides than the one that
-- wanted people to be asked. What is new is `asked_under`.
create or replace function held_command(for_tenant uuid, of_approval uuid) returns jsonb
language sql stable
return (
    select jsonb_build_object('approval', approval_json(a), 'command', h.command,
               'sha256', h.sha256, 'proposer', h.proposer,
               'asked', case a.kind when 'change_order' then (
                   select jsonb_build_object('bundle_sha256', d.bundle_sha256, 'input', d.input)
                     from audit_events e
                     join policy_decisions d on d.tenant_id = e.tenant_id and d.id = e.decision_id
                    where e.tenant_id = a.tenant_id and e.command_id = a.command_id) end,
               'asked_under', (
                   select d.bundle_sha256 from policy_decisions d
                    where d.tenant_id = a.tenant_id and d.id = a.decision_id))
      from approvals a
      left join held_commands h on h.tenant_id = a.tenant_id and h.approval_id = a.id
                               and h.version = a.version
     where a.tenant_id = for_tenant and a.id = of_approval);
