//! The relay's side of the outbox. Runs as `dispatch_relay`.
//!
//! Pending rows are found by a partial index, never by `id > last`: ids are taken before the
//! commit, so a late commit would be skipped for good. A ticket is claimed as a whole and its
//! events come in `seq` order; a parked event holds back its own ticket and no other.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::{EventId, TenantId, TicketId, TicketState};
use serde_json::Value;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::Error;

/// Tickets are spread over this many partitions by the last bits of their id.
pub const PARTITIONS: u8 = 64;

/// The partition of a ticket, as the database computes it.
pub fn partition_of(ticket_id: TicketId) -> u8 {
    ticket_id.as_uuid().as_bytes()[15] % PARTITIONS
}

/// A row that waits for delivery to its ticket's workflow. Texts are as stored: whether they can be
/// delivered is the relay's judgement.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingEvent {
    /// The row.
    pub id: EventId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Which ticket's.
    pub ticket_id: TicketId,
    /// The ticket's partition.
    pub partition: u8,
    /// Its place among the ticket's events, from 1.
    pub seq: u64,
    /// For example `ticket.created`.
    pub event_type: String,
    /// Version of its shape.
    pub event_version: u16,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// The conversation.
    pub correlation_id: String,
    /// W3C trace context of the command.
    pub traceparent: String,
    /// The vendors' part of it.
    pub tracestate: Option<String>,
    /// The ticket afterwards, a `TicketLevel`.
    pub level: Option<Value>,
    /// Failed tries that were the event's own fault.
    pub attempts: u32,
}

/// A ticket's pending events in `seq` order; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingTicket {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub ticket_id: TicketId,
    /// Its partition.
    pub partition: u8,
    /// The oldest events, as many as asked for.
    pub events: Vec<PendingEvent>,
}

/// How much one claim may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimLimits {
    /// Tickets.
    pub tickets: u32,
    /// Events of each.
    pub events_per_ticket: u32,
}

#[derive(FromRow)]
struct PendingRow {
    id: Uuid,
    tenant_id: Uuid,
    ticket_id: Uuid,
    partition: i16,
    seq: i64,
    event_type: String,
    event_version: i16,
    occurred_at: DateTime<Utc>,
    correlation_id: String,
    traceparent: String,
    tracestate: Option<String>,
    level: Option<Value>,
    attempts: i32,
}

impl From<PendingRow> for PendingEvent {
    fn from(row: PendingRow) -> Self {
        Self {
            id: EventId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            ticket_id: TicketId::from_uuid(row.ticket_id),
            partition: row.partition.try_into().unwrap_or_default(),
            seq: row.seq.unsigned_abs(),
            event_type: row.event_type,
            event_version: row.event_version.unsigned_abs(),
            occurred_at: row.occurred_at,
            correlation_id: row.correlation_id,
            traceparent: row.traceparent,
            tracestate: row.tracestate,
            level: row.level,
            attempts: row.attempts.unsigned_abs(),
        }
    }
}

/// Reads what waits in these partitions, the longest waiting tickets first, without those in `skip`
/// (in flight, or backing off) and those with a parked event. Takes no lock: leases keep relays
/// apart.
pub async fn claim(
    pool: &PgPool,
    partitions: &[u8],
    skip: &[TicketId],
    limits: ClaimLimits,
) -> Result<Vec<PendingTicket>, Error> {
    let partitions: Vec<i16> = partitions.iter().copied().map(i16::from).collect();
    let skip: Vec<Uuid> = skip.iter().map(TicketId::as_uuid).collect();
    let rows: Vec<PendingRow> = sqlx::query_as(
        "with waiting as (
             select partition, tenant_id, ticket_id, min(occurred_at) as since
             from outbox_events
             where pending and partition = any($1) and ticket_id <> all($2)
             group by partition, tenant_id, ticket_id
             having bool_and(parked_at is null)
             order by since limit $3)
         select e.id, e.tenant_id, e.ticket_id, e.partition, e.seq, e.event_type, e.event_version,
                e.occurred_at, e.correlation_id, e.traceparent, e.tracestate, e.level, e.attempts
         from waiting w
         cross join lateral (
             select * from outbox_events o
             where o.pending and o.partition = w.partition
               and o.tenant_id = w.tenant_id and o.ticket_id = w.ticket_id
             order by o.seq limit $4) e
         order by w.since, e.tenant_id, e.ticket_id, e.seq",
    )
    .bind(partitions)
    .bind(skip)
    .bind(i64::from(limits.tickets))
    .bind(i64::from(limits.events_per_ticket))
    .fetch_all(pool)
    .await?;
    Ok(group(rows.into_iter().map(PendingEvent::from)))
}

