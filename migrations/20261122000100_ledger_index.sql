-- no-transaction
-- What software did with one kind of command: guardrails ask every few seconds, and must not go
-- through everybody's rows. A command that people released is software's too, whoever carries it out.
create index concurrently if not exists audit_events_of_software
    on audit_events (tenant_id, operation, recorded_at)
    where ticket_id is not null
      and (actor_kind in ('agent', 'workflow') or payload ? 'approval');
