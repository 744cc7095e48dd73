-- Policy bundles: every one that was ever uploaded, and which decided when. They belong to the
-- installation, not to a tenant, so there are no tenant rows to protect.

create table policy_bundles (
    sha256      text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    version     text not null,
    -- The archive as it was uploaded, signatures included: what a process loads.
    archive     bytea not null,
    -- The key that signed it, if it was signed.
    signed_by   text,
    uploaded_at timestamptz not null,
    uploaded_by text not null,
    -- Whose token; null for the bundle that came with the program.
    by_tenant   uuid,
    command_id  uuid,
    -- The same content may come again with a signature, or with that of a newer key.
    unique nulls not distinct (sha256, signed_by)
);

create table bundle_activations (
    position        bigint generated always as identity primary key,
    sha256          text not null,
    version         text not null,
    previous_sha256 text,
    activated_at    timestamptz not null,
    activated_by    text not null,
    reason          text not null,
    by_tenant       uuid,
    command_id      uuid
);

create trigger append_only before update or delete or truncate on policy_bundles
    for each statement execute function refuse_change();
create trigger append_only before update or delete or truncate on bundle_activations
    for each statement execute function refuse_change();

grant select, insert on policy_bundles, bundle_activations to dispatch_app;
grant select on policy_bundles, bundle_activations to dispatch_maintenance;
grant update (bundle_version, bundle_sha256) on deployment to dispatch_app;