fn group(events: impl Iterator<Item = PendingEvent>) -> Vec<PendingTicket> {
    let mut tickets: Vec<PendingTicket> = Vec::new();
    for event in events {
        match tickets.last_mut() {
            Some(last)
                if (last.tenant_id, last.ticket_id) == (event.tenant_id, event.ticket_id) =>
            {
                last.events.push(event);
            }
            _ => tickets.push(PendingTicket {
                tenant_id: event.tenant_id,
                ticket_id: event.ticket_id,
                partition: event.partition,
                events: vec![event],
            }),
        }
    }
    tickets
}

/// These were sent; answers how many were still pending. Asks for no lease: sent is sent.
pub async fn mark_delivered(pool: &PgPool, events: &[(TenantId, EventId)]) -> Result<u64, Error> {
    let (tenants, ids) = split(events);
    let done = sqlx::query(
        "update outbox_events o
         set pending = false, delivered_at = clock_timestamp(), parked_at = null, parked_reason = null
         from unnest($1::uuid[], $2::uuid[]) as sent (tenant_id, id)
         where o.tenant_id = sent.tenant_id and o.id = sent.id and o.pending",
    )
    .bind(tenants)
    .bind(ids)
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// A try failed through the event's own fault; answers the tries used up so far, `None` when it is
/// not pending any more.
pub async fn record_failure(
    pool: &PgPool,
    event: (TenantId, EventId),
    error: &str,
) -> Result<Option<u32>, Error> {
    let attempts: Option<i32> = sqlx::query_scalar(
        "update outbox_events set attempts = attempts + 1, last_error = left($3, 2000)
         where tenant_id = $1 and id = $2 and pending returning attempts",
    )
    .bind(event.0.as_uuid())
    .bind(event.1.as_uuid())
    .bind(error)
    .fetch_optional(pool)
    .await?;
    Ok(attempts.map(i32::unsigned_abs))
}

/// Puts an event aside, visibly; later events of its ticket wait behind it. Answers whether it was
/// pending and not parked before.
pub async fn park(pool: &PgPool, event: (TenantId, EventId), reason: &str) -> Result<bool, Error> {
    let done = sqlx::query(
        "update outbox_events set parked_at = clock_timestamp(), parked_reason = left($3, 2000)
         where tenant_id = $1 and id = $2 and pending and parked_at is null",
    )
    .bind(event.0.as_uuid())
    .bind(event.1.as_uuid())
    .bind(reason)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// An event that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ParkedEvent {
    /// The row.
    pub id: EventId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Which ticket's.
    pub ticket_id: TicketId,
    /// Its place among the ticket's events.
    pub seq: u64,
    /// For example `ticket.created`.
    pub event_type: String,
    /// Since when it is parked.
    pub parked_at: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// Failed tries.
    pub attempts: u32,
    /// Later events of the ticket that wait behind it.
    pub waiting_behind: u64,
}

/// All parked events, the longest parked first.
pub async fn parked(pool: &PgPool) -> Result<Vec<ParkedEvent>, Error> {
    type Row = (
        Uuid,
        Uuid,
        Uuid,
        i64,
        String,
        DateTime<Utc>,
        Option<String>,
        i32,
        i64,
    );
    let rows: Vec<Row> = sqlx::query_as(
        "select p.id, p.tenant_id, p.ticket_id, p.seq, p.event_type, p.parked_at, p.parked_reason,
                p.attempts,
                (select count(*) from outbox_events o
                 where o.pending and o.partition = p.partition and o.tenant_id = p.tenant_id
                   and o.ticket_id = p.ticket_id and o.seq > p.seq)
         from outbox_events p where p.pending and p.parked_at is not null
         order by p.parked_at, p.id",
    )
    .fetch_all(pool)
    .await?;
    let event =
        |(id, tenant, ticket, seq, event_type, parked_at, reason, attempts, behind): Row| {
            ParkedEvent {
                id: EventId::from_uuid(id),
                tenant_id: TenantId::from_uuid(tenant),
                ticket_id: TicketId::from_uuid(ticket),
                seq: seq.unsigned_abs(),
                event_type,
                parked_at,
                reason: reason.unwrap_or_default(),
                attempts: attempts.unsigned_abs(),
                waiting_behind: behind.unsigned_abs(),
            }
        };
    Ok(rows.into_iter().map(event).collect())
}

/// Makes parked events pending again with all their tries: of one ticket, or of all. Answers how
/// many.
pub async fn unpark(pool: &PgPool, ticket_id: Option<TicketId>) -> Result<u64, Error> {
    let done = sqlx::query(
        "update outbox_events set parked_at = null, parked_reason = null, attempts = 0
         where pending and parked_at is not null and ($1::uuid is null or ticket_id = $1)",
    )
    .bind(ticket_id.map(|t| t.as_uuid()))
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}

/// How far the relays are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Lag {
    /// Rows that wait, parked ones included.
    pub pending: u64,
    /// Rows that were put aside.
    pub parked: u64,
    /// Age of the oldest row that waits and is not parked.
    pub oldest: Option<Duration>,
}

