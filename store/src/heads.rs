//! Where every ticket stands, ended ones too: what its workflow must know as well.

use contracts::{TenantId, TicketId, TicketState};
use sqlx::PgPool;
use uuid::Uuid;

use crate::Error;

/// Where one ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub ticket_id: TicketId,
    /// Its state.
    pub state: TicketState,
    /// Its version.
    pub version: u64,
    /// `seq` of its last workflow event.
    pub seq: u64,
}

/// Tickets in id order after the given one, at most `limit`. As `dispatch_maintenance`.
pub async fn page(
    pool: &PgPool,
    after: Option<(TenantId, TicketId)>,
    limit: u32,
) -> Result<Vec<Head>, Error> {
    let (tenant, ticket) = after.map_or((Uuid::nil(), Uuid::nil()), |(tenant, ticket)| {
        (tenant.as_uuid(), ticket.as_uuid())
    });
    let rows: Vec<(Uuid, Uuid, String, i64, i64)> = sqlx::query_as(
        "select tenant_id, id, state, version, event_seq from tickets
         where (tenant_id, id) > ($1, $2) order by tenant_id, id limit $3",
    )
    .bind(tenant)
    .bind(ticket)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(head).collect()
}

/// One ticket's head, read anew; `None` for an unknown one.
pub async fn one(
    pool: &PgPool,
    tenant_id: TenantId,
    ticket_id: TicketId,
) -> Result<Option<Head>, Error> {
    let row: Option<(Uuid, Uuid, String, i64, i64)> = sqlx::query_as(
        "select tenant_id, id, state, version, event_seq from tickets
         where tenant_id = $1 and id = $2",
    )
    .bind(tenant_id.as_uuid())
    .bind(ticket_id.as_uuid())
    .fetch_optional(pool)
    .await?;
    row.map(head).transpose()
}

fn head(
    (tenant, ticket, state, version, seq): (Uuid, Uuid, String, i64, i64),
) -> Result<Head, Error> {
    let ticket_id = TicketId::from_uuid(ticket);
    Ok(Head {
        tenant_id: TenantId::from_uuid(tenant),
        ticket_id,
        state: state
            .parse()
            .map_err(|e| Error::corrupt("tickets", "state", ticket_id, e))?,
        version: version.unsigned_abs(),
        seq: seq.unsigned_abs(),
    })
}
