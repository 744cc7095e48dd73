-- Proposals of every kind, and who read them.

-- Whether whoever acted had read the proposal before: what they did may have been copied.
alter table proposals add paired_seen boolean not null default false;
grant update (paired_seen) on proposals to dispatch_app;

-- The word of version 0.1.0 for what is now called equivalent stays in the rows it stands in: they
-- are compared with what the audit rows of their time say.

-- What is counted: agreement per kind over a span of time.
create index proposals_by_kind on proposals (tenant_id, kind, recorded_at);

-- Which person read which proposal first when.
create table proposal_views (
    tenant_id   uuid not null,
    proposal_id uuid not null,
    actor_id    text not null,
    viewed_at   timestamptz not null default clock_timestamp(),
    primary key (tenant_id, proposal_id, actor_id),
    foreign key (tenant_id, proposal_id) references proposals (tenant_id, id)
);

select protect_tenant_rows('proposal_views');
grant select, insert on proposal_views to dispatch_app;