/// Measures the lag.
pub async fn lag(pool: &PgPool) -> Result<Lag, Error> {
    let (pending, parked, oldest): (i64, i64, Option<f64>) = sqlx::query_as(
        "select count(*), count(parked_at),
                extract(epoch from clock_timestamp() - min(created_at) filter (where parked_at is null))::float8
         from outbox_events where pending",
    )
    .fetch_one(pool)
    .await?;
    Ok(Lag {
        pending: pending.unsigned_abs(),
        parked: parked.unsigned_abs(),
        oldest: oldest.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
    })
}

/// A ticket whose workflow should be running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTicket {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub ticket_id: TicketId,
    /// Where it stands.
    pub state: TicketState,
    /// `seq` of its last workflow event.
    pub head_seq: u64,
}

/// Open tickets in id order after the given one, at most `limit`: what the reconciler compares with
/// the running workflows.
pub async fn open_tickets(
    pool: &PgPool,
    after: Option<(TenantId, TicketId)>,
    limit: u32,
) -> Result<Vec<OpenTicket>, Error> {
    let (tenant, ticket) = after.map_or((Uuid::nil(), Uuid::nil()), |(tenant, ticket)| {
        (tenant.as_uuid(), ticket.as_uuid())
    });
    let rows: Vec<(Uuid, Uuid, String, i64)> = sqlx::query_as(
        "select tenant_id, id, state, event_seq from tickets t
         where state not in ('CLOSED', 'CANCELLED') and (tenant_id, id) > ($1, $2)
           and not exists (select from tenants e
                            where e.tenant_id = t.tenant_id and e.state = 'erased')
         order by tenant_id, id limit $3",
    )
    .bind(tenant)
    .bind(ticket)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|(tenant, ticket, state, head_seq)| {
            let ticket_id = TicketId::from_uuid(ticket);
            Ok(OpenTicket {
                tenant_id: TenantId::from_uuid(tenant),
                ticket_id,
                state: state
                    .parse()
                    .map_err(|e| Error::corrupt("tickets", "state", ticket_id, e))?,
                head_seq: head_seq.unsigned_abs(),
            })
        })
        .collect()
}

