-- What was answered to the commands of a tenant that was erased. Receipts say what the audit log says,
-- which stays; why a command was refused is a text: its code, status and ids stay of it. The owner of
-- the tables does it, within the tenant that the transaction is bound to, once the rows of people are
-- gone (erase_tenant_rows).
create function erase_tenant_answers(for_tenant uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public as $$
begin
    if not exists (select from tenants t where t.tenant_id = for_tenant
                      and t.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid
                      and t.state = 'erased') then
        raise exception 'the tenant was not erased' using errcode = 'RD001';
    end if;
    update idempotency_keys k
       set body = '{"detail":"The tenant was erased, and this text with it.",' || (
               select string_agg(to_json(m.key) || ':' || m.value, ',')
                 from jsonb_each(k.body::jsonb) m
                where m.key in ('type', 'title', 'status', 'code', 'at', 'instance',
                                'command_id', 'decision_id')) || '}'
     where k.tenant_id = for_tenant and k.status >= 400;
end
$$;
revoke execute on function erase_tenant_answers
    from public, dispatch_relay, dispatch_comms, dispatch_maintenance;
grant execute on function erase_tenant_answers to dispatch_app;
