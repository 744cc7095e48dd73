//! `GET /api/v1/comms`

use contracts::{
    ContactId, ErrorCode, TicketId,
    comms::{Channel, CommsFilter, CommsPage, DeliveryState, Direction, Purpose},
};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, get};
use crate::shapes::Rows;

const MAX_LIMIT: u32 = 200;

async fn handler(request: ReadRequest) -> Result<Json<CommsPage>, Failure> {
    let query = request.query(&[
        "direction",
        "channel",
        "purpose",
        "state",
        "held",
        "ticket_id",
        "contact_id",
        "cursor",
        "limit",
    ])?;
    let filter = CommsFilter {
        direction: query.word("direction")?,
        channel: query.word("channel")?,
        purpose: query.word("purpose")?,
        state: query.word("state")?,
        held: query.get("held")?,
        ticket_id: query.get("ticket_id")?,
        contact_id: query.get("contact_id")?,
        cursor: request.cursor(&query)?,
        limit: query.get("limit")?,
    };
    if filter
        .limit
        .is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit))
    {
        let detail = format!("`limit` must be from 1 to {MAX_LIMIT}.");
        return Err(Failure::parameter("limit", detail));
    }
    let mut tx = request.open().await?;
    let mut page = store::read::messages(&mut tx, &filter).await?;
    tx.commit().await?;
    page.next_cursor = request.next_cursor(page.next_cursor);
    Ok(Json(page))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<CommsPage>("list_comms", "/comms", get(handler))
        .needs(ReadPermission::Messages)
        .summary("List messages")
        .description(
            "Newest first; with `held=true` what a person has to place, oldest first. All given \
             filters must hold. There is no filter by address: a query string is no place for it.",
        )
        .query::<Direction>("direction", false, "Only in or only out.")
        .query::<Channel>("channel", false, "Only on this channel.")
        .query::<Purpose>("purpose", false, "Only for this purpose.")
        .query::<DeliveryState>("state", false, "Only outbound ones that stand so.")
        .query::<bool>("held", false, "`true`: only what a person has to place.")
        .query::<TicketId>("ticket_id", false, "Only of this ticket.")
        .query::<ContactId>(
            "contact_id",
            false,
            "Only from or to this person on record.",
        )
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .query::<Rows<200>>("limit", false, "Rows per page, 1 to 200; 50 without it.")
        .problems(&[ErrorCode::NotFound])
}
