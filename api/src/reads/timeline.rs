//! `GET /api/v1/tickets/{id}/timeline`

use chrono::{DateTime, Utc};
use contracts::{
    ActorKind, ErrorCode, Operation,
    event::EventType,
    read::{AttemptOutcome, TimelineFilter, TimelinePage},
};
use strum::VariantArray;

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, TicketPath, get};
use crate::shapes::{EventName, Rows, Several};

const MAX_LIMIT: u32 = 200;

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<TimelinePage>, Failure> {
    let query = request.query(&[
        "operation",
        "actor_kind",
        "actor",
        "outcome",
        "event",
        "from",
        "to",
        "cursor",
        "limit",
    ])?;
    let event: Option<String> = query.get("event")?;
    let filter = TimelineFilter {
        operation: query.words("operation")?,
        actor_kind: query.words("actor_kind")?,
        actor: query.get("actor")?,
        outcome: query.word("outcome")?,
        event: event.map(event_type).transpose()?,
        from: query.get("from")?,
        to: query.get("to")?,
        cursor: request.cursor(&query)?,
        limit: query.limit(MAX_LIMIT)?,
    };
    let mut tx = request.open().await?;
    let page = store::read::timeline(&mut tx, id, &filter).await?;
    tx.commit().await?;
    let mut page = page.ok_or_else(Failure::no_ticket)?;
    page.next_cursor = request.next_cursor(page.next_cursor);
    Ok(Json(page))
}

fn event_type(name: String) -> Result<EventType, Failure> {
    let known = EventType::VARIANTS.iter();
    let found = known.clone().find(|event| event.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = known.map(|event| event.name()).collect();
        let detail = format!("`event` must be one of {}.", names.join(", "));
        Failure::parameter("event", detail)
    })
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TimelinePage>("get_timeline", "/tickets/{id}/timeline", get(handler))
        .needs(ReadPermission::Timeline)
        .summary("What was attempted and what happened")
        .description(
            "Oldest first, refusals too. Folding the `changes` of all entries gives the ticket. \
             All given filters must hold; several values of one, separated by commas, are \
             alternatives. A page looks at no more than 1000 attempts, so with filters it may be \
             short, even empty, and still have a `next_cursor`: the timeline ends where there is \
             none. A cursor belongs to its ticket and filters.",
        )
        .query::<Several<Operation>>("operation", false, "Only these commands.")
        .query::<Several<ActorKind>>("actor_kind", false, "Only actors of these kinds.")
        .query::<String>("actor", false, "Only this actor.")
        .query::<AttemptOutcome>("outcome", false, "Only accepted or only refused attempts.")
        .query::<EventName>(
            "event",
            false,
            "Only attempts that led to this event, for example `visit.completed`.",
        )
        .query::<DateTime<Utc>>("from", false, "Only from this instant on.")
        .query::<DateTime<Utc>>("to", false, "Only before this instant.")
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .query::<Rows<200>>("limit", false, "Rows per page, 1 to 200; 100 without it.")
        .problems(&[ErrorCode::NotFound])
}
