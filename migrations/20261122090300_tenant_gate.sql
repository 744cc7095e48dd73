-- Where a tenant stands counts under the lock that a turn of it takes alone. Both of these looked twice and
-- took their share of the lock in between, if the first look said "active". Of a tenant that was resumed
-- between the two the second look said so, and the next suspension did not wait for what followed.

-- Every command stands between two turns of its tenant: it shares this lock, a turn takes it alone, and
-- what the row says under it holds until the command has ended. So nothing that read "active" commits after
-- a suspension. It is the first lock of a command. A trial takes none, nor does a command of a tenant that
-- is not active: it is refused anyway, and a turn may take long.
create or replace function tenant_gate(for_tenant uuid, turns boolean, dry_run boolean) returns jsonb
language plpgsql volatile as $$
declare
    -- What a trial reads need not hold.
    holds boolean := turns or dry_run;
    stands jsonb;
begin
    if turns and not dry_run then
        perform pg_advisory_xact_lock(hashtextextended('tenant ' || for_tenant, 0));
    end if;
    loop
        select jsonb_build_object('slug', t.slug, 'state', t.state, 'version', t.version,
                   'erase_after', t.erase_after, 'templates', t.templates)
          into stands from tenants t where t.tenant_id = for_tenant;
        exit when holds or stands ->> 'state' is distinct from 'active';
        perform pg_advisory_xact_lock_shared(hashtextextended('tenant ' || for_tenant, 0));
        holds := true;
    end loop;
    return stands;
end
$$;

-- The last look before a message leaves (comms_begin), in the sender: a tenant that is not active sends
-- nothing. It shares the lock of commands, so a suspension waits for tries that have begun, and finds
-- them in the ledger. Held back a message stays queued.
create or replace function comms_begin_if_active(
    for_tenant uuid, about uuid, worker uuid, lease interval, to_endpoint text, keyed boolean,
    if_unknown text)
returns jsonb
language plpgsql volatile as $$
declare
    holds boolean := false;
    stands text;
begin
    loop
        select t.state into stands from tenants t where t.tenant_id = for_tenant;
        exit when holds or stands <> 'active';
        perform pg_advisory_xact_lock_shared(hashtextextended('tenant ' || for_tenant, 0));
        holds := true;
    end loop;
    if stands <> 'active' then
        if not comms_settle(for_tenant, about, worker, 'queued', 'tenant_suspended', '5 seconds') then
            return '{"begun": "not_ours"}';
        end if;
        return '{"begun": "held", "scope": "tenant_suspended"}';
    end if;
    return comms_begin(for_tenant, about, worker, lease, to_endpoint, keyed, if_unknown);
end
$$;
