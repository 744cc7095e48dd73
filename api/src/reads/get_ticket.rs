//! `GET /api/v1/tickets/{id}`

use axum::response::IntoResponse;
use contracts::{ErrorCode, ticket::Ticket};
use http::{StatusCode, header};

use super::{Endpoint, Failure, Json, ReadRequest, Response, TicketPath, get};

async fn handler(TicketPath(id): TicketPath, request: ReadRequest) -> Result<Response, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let ticket = store::read::ticket(&mut tx, id).await?;
    tx.commit().await?;
    let ticket = ticket.ok_or_else(Failure::no_ticket)?;

    let etag = format!("\"{}\"", ticket.version);
    let known = request.header(header::IF_NONE_MATCH).unwrap_or_default();
    let unchanged = known
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*");
    Ok(match unchanged {
        true => (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response(),
        false => ([(header::ETAG, etag)], Json(ticket)).into_response(),
    })
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<Ticket>("get_ticket", "/tickets/{id}", get(handler))
        .summary("Get a ticket")
        .etag()
        .problems(&[ErrorCode::NotFound])
}
