-- What tickets are found by besides their filters. Columns and no expression indexes: behind
-- row-level security only a bare comparison of a column can use an index.
alter table tickets
    -- The last eight hex digits: the first ones are the time and alike for tickets of one minute.
    add short_id       text not null generated always as (right(id::text, 8)) stored,
    add invoice_number text generated always as (doc #>> '{invoice,number}') stored;

create index tickets_by_short_id on tickets (tenant_id, short_id);
create index tickets_by_invoice on tickets (tenant_id, invoice_number)
    where invoice_number is not null;
