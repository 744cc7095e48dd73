//! Messages and what the timelines tell of them. What a message says and who sent it is not looked
//! at: the checker may not see it.

use sqlx::PgConnection;

use super::{Findings, Invariant, MOST_PER_CHECK};
use crate::Error;

/// Events about messages, with the attempt that they are of.
macro_rules! told {
    ($rest:literal) => {
        concat!(
            "with told as (
                 select a.tenant_id, a.ticket_id, a.command_id, a.at, a.correlation_id,
                        change #>> '{event,type}' as kind, change #> '{event,data}' as data,
                        row_id(change #>> '{event,data,message_id}') as message_id
                   from audit_events a
                  cross join lateral jsonb_path_query(a.changes,
                      '$[*] ? (@.event.type like_regex \"^message[.]\")') as change
                  where a.ticket_id is not null and a.refused is null) ",
            $rest
        )
    };
}

/// Filings of messages, with the attempt that they are of.
macro_rules! filed {
    ($rest:literal) => {
        concat!(
            "with filed as (
                 select a.tenant_id, a.command_id, a.at, a.correlation_id,
                        filed #> '{data,routing}' as routing,
                        row_id(filed #>> '{data,message_id}') as message_id
                   from audit_events a
                  cross join lateral jsonb_path_query(a.changes,
                      '$[*] ? (@.type == \"message.received\")') as filed
                  where a.ticket_id is null and a.refused is null
                    and a.operation = 'comms_inbound') ",
            $rest
        )
    };
}

const CHECKS: &[(Invariant, &str, &str)] = &[
    (
        Invariant::I1,
        "a message that its ticket's timeline tells of is missing, or belongs elsewhere",
        told!(
            "select 'comms_messages ' || t.message_id from told t
             left join comms_messages m on m.tenant_id = t.tenant_id and m.id = t.message_id
               and m.ticket_id = t.ticket_id
             where m.id is null"
        ),
    ),
    (
        Invariant::I1,
        "a message that is not what its ticket's timeline tells",
        told!(
            "select 'comms_messages ' || m.id from told t
             join comms_messages m on m.tenant_id = t.tenant_id and m.id = t.message_id
             where case t.kind
                 when 'message.received' then m.direction <> 'inbound'
                     or m.channel <> t.data ->> 'channel' or m.routing <> t.data -> 'routing'
                 when 'message.queued' then m.direction <> 'outbound'
                     or m.channel <> t.data ->> 'channel' or m.purpose <> t.data ->> 'purpose'
                     or m.due_at <> (t.data ->> 'due_at')::timestamptz
                 else m.direction <> 'inbound' or m.routing ->> 'route' <> 'held' end
                or t.kind <> 'message.attached' and (m.command_id <> t.command_id
                     or m.received_at <> t.at or m.correlation_id <> t.correlation_id)"
        ),
    ),
    (
        Invariant::I2,
        "a message of a ticket whose timeline does not tell of it once",
        told!(
            "select 'comms_messages ' || m.id from comms_messages m
             left join told t on t.tenant_id = m.tenant_id and t.message_id = m.id
               and t.ticket_id = m.ticket_id
             where m.ticket_id is not null
             group by m.tenant_id, m.id having count(t.message_id) <> 1"
        ),
    ),
    (
        Invariant::I2,
        "a message that was held without an attempt that held it",
        filed!(
            "select 'comms_messages ' || m.id from comms_messages m
             left join filed f on f.tenant_id = m.tenant_id and f.message_id = m.id
               and f.routing = m.routing and f.command_id = m.command_id and f.at = m.received_at
               and f.correlation_id = m.correlation_id
             where m.routing ->> 'route' = 'held' and f.message_id is null"
        ),
    ),
    (
        Invariant::I1,
        "a message that an attempt held, or knew from before, is missing",
        filed!(
            "select 'comms_messages ' || f.message_id from filed f
             left join comms_messages m on m.tenant_id = f.tenant_id and m.id = f.message_id
               and m.direction = 'inbound'
             where m.id is null"
        ),
    ),
    (
        Invariant::I2,
        "a message without a ticket that is neither held nor a notice of the control plane",
        "select 'comms_messages ' || id from comms_messages
         where ticket_id is null and coalesce(routing ->> 'route', '') <> 'held'
           and coalesce(purpose, '') not in ('kill_switch', 'stage_changed', 'approval_waiting',
                                             'approval_reminder', 'approval_decided',
                                             'approval_ended')",
    ),
    (
        Invariant::I10,
        "a message of another tenant's ticket or person",
        "select 'comms_messages ' || m.id from comms_messages m
         where m.ticket_id is not null and not exists (
                   select from tickets t where t.tenant_id = m.tenant_id and t.id = m.ticket_id)
            or m.contact_id is not null and not exists (
                   select from contacts c where c.tenant_id = m.tenant_id and c.id = m.contact_id)",
    ),
    (
        Invariant::I2,
        "a message without its contents",
        "select 'comms_messages ' || m.id from comms_messages m
         left join comms_contents c on c.tenant_id = m.tenant_id and c.message_id = m.id
         where c.message_id is null",
    ),
    (
        Invariant::I2,
        "a message whose place in the queue is missing, or is not its own",
        "select 'comms_messages ' || coalesce(m.id, q.message_id) from comms_messages m
         full join comms_queue q on q.tenant_id = m.tenant_id and q.message_id = m.id
         where (m.direction is not distinct from 'outbound') <> (q.message_id is not null)
            or q.due_at <> m.due_at",
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
