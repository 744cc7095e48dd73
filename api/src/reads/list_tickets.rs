//! `GET /api/v1/tickets`

use contracts::{
    Priority, SiteId, TemplateId, TicketState,
    read::{TicketFilter, TicketPage},
};

use super::{Endpoint, Failure, Json, ReadRequest, get};

const MAX_LIMIT: u32 = 200;

async fn handler(request: ReadRequest) -> Result<Json<TicketPage>, Failure> {
    let query = request.query(&[
        "state", "priority", "template", "site_id", "cursor", "limit",
    ])?;
    let filter = TicketFilter {
        state: query.word("state")?,
        priority: query.word("priority")?,
        template: query.get("template")?,
        site_id: query.get("site_id")?,
        cursor: query.get("cursor")?,
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
    let page = store::read::tickets(&mut tx, &filter).await?;
    tx.commit().await?;
    Ok(Json(page))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TicketPage>("list_tickets", "/tickets", get(handler))
        .summary("List tickets")
        .description("Newest first; all given filters must hold.")
        .query::<TicketState>("state", false, "Only this state.")
        .query::<Priority>("priority", false, "Only this priority.")
        .query::<TemplateId>("template", false, "Only this kind of incident.")
        .query::<SiteId>("site_id", false, "Only this site.")
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .query::<u32>("limit", false, "Rows per page, 1 to 200; 50 without it.")
}
