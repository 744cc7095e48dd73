-- What is shown of a key names it, so no two keys of a tenant show the same: what a new key is decided on
-- says whether another one has its prefix. The index that makes it so is the next migration.

-- What a command about a service account depends on (domain::AccountFacts). As before
-- (20261122010200_api_keys); what is new is `prefix_taken`.
create or replace function service_account_facts(for_tenant uuid, named jsonb) returns jsonb
language sql stable
return (
    select jsonb_build_object(
               'id', a.id, 'code', a.code, 'kind', a.kind, 'roles', to_jsonb(a.roles),
               'any_tenant', a.any_tenant, 'state', a.state, 'version', a.version,
               'prefix_taken', named ? 'prefix' and exists (
                   select from api_keys p
                    where p.tenant_id = for_tenant and p.prefix = named ->> 'prefix'),
               'good_keys', (
                   select count(*) from api_keys g
                    where g.tenant_id = for_tenant and g.account_id = a.id
                      and g.revoked_at is null and g.expires_at > now()),
               'key', case when k.id is not null then jsonb_build_object(
                   'id', k.id, 'scopes', to_jsonb(k.scopes), 'expires_at', k.expires_at,
                   'revoked', k.revoked_at is not null) end)
      from service_accounts a
      left join api_keys k
        on k.tenant_id = for_tenant and k.account_id = a.id and k.id = (named ->> 'key')::uuid
     where a.tenant_id = for_tenant
       and case when named ? 'code' then a.code = named ->> 'code'
                when named ? 'id' then a.id = (named ->> 'id')::uuid
                else k.id is not null end);
