//! The sender's side of outbound messages: the queue, and the ledger of what was tried. Runs as
//! `dispatch_comms`.
//!
//! A try is written down, and committed, before it is made. One that has no end was cut off by a
//! crash, and its message may or may not have arrived; the sender that claims the message next finds
//! it so ([`Claimed::cut_off`]) and has to judge it first. All times are the database's.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::{
    CorrelationId, FreeText, MessageId, Slug, TenantId, TicketId,
    comms::{
        Channel, DeliveryState, OnlyWhile, Purpose, WebhookRecipient, WebhookStage, WebhookTicket,
    },
};
use domain::comms::QUIET_KNOWN;
use serde::Deserialize;
use sqlx::{PgPool, postgres::types::PgInterval};
use uuid::Uuid;

use crate::Error;

/// Older than this no message leaves: when it must not is known for as long.
pub const OLDEST: Duration = Duration::from_secs(QUIET_KNOWN.num_seconds().unsigned_abs());

/// A message: whose, and which.
pub type Key = (TenantId, MessageId);

/// A message whose time has come, leased to the sender that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Which.
    pub key: Key,
    /// How it travels.
    pub channel: Channel,
    /// When it was to go out.
    pub due_at: DateTime<Utc>,
    /// Tries so far.
    pub attempts: u32,
    /// The database's time.
    pub now: DateTime<Utc>,
    /// The last try, when nobody wrote its end.
    pub cut_off: Option<CutOff>,
}

/// A try without an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// Its number.
    pub attempt: u32,
    /// Where it went.
    pub endpoint: String,
    /// Whether that receiver acts on a key once.
    pub keyed: bool,
    /// Whether it is to be made again although nobody knows.
    pub retry_unknown: bool,
}

/// Who asks, and for how long it keeps what it takes.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// The sender: a new id each start.
    pub worker: Uuid,
    /// Longer than a try may take.
    pub lasts: Duration,
}

/// Where a try goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The endpoint's name.
    pub endpoint: &'a str,
    /// Whether the receiver acts on a key once.
    pub keyed: bool,
    /// Whether a try whose outcome is unknown is made again all the same.
    pub retry_unknown: bool,
}

/// What became of the wish to send.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "begun", rename_all = "snake_case")]
pub enum Begun {
    /// The try is in the ledger: send it now.
    Sending(Box<Outgoing>),
    /// No longer wanted, for this reason; it is withdrawn.
    Withdrawn {
        /// Such as `approval_decided`.
        reason: Slug,
    },
    /// A kill switch stops what software says, the tenant is not active, or customers are left in peace;
    /// it is queued again.
    Held {
        /// Which switch, `tenant_suspended`, or `quiet_hours`.
        scope: String,
    },
    /// The person has no address for this channel any more, or none that can be used; it is given up.
    NoAddress,
    /// Another sender has it, or it has ended.
    NotOurs,
}

/// All that goes into one try.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Outgoing {
    /// From 1.
    pub attempt: u32,
    /// When it was written down.
    pub at: DateTime<Utc>,
    /// Whether an earlier try at this endpoint may have arrived.
    pub may_have_it: bool,
    /// What it is about.
    pub ticket_id: Option<TicketId>,
    /// How it travels.
    pub channel: Channel,
    /// What it is for.
    pub purpose: Purpose,
    /// Who is to get it, a contact by the address of a moment ago.
    pub recipient: WebhookRecipient,
    /// What it says.
    pub text: Option<FreeText>,
    /// What it depends on.
    pub only_while: OnlyWhile,
    /// When it was to go out.
    pub due_at: DateTime<Utc>,
    /// The conversation.
    pub correlation_id: CorrelationId,
    /// The ticket, now.
    pub ticket: Option<WebhookTicket>,
    /// The change of a stage that it tells of.
    pub stage: Option<WebhookStage>,
}

