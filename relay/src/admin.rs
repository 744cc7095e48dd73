//! What an operator does to the relay's work, from the command line. None of it needs a running
//! relay; the running ones take notice within a poll.

use contracts::ids::*;
use sqlx::PgPool;
use store::{deployment, outbox};

pub use store::outbox::ParkedEvent;

use crate::{
    delivery::TemporalError,
    reconcile::dress,
    temporal::{Temporal, TicketSignal},
};

/// Why an operator's wish was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such ticket.
    #[error("ticket {0} is not in this database")]
    UnknownTicket(TicketId),
    /// Temporal refused.
    #[error(transparent)]
    Temporal(#[from] TemporalError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Declares that the database was set back to an earlier copy: raises its epoch, whereupon every
/// open ticket's workflow takes a snapshot. Returns the new epoch.
pub async fn new_epoch(pool: &PgPool) -> Result<u64, AdminError> {
    Ok(deployment::raise_epoch(pool).await?)
}

/// Events that were put aside, the longest parked first.
pub async fn parked_list(pool: &PgPool) -> Result<Vec<ParkedEvent>, AdminError> {
    Ok(outbox::parked(pool).await?)
}

/// Lets parked events be tried again, of one ticket or of all; returns how many.
pub async fn parked_replay(pool: &PgPool, ticket: Option<TicketId>) -> Result<u64, AdminError> {
    Ok(outbox::unpark(pool, ticket).await?)
}

/// Tells a ticket's workflow to compare itself with the database, starting it if none runs.
/// Returns the run that was told. `nonce` makes this wish another than the one before.
pub async fn resync(
    pool: &PgPool,
    temporal: &Temporal,
    ticket: TicketId,
    nonce: uuid::Uuid,
) -> Result<String, AdminError> {
    let tenant = outbox::tenant_of(pool, ticket)
        .await?
        .ok_or(AdminError::UnknownTicket(ticket))?;
    resync_one(pool, temporal, (tenant, ticket), nonce).await
}

/// Tells every open ticket's workflow; returns how many.
pub async fn resync_all(
    pool: &PgPool,
    temporal: &Temporal,
    nonce: uuid::Uuid,
) -> Result<u64, AdminError> {
    const PAGE: u32 = 500;
    let (mut after, mut told) = (None, 0);
    loop {
        let page = outbox::open_tickets(pool, after, PAGE).await?;
        for ticket in &page {
            let key = (ticket.tenant_id, ticket.ticket_id);
            resync_one(pool, temporal, key, nonce).await?;
            after = Some(key);
            told += 1;
        }
        if page.len() < PAGE as usize {
            return Ok(told);
        }
    }
}

async fn resync_one(
    pool: &PgPool,
    temporal: &Temporal,
    (tenant, ticket): (TenantId, TicketId),
    nonce: uuid::Uuid,
) -> Result<String, AdminError> {
    let epoch = deployment::read(pool).await?.epoch;
    let head = outbox::ticket_head(pool, tenant, ticket).await?;
    let signal = TicketSignal::resync(tenant, ticket, epoch, &nonce.to_string());
    let dress = head.as_ref().and_then(dress);
    Ok(temporal
        .signal_with_start(&signal, dress.as_ref(), false)
        .await?)
}
