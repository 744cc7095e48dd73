//! Messages with what they say: personal data. Who may ask is the caller's to say.

use chrono::{DateTime, Utc};
use contracts::{
    MessageId, TicketId,
    comms::{CommsEnvelope, CommsFilter, CommsPage},
};
use sqlx::types::Json;
use uuid::Uuid;

use super::{cursor::Cursors, cut, exists};
use crate::{Error, TenantTx};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// `contracts::comms::CommsEnvelope` from its rows.
macro_rules! envelope {
    ($($rest:tt)*) => {
        concat!(
            "select jsonb_build_object(
                 'id', wire_id('msg', m.id), 'ticket_id', wire_id('tkt', m.ticket_id),
                 'direction', m.direction, 'channel', m.channel, 'purpose', m.purpose,
                 'provider', m.provider, 'provider_message_id', m.provider_message_id,
                 'peer', c.peer, 'contact_id', wire_id('con', m.contact_id),
                 'recipient', m.recipient, 'text', c.text, 'routing', m.routing,
                 'provider_time', m.provider_time, 'received_at', m.received_at,
                 'has_raw', c.raw is not null, 'correlation_id', m.correlation_id,
                 'command_id', wire_id('cmd', m.command_id), 'only_while', m.only_while,
                 'delivery', case when q.state is not null then jsonb_build_object(
                     'state', q.state, 'due_at', q.due_at, 'attempts', q.attempts,
                     'ended_at', q.ended_at, 'last_result', q.last_result,
                     'receiver_keyed', q.receiver_keyed) end)
             from comms_messages m
             join comms_contents c on c.tenant_id = m.tenant_id and c.message_id = m.id
             left join comms_queue q on q.tenant_id = m.tenant_id and q.message_id = m.id
             where m.tenant_id = $1 ",
            $($rest)*
        )
    };
}

macro_rules! list {
    ($order:literal) => {
        envelope!(concat!(
            "and ($2::text is null or m.direction = $2)
             and ($3::text is null or m.channel = $3)
             and ($4::text is null or m.purpose = $4)
             and ($5::text is null or q.state = $5)
             and ($6::boolean is null
                  or $6 = (m.ticket_id is null and m.direction = 'inbound'))
             and ($7::uuid is null or m.ticket_id = $7)
             and ($8::uuid is null or m.contact_id = $8)
             and ($9::timestamptz is null or (m.received_at, m.id) ",
            $order
        ))
    };
}

/// One message; `None` when there is none of this id.
pub async fn message(tx: &mut TenantTx, id: MessageId) -> Result<Option<CommsEnvelope>, Error> {
    let found: Option<Json<CommsEnvelope>> = sqlx::query_scalar(envelope!("and m.id = $2"))
        .bind(tx.tenant_id().as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(tx.connection())
        .await?;
    Ok(found.map(|Json(message)| message))
}

/// What the provider sent, byte for byte; `None` when there is no such message, or nothing was kept
/// of it.
pub async fn raw_message(tx: &mut TenantTx, id: MessageId) -> Result<Option<String>, Error> {
    let raw: Option<Option<String>> = sqlx::query_scalar(
        "select raw from comms_contents where tenant_id = $1 and message_id = $2",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(id.as_uuid())
    .fetch_optional(tx.connection())
    .await?;
    Ok(raw.flatten())
}

/// A page of messages: what waits for a person oldest first, everything else newest first.
///
/// # Errors
/// [`Error::InvalidCursor`] for a cursor that is not of this question.
pub async fn messages(tx: &mut TenantTx, filter: &CommsFilter) -> Result<CommsPage, Error> {
    let order = match filter.held {
        Some(true) => Order::OldestFirst,
        Some(false) | None => Order::NewestFirst,
    };
    page(tx, filter, order).await
}

/// A page of a ticket's messages, oldest first; `None` when there is no such ticket.
///
/// # Errors
/// [`Error::InvalidCursor`] for a cursor that is not of this ticket's messages.
pub async fn ticket_messages(
    tx: &mut TenantTx,
    ticket_id: TicketId,
    cursor: Option<String>,
) -> Result<Option<CommsPage>, Error> {
    if !exists(tx, ticket_id).await? {
        return Ok(None);
    }
    let filter = CommsFilter {
        ticket_id: Some(ticket_id),
        cursor,
        ..CommsFilter::default()
    };
    page(tx, &filter, Order::OldestFirst).await.map(Some)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    OldestFirst,
    NewestFirst,
}

async fn page(tx: &mut TenantTx, filter: &CommsFilter, order: Order) -> Result<CommsPage, Error> {
    let question = CommsFilter {
        cursor: None,
        limit: None,
        ..filter.clone()
    };
    let cursors = Cursors::new(b'm', &(order, question));
    let after = filter.cursor.as_deref().map(|cursor| key(&cursors, cursor));
    let (at, id) = after.transpose()?.unzip();
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT) as usize;
    let sql = match order {
        Order::OldestFirst => {
            list!("> ($9, $10::uuid)) order by m.received_at, m.id limit $11")
        }
        Order::NewestFirst => {
            list!("< ($9, $10::uuid)) order by m.received_at desc, m.id desc limit $11")
        }
    };
    // Planned with the values at hand: each combination of filters has its own best index.
    let rows: Vec<Json<CommsEnvelope>> = sqlx::query_scalar(sql)
        .persistent(false)
        .bind(tx.tenant_id().as_uuid())
        .bind(filter.direction.map(|d| d.to_string()))
        .bind(filter.channel.map(|c| c.to_string()))
        .bind(filter.purpose.map(|p| p.to_string()))
        .bind(filter.state.map(|s| s.to_string()))
        .bind(filter.held)
        .bind(filter.ticket_id.map(|id| id.as_uuid()))
        .bind(filter.contact_id.map(|id| id.as_uuid()))
        .bind(at)
        .bind(id)
        .bind(limit as i64 + 1)
        .fetch_all(tx.connection())
        .await?;
    let (rows, more) = cut(rows, limit);
    let items: Vec<_> = rows.into_iter().map(|Json(message)| message).collect();
    let last = items.last().filter(|_| more);
    Ok(CommsPage {
        next_cursor: last.map(|message: &CommsEnvelope| {
            let at = message.received_at.timestamp_micros().to_be_bytes();
            cursors.after(&[&at[..], message.id.as_uuid().as_bytes()].concat())
        }),
        items,
    })
}

/// Where a page begins: after the message that came then, with this id.
fn key(cursors: &Cursors, cursor: &str) -> Result<(DateTime<Utc>, Uuid), Error> {
    let key: [u8; 24] = cursors.key(cursor)?;
    let (at, id) = key.split_at(8);
    let at = at.try_into().map(i64::from_be_bytes);
    let at = at.ok().and_then(DateTime::from_timestamp_micros);
    let id = Uuid::from_slice(id).ok();
    at.zip(id).ok_or(Error::InvalidCursor)
}
