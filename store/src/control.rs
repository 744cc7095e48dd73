//! What workflows are told of besides events of their tickets: a turned kill switch, another stage,
//! another bundle. Runs as `dispatch_relay`.
//!
//! A control event is taken a page of tickets at a time, the kill switch first; the page's end is
//! written down with it, so whoever takes it next goes on from there. All times are the database's.

use std::time::Duration;

use contracts::{TenantId, TicketId};
use sqlx::{FromRow, PgPool, postgres::types::PgInterval};
use uuid::Uuid;

use crate::Error;

/// A control event that is being told.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ControlEvent {
    /// Its number.
    pub id: i64,
    /// The command that it came of. A number is given again once the database was set back; this is
    /// not.
    pub command_id: Uuid,
    /// `kill_switch`, `stage` or `bundle`.
    pub kind: String,
    for_tenant: Option<Uuid>,
    ticket_id: Option<Uuid>,
    after_tenant: Option<Uuid>,
    after_ticket: Option<Uuid>,
}

/// How many wait.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ControlLag {
    /// Events that not all workflows concerned were told of.
    pub waiting: u64,
    /// Age of the oldest of them, in seconds.
    pub oldest_seconds: f64,
}

/// Takes the most urgent event that nobody has.
pub async fn claim(
    pool: &PgPool,
    worker: Uuid,
    lease: Duration,
) -> Result<Option<ControlEvent>, Error> {
    let event = sqlx::query_as(
        "update control_events c
            set leased_by = $1, lease_until = clock_timestamp() + $2
          where c.id = (select w.id from control_events w
                         where w.done_at is null
                           and (w.lease_until is null or w.lease_until <= clock_timestamp())
                         order by w.kind <> 'kill_switch', w.id
                         limit 1 for update skip locked)
        returning c.id, c.command_id, c.kind, c.for_tenant, c.ticket_id, c.after_tenant,
                  c.after_ticket",
    )
    .bind(worker)
    .bind(interval(lease)?)
    .fetch_optional(pool)
    .await?;
    Ok(event)
}

/// The next tickets whose workflows it concerns, in order.
pub async fn concerned(
    pool: &PgPool,
    event: &ControlEvent,
    most: u32,
) -> Result<Vec<(TenantId, TicketId)>, Error> {
    let rows: Vec<(Uuid, Uuid)> =
        sqlx::query_as("select * from control_concerned($1, $2, $3, $4, $5, $6)")
            .bind(&event.kind)
            .bind(event.for_tenant)
            .bind(event.ticket_id)
            .bind(event.after_tenant.unwrap_or_default())
            .bind(event.after_ticket.unwrap_or_default())
            .bind(i32::try_from(most).unwrap_or(i32::MAX))
            .fetch_all(pool)
            .await?;
    let key = |(tenant, ticket)| (TenantId::from_uuid(tenant), TicketId::from_uuid(ticket));
    Ok(rows.into_iter().map(key).collect())
}

/// A page was told: `last` is its end, `None` when there was nothing left. Lets go of the event.
/// False when it is not this relay's any more; then somebody tells the page again, which does no
/// harm.
pub async fn told(
    pool: &PgPool,
    event: &ControlEvent,
    worker: Uuid,
    many: u32,
    last: Option<(TenantId, TicketId)>,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "update control_events
            set told = coalesce(told, 0) + $3,
                after_tenant = coalesce($4, after_tenant), after_ticket = coalesce($5, after_ticket),
                done_at = case when $4 is null then clock_timestamp() end,
                leased_by = null, lease_until = null
          where id = $1 and leased_by = $2 and done_at is null",
    )
    .bind(event.id)
    .bind(worker)
    .bind(i32::try_from(many).unwrap_or(i32::MAX))
    .bind(last.map(|(tenant, _)| tenant.as_uuid()))
    .bind(last.map(|(_, ticket)| ticket.as_uuid()))
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lets go of what this relay has, as it is.
pub async fn release(pool: &PgPool, worker: Uuid) -> Result<(), Error> {
    sqlx::query(
        "update control_events set leased_by = null, lease_until = null
          where leased_by = $1 and done_at is null",
    )
    .bind(worker)
    .execute(pool)
    .await?;
    Ok(())
}

/// Measures what waits.
pub async fn lag(pool: &PgPool) -> Result<ControlLag, Error> {
    let (waiting, oldest_seconds): (i64, f64) = sqlx::query_as(
        "select count(*),
                coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8
           from control_events where done_at is null",
    )
    .fetch_one(pool)
    .await?;
    Ok(ControlLag {
        waiting: waiting.unsigned_abs(),
        oldest_seconds: oldest_seconds.max(0.0),
    })
}

fn interval(lasts: Duration) -> Result<PgInterval, Error> {
    PgInterval::try_from(lasts)
        .map_err(|_| Error::Configuration(format!("{lasts:?} is no lease of whole microseconds")))
}
