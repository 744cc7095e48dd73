//! `GET /api/v1/tickets/{id}/timeline`

use contracts::{ErrorCode, read::TimelinePage};

use super::{Endpoint, Failure, Json, ReadRequest, TicketPath, get};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<TimelinePage>, Failure> {
    let cursor: Option<String> = request.query(&["cursor"])?.get("cursor")?;
    let mut tx = request.open().await?;
    let page = store::read::timeline(&mut tx, id, cursor.as_deref()).await?;
    tx.commit().await?;
    page.map(Json).ok_or_else(Failure::no_ticket)
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TimelinePage>("get_timeline", "/tickets/{id}/timeline", get(handler))
        .summary("What was attempted and what happened")
        .description(
            "Oldest first, refusals too. Folding the `changes` of all entries gives the ticket.",
        )
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .problems(&[ErrorCode::NotFound])
}
