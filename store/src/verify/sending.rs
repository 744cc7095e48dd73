//! Outbound messages: queue and ledger tell one story, and it is that of one send per key.

use sqlx::PgConnection;

use super::{Findings, Invariant, MOST_PER_CHECK};
use crate::Error;

const CHECKS: &[(Invariant, &str, &str)] = &[
    (
        Invariant::I2,
        "an outbound message without its place in the queue, or an inbound one with one",
        "select 'comms_messages ' || m.id from comms_messages m
         left join comms_queue q on q.tenant_id = m.tenant_id and q.message_id = m.id
         where (m.direction = 'outbound') <> (q.message_id is not null)",
    ),
    (
        Invariant::I2,
        "tries of a message are not numbered 1..n up to the queue's count",
        "select 'comms_queue ' || q.message_id from comms_queue q
         left join (select tenant_id, message_id, count(*) as n, max(attempt) as most
                    from comms_attempts group by 1, 2) a
           on a.tenant_id = q.tenant_id and a.message_id = q.message_id
         where coalesce(a.n, 0) <> q.attempts or coalesce(a.most, 0) <> q.attempts",
    ),
    (
        Invariant::I7,
        "a message counts as sent, and its last try was not taken",
        "select 'comms_queue ' || q.message_id from comms_queue q
         left join comms_attempts a on a.tenant_id = q.tenant_id and a.message_id = q.message_id
                                   and a.attempt = q.attempts
         where q.state = 'sent' and not coalesce(a.http_status between 200 and 299
               or (a.http_status = 409 and (a.receiver_keyed or exists (
                   select from comms_attempts e
                    where e.tenant_id = a.tenant_id and e.message_id = a.message_id
                      and e.endpoint = a.endpoint and e.attempt < a.attempt and e.ambiguous))), false)",
    ),
    (
        Invariant::I7,
        "a message was tried again after it was taken or had ended",
        "select 'comms_attempts ' || a.message_id || ' #' || a.attempt from comms_attempts a
         join comms_queue q on q.tenant_id = a.tenant_id and q.message_id = a.message_id
         where a.at > q.ended_at or (a.ended_at is null and q.state <> 'queued')
            or ((a.http_status between 200 and 299 or (a.http_status = 409 and a.receiver_keyed))
                and (q.state <> 'sent' or a.attempt <> q.attempts))",
    ),
    (
        Invariant::I7,
        "a try that may have arrived was made again at a receiver that acts twice",
        "select 'comms_attempts ' || a.message_id || ' #' || a.attempt from comms_attempts a
         join comms_attempts n on n.tenant_id = a.tenant_id and n.message_id = a.message_id
                              and n.attempt = a.attempt + 1
         where not a.receiver_keyed and a.on_unknown = 'give_up' and coalesce(a.ambiguous, true)",
    ),
    (
        Invariant::I7,
        "tries of one message under several keys, or of several messages under one",
        "select 'comms_attempts ' || message_id from comms_attempts
         where key <> wire_id('msg', message_id)",
    ),
    (
        Invariant::I7,
        "a message left in quiet hours that bind it",
        "select 'comms_attempts ' || a.message_id || ' #' || a.attempt from comms_attempts a
         join comms_messages m on m.tenant_id = a.tenant_id and m.id = a.message_id
         where m.quiet @> a.at",
    ),
    (
        Invariant::I10,
        "the sender's login may read or write more than its messages need",
        "select c.relname || '.' || a.attname from pg_class c
         join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
           and ((c.relname not in ('comms_queue', 'comms_attempts')
                 and has_column_privilege('dispatch_comms', c.oid, a.attnum, 'insert, update'))
             or has_table_privilege('dispatch_comms', c.oid, 'delete, truncate')
             or (has_column_privilege('dispatch_comms', c.oid, a.attnum, 'select')
                 and (c.relname in ('notes', 'audit_events', 'policy_decisions')
                   or (c.relname = 'contacts' and a.attname in ('name', 'street'))
                   or (c.relname = 'comms_contents' and a.attname in ('peer', 'raw')))))",
    ),
];

pub(super) async fn check(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    for (invariant, what, sql) in CHECKS {
        let places: Vec<String> = sqlx::query_scalar(*sql).fetch_all(&mut *tx).await?;
        for place in places.into_iter().take(MOST_PER_CHECK) {
            found.add(*invariant, place, *what);
        }
    }
    Ok(())
}
