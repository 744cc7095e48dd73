//! `GET /api/v1/decisions`, `/decisions/{id}`, `/decisions/export`

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use contracts::{
    DecisionId, ErrorCode, Operation, TicketId,
    policy::PolicyResult,
    read::{DecisionDetail, DecisionFilter, DecisionPage},
};
use store::read::Exported;
use tracing::Instrument;

use super::{
    Endpoint, Failure, Json, PathId, ReadPermission, ReadRequest, Response, get,
    lines::{Broken, Lines, lines, still_known, within},
};
use crate::{
    request::Query,
    shapes::{Rows, Several},
};

const MAX_LIMIT: u32 = 200;
const FILTERS: [&str; 7] = [
    "operation",
    "result",
    "actor",
    "ticket_id",
    "reason",
    "from",
    "to",
];

fn filter(query: &Query) -> Result<DecisionFilter, Failure> {
    Ok(DecisionFilter {
        operation: query.words("operation")?,
        result: query.words("result")?,
        actor: query.get("actor")?,
        ticket_id: query.get("ticket_id")?,
        reason: query.get("reason")?,
        from: query.get("from")?,
        to: query.get("to")?,
        cursor: None,
        limit: None,
    })
}

async fn list(request: ReadRequest) -> Result<Json<DecisionPage>, Failure> {
    let query = request.query(&[&FILTERS[..], &["cursor", "limit"]].concat())?;
    let filter = DecisionFilter {
        cursor: request.cursor(&query)?,
        limit: query.limit(MAX_LIMIT)?,
        ..filter(&query)?
    };
    let mut tx = request.open().await?;
    let mut page = store::read::decisions(&mut tx, &filter).await?;
    tx.commit().await?;
    page.next_cursor = request.next_cursor(page.next_cursor);
    Ok(Json(page))
}

async fn one(
    PathId(id): PathId<DecisionId>,
    request: ReadRequest,
) -> Result<Json<DecisionDetail>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let decision = store::read::decision(&mut tx, id).await?;
    tx.commit().await?;
    decision.map(Json).ok_or_else(|| {
        Failure::new(
            ErrorCode::NotFound,
            "There is no such decision, or it is not yours.",
        )
    })
}

/// An export under way. Between two parts it holds neither a transaction nor a connection, however
/// slowly the caller reads.
struct Export {
    request: ReadRequest,
    filter: DecisionFilter,
    so_far: Option<Exported>,
}

impl Export {
    /// The next part as lines; empty after the last one.
    async fn next(&mut self) -> Result<Bytes, Failure> {
        let Some(so_far) = self.so_far else {
            return Ok(Bytes::new());
        };
        let mut tx = self.request.open().await?;
        let (part, next) = store::read::decisions_from(&mut tx, &self.filter, so_far).await?;
        tx.commit().await?;
        let mut lines = Vec::new();
        for decision in part {
            serde_json::to_writer(&mut lines, &decision).map_err(Failure::internal)?;
            lines.push(b'\n');
        }
        self.so_far = next;
        Ok(lines.into())
    }

    /// Hands on the first part and all others, for as long as the caller may read them.
    async fn write(&mut self, first: Bytes, lines: &Lines) -> Result<(), Broken> {
        lines.room().await?.send(first);
        while self.so_far.is_some() {
            let room = lines.room().await?;
            still_known(&self.request).await?;
            room.send(self.next().await?);
        }
        Ok(())
    }
}

async fn export(request: ReadRequest) -> Result<Response, Failure> {
    let filter = filter(&request.query(&FILTERS)?)?;
    let so_far = Exported::nothing(request.received_at());
    let (tasks, stopping) = (request.tasks().clone(), request.stopping().clone());
    let mut export = Export {
        request,
        filter,
        so_far: Some(so_far),
    };
    // What goes wrong before the first line is an answer of its own.
    let first = export.next().await?;
    let (lines, response) = lines();
    let writing = async move {
        let written = within(&stopping, export.write(first, &lines)).await;
        lines.end(written);
    };
    tasks.spawn(writing.in_current_span());
    Ok(response)
}

fn filtered(endpoint: Endpoint) -> Endpoint {
    endpoint
        .query::<Several<Operation>>("operation", false, "Only about these commands.")
        .query::<Several<PolicyResult>>("result", false, "Only with these results.")
        .query::<String>("actor", false, "Only this actor's.")
        .query::<TicketId>("ticket_id", false, "Only about this ticket.")
        .query::<String>("reason", false, "Only with this reason's code.")
        .query::<DateTime<Utc>>("from", false, "Only from this instant on.")
        .query::<DateTime<Utc>>("to", false, "Only before this instant.")
}

pub(super) fn endpoints() -> [Endpoint; 3] {
    let list = Endpoint::read::<DecisionPage>("list_decisions", "/decisions", get(list))
        .needs(ReadPermission::Decisions)
        .summary("List recorded decisions")
        .description(
            "Newest first. All given filters must hold; several values of one, separated by commas, are \
             alternatives. A page looks at no more than 5000 decisions, so it may be short, even \
             empty, and still have a `next_cursor`: the list ends where there is none. A cursor \
             belongs to its filters.",
        );
    let export = Endpoint::read::<DecisionDetail>(
        "export_decisions",
        "/decisions/export",
        get(export),
    )
    .needs(ReadPermission::Decisions)
    .summary("Export recorded decisions")
    .description(
        "Oldest first, as JSON Lines: one decision with its input a line, all that the filters \
             leave of what was decided before the request. A body that breaks off without its end \
             is not complete: so ends what takes more than 15 minutes, or whose reader's token or key \
             has ended.",
    )
    .lines();
    let one = Endpoint::read::<DecisionDetail>("get_decision", "/decisions/{id}", get(one))
        .of::<DecisionId>("The decision.")
        .needs(ReadPermission::Decisions)
        .summary("Get a recorded decision")
        .description(
            "With what the policy was asked: the same under the same bundle decides the same.",
        )
        .problems(&[ErrorCode::NotFound]);
    [
        filtered(list)
            .query::<String>("cursor", false, "`next_cursor` of the page before.")
            .query::<Rows<200>>("limit", false, "Rows per page, 1 to 200; 50 without it."),
        filtered(export),
        one,
    ]
}