/// The end of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended<'a> {
    /// Which.
    pub attempt: u32,
    /// What it met, as a word.
    pub result: &'a str,
    /// The answer's status, when there was one.
    pub http_status: Option<u16>,
    /// Whether the receiver may have taken it and we cannot tell.
    pub ambiguous: bool,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate<'a> {
    /// Queued again, or at its end.
    pub state: DeliveryState,
    /// Why, as a word.
    pub result: &'a str,
    /// How long it waits when it is queued again.
    pub wait: Duration,
}

/// How the queue stands.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Backlog {
    /// Messages that wait, also for their time.
    pub queued: u64,
    /// Those whose time has come, after the quiet hours that held them, and that wait for nothing but to
    /// be sent.
    pub due: u64,
    /// Seconds since the oldest of those was due.
    pub oldest_due_seconds: f64,
    /// Those that no endpoint takes.
    pub without_endpoint: u64,
    /// Those that were given up in the last day without knowing whether they arrived.
    pub unknown: u64,
}

type ClaimedRow = (
    Uuid,
    Uuid,
    String,
    DateTime<Utc>,
    i32,
    DateTime<Utc>,
    Option<i32>,
    Option<String>,
    Option<bool>,
    Option<bool>,
);

/// Takes up to `most` messages whose time has come; nobody else gets them while the lease lasts.
pub async fn claim(pool: &PgPool, lease: Lease, most: u32) -> Result<Vec<Claimed>, Error> {
    let rows: Vec<ClaimedRow> = sqlx::query_as("select * from comms_claim($1, $2, $3)")
        .bind(lease.worker)
        .bind(i32::try_from(most).unwrap_or(i32::MAX))
        .bind(interval(lease.lasts)?)
        .fetch_all(pool)
        .await?;
    rows.into_iter().map(claimed).collect()
}

fn claimed(row: ClaimedRow) -> Result<Claimed, Error> {
    let (tenant, message, channel, due_at, attempts, now, attempt, endpoint, keyed, retry) = row;
    Ok(Claimed {
        key: (TenantId::from_uuid(tenant), MessageId::from_uuid(message)),
        channel: channel
            .parse()
            .map_err(|error| Error::corrupt("comms_messages", "channel", message, error))?,
        due_at,
        attempts: attempts.unsigned_abs(),
        now,
        cut_off: attempt.zip(endpoint).zip(keyed.zip(retry)).map(
            |((attempt, endpoint), (keyed, retry_unknown))| CutOff {
                attempt: attempt.unsigned_abs(),
                endpoint,
                keyed,
                retry_unknown,
            },
        ),
    })
}

/// The last look before a message leaves: still ours, still wanted, still an address. When it is to
/// be sent, the try is in the ledger afterwards, committed.
pub async fn begin(
    pool: &PgPool,
    (tenant, message): Key,
    lease: Lease,
    target: Target<'_>,
) -> Result<Begun, Error> {
    let begun: serde_json::Value =
        sqlx::query_scalar("select comms_begin_if_active($1, $2, $3, $4, $5, $6, $7)")
            .bind(tenant.as_uuid())
            .bind(message.as_uuid())
            .bind(lease.worker)
            .bind(interval(lease.lasts)?)
            .bind(target.endpoint)
            .bind(target.keyed)
            .bind(if target.retry_unknown {
                "retry"
            } else {
                "give_up"
            })
            .fetch_one(pool)
            .await?;
    serde_json::from_value(begun)
        .map_err(|error| Error::corrupt("comms_messages", "its columns", message, error))
}

