-- The relay keeps a schedule in Temporal for each tenant, and need know no more of them than that
-- they are there.
grant select (tenant_id) on tenants to dispatch_relay;
create policy of_all_tenants_for_control on tenants for select to dispatch_relay using (true);
