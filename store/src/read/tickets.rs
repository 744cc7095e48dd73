//! One ticket, and the list of them.

use contracts::{
    TicketId,
    read::{TicketFilter, TicketPage},
    ticket::Ticket,
};
use sqlx::types::Json;

use super::{cursor, cut};
use crate::{Error, TenantTx};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// One ticket.
pub async fn ticket(tx: &mut TenantTx, ticket_id: TicketId) -> Result<Option<Ticket>, Error> {
    let found: Option<Json<Ticket>> =
        sqlx::query_scalar("select doc from tickets where tenant_id = $1 and id = $2")
            .bind(tx.tenant_id().as_uuid())
            .bind(ticket_id.as_uuid())
            .fetch_optional(tx.connection())
            .await?;
    Ok(found.map(|Json(ticket)| ticket))
}

/// A page of the list, newest first.
///
/// # Errors
/// [`Error::InvalidCursor`] for a cursor that is not of this list.
pub async fn tickets(tx: &mut TenantTx, filter: &TicketFilter) -> Result<TicketPage, Error> {
    let below = filter.cursor.as_deref().map(cursor::ticket).transpose()?;
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT) as usize;
    // Planned with the values at hand: each combination of filters has its own best index.
    let rows: Vec<Json<Ticket>> = sqlx::query_scalar(
        "select doc from tickets
         where tenant_id = $1
           and ($2::text is null or state = $2)
           and ($3::text is null or priority = $3)
           and ($4::text is null or template = $4)
           and ($5::uuid is null or site_id = $5)
           and ($6::uuid is null or id < $6)
         order by id desc limit $7",
    )
    .persistent(false)
    .bind(tx.tenant_id().as_uuid())
    .bind(filter.state.map(|s| s.to_string()))
    .bind(filter.priority.map(|p| p.to_string()))
    .bind(filter.template.as_ref().map(|t| t.as_str()))
    .bind(filter.site_id.map(|s| s.as_uuid()))
    .bind(below)
    .bind(limit as i64 + 1)
    .fetch_all(tx.connection())
    .await?;
    let (rows, more) = cut(rows, limit);
    let items: Vec<Ticket> = rows.into_iter().map(|Json(ticket)| ticket).collect();
    let last = items.last().filter(|_| more);
    Ok(TicketPage {
        next_cursor: last.map(|ticket| cursor::of_ticket(ticket.id)),
        items,
    })
}