/// Ends a try and says what becomes of its message. False when the message is not this sender's any
/// more: another has judged the try.
pub async fn finish(
    pool: &PgPool,
    (tenant, message): Key,
    worker: Uuid,
    ended: &Ended<'_>,
    fate: &Fate<'_>,
) -> Result<bool, Error> {
    Ok(
        sqlx::query_scalar("select comms_finish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
            .bind(tenant.as_uuid())
            .bind(message.as_uuid())
            .bind(worker)
            .bind(i32::try_from(ended.attempt).unwrap_or(i32::MAX))
            .bind(ended.result)
            .bind(ended.http_status.and_then(|code| i16::try_from(code).ok()))
            .bind(ended.ambiguous)
            .bind(fate.state.to_string())
            .bind(fate.result)
            .bind(interval(fate.wait)?)
            .fetch_one(pool)
            .await?,
    )
}

/// Lets go of a message without a try. False when it is not this sender's any more.
pub async fn settle(
    pool: &PgPool,
    (tenant, message): Key,
    worker: Uuid,
    fate: &Fate<'_>,
) -> Result<bool, Error> {
    Ok(
        sqlx::query_scalar("select comms_settle($1, $2, $3, $4, $5, $6)")
            .bind(tenant.as_uuid())
            .bind(message.as_uuid())
            .bind(worker)
            .bind(fate.state.to_string())
            .bind(fate.result)
            .bind(interval(fate.wait)?)
            .fetch_one(pool)
            .await?,
    )
}

/// Whether so long after its time was quiet for it, and that quiet ended no longer ago than `within`.
pub async fn rested(
    pool: &PgPool,
    (tenant, message): Key,
    after: Duration,
    within: Duration,
) -> Result<bool, Error> {
    Ok(sqlx::query_scalar(
        "select exists (
             select from comms_messages m, unnest(m.quiet) r
              where m.tenant_id = $1 and m.id = $2 and r @> m.due_at + $3
                and upper(r) <= now() and upper(r) > now() - $4)",
    )
    .bind(tenant.as_uuid())
    .bind(message.as_uuid())
    .bind(interval(after)?)
    .bind(interval(within)?)
    .fetch_one(pool)
    .await?)
}

/// Gives back what this sender holds, so that others need not wait for the lease's end.
pub async fn release(pool: &PgPool, worker: Uuid) -> Result<(), Error> {
    sqlx::query(
        "update comms_queue set leased_by = null, lease_until = null
         where leased_by = $1 and state = 'queued'",
    )
    .bind(worker)
    .execute(pool)
    .await?;
    Ok(())
}

/// Measures the queue; the maintenance login may ask too. What waits for the end of a quiet time is due
/// from then on.
pub async fn backlog(pool: &PgPool) -> Result<Backlog, Error> {
    let (queued, due, oldest, without_endpoint, unknown): (i64, i64, f64, i64, i64) =
        sqlx::query_as(
            "select count(*),
                    count(*) filter (where last_result is distinct from 'no_endpoint' and since <= now()),
                    coalesce(extract(epoch from now() - min(since) filter (
                        where last_result is distinct from 'no_endpoint' and since <= now())), 0)::float8,
                    count(*) filter (where last_result = 'no_endpoint'),
                    (select count(*) from comms_queue
                      where state = 'failed' and last_result = 'unknown_outcome'
                        and ended_at > now() - interval '1 day')
             from (select q.last_result,
                          case when m.quiet @> now() then 'infinity'
                               else greatest(q.due_at, (select max(upper(r)) from unnest(m.quiet) r
                                                         where upper(r) <= now())) end as since
                     from comms_queue q
                     join comms_messages m on m.tenant_id = q.tenant_id and m.id = q.message_id
                    where q.state = 'queued') waiting",
        )
        .fetch_one(pool)
        .await?;
    Ok(Backlog {
        queued: queued.unsigned_abs(),
        due: due.unsigned_abs(),
        oldest_due_seconds: oldest,
        without_endpoint: without_endpoint.unsigned_abs(),
        unknown: unknown.unsigned_abs(),
    })
}

fn interval(lasts: Duration) -> Result<PgInterval, Error> {
    // Postgres counts microseconds.
    let whole = Duration::from_micros(u64::try_from(lasts.as_micros()).unwrap_or(u64::MAX));
    PgInterval::try_from(whole)
        .map_err(|_| Error::Configuration(format!("{lasts:?} is too long to wait")))
}
