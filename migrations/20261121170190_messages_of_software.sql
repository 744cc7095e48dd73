-- no-transaction
-- Messages of software, by channel: few among all. Whether a kill switch over a channel stops anything
-- is asked when one is engaged.
create index concurrently if not exists comms_messages_of_software on comms_messages (tenant_id, channel)
    where by_software is not null;
