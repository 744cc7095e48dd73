-- no-transaction
-- Asked by each new key, and by whoever looks a key up by what is shown of it.
create index concurrently if not exists api_keys_by_prefix
    on api_keys (tenant_id, prefix);