/// A ticket with its newest event for the workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct TicketHead {
    /// Where the ticket stands.
    pub state: TicketState,
    /// Whether that event still waits to be sent, and nothing parked keeps it.
    pub under_way: bool,
    /// How long ago it was written; `None` when its row was dropped after retention.
    pub age: Option<Duration>,
    /// The ticket after it, a `TicketLevel`.
    pub level: Option<Value>,
}

/// Reads it; `None` for a ticket that this database does not know.
pub async fn ticket_head(
    pool: &PgPool,
    tenant_id: TenantId,
    ticket_id: TicketId,
) -> Result<Option<TicketHead>, Error> {
    let row: Option<(String, bool, Option<f64>, Option<Value>)> = sqlx::query_as(
        "select t.state,
                coalesce(e.pending, false) and not exists (
                    select from outbox_events p
                    where p.tenant_id = t.tenant_id and p.ticket_id = t.id and p.parked_at is not null),
                extract(epoch from clock_timestamp() - e.created_at)::float8, e.level
         from tickets t left join outbox_events e
           on e.tenant_id = t.tenant_id and e.ticket_id = t.id and e.seq = t.event_seq
         where t.tenant_id = $1 and t.id = $2
           and not exists (select from tenants e
                            where e.tenant_id = t.tenant_id and e.state = 'erased')",
    )
    .bind(tenant_id.as_uuid())
    .bind(ticket_id.as_uuid())
    .fetch_optional(pool)
    .await?;
    row.map(|(state, under_way, age, level)| {
        Ok(TicketHead {
            state: state
                .parse()
                .map_err(|e| Error::corrupt("tickets", "state", ticket_id, e))?,
            under_way,
            age: age.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
            level,
        })
    })
    .transpose()
}

/// Whose a ticket is; `None` for an unknown one. Looks through all tenants: for people, not for
/// loops.
pub async fn tenant_of(pool: &PgPool, ticket_id: TicketId) -> Result<Option<TenantId>, Error> {
    let tenant: Option<Uuid> = sqlx::query_scalar("select tenant_id from tickets where id = $1")
        .bind(ticket_id.as_uuid())
        .fetch_optional(pool)
        .await?;
    Ok(tenant.map(TenantId::from_uuid))
}

fn split(events: &[(TenantId, EventId)]) -> (Vec<Uuid>, Vec<Uuid>) {
    events
        .iter()
        .map(|(tenant, event)| (tenant.as_uuid(), event.as_uuid()))
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ticket: u128, seq: u64) -> PendingEvent {
        PendingEvent {
            id: EventId::from_uuid(Uuid::from_u128(u128::from(seq))),
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            ticket_id: TicketId::from_uuid(Uuid::from_u128(ticket)),
            partition: partition_of(TicketId::from_uuid(Uuid::from_u128(ticket))),
            seq,
            event_type: "ticket.created".into(),
            event_version: 1,
            occurred_at: DateTime::UNIX_EPOCH,
            correlation_id: "c".into(),
            traceparent: String::new(),
            tracestate: None,
            level: None,
            attempts: 0,
        }
    }

    #[test]
    fn rows_are_grouped_per_ticket_in_order() {
        let rows = [event(2, 1), event(2, 2), event(1, 7), event(3, 1)];
        let tickets = group(rows.into_iter());
        let shape: Vec<_> = tickets
            .iter()
            .map(|t| t.events.iter().map(|e| e.seq).collect::<Vec<_>>())
            .collect();
        assert_eq!(shape, [vec![1, 2], vec![7], vec![1]]);
    }

    #[test]
    fn the_partition_is_the_end_of_the_id() {
        let ticket = |n| TicketId::from_uuid(Uuid::from_u128(n));
        assert_eq!(partition_of(ticket(63)), 63);
        assert_eq!(partition_of(ticket(64 + 5)), 5);
    }
}
