//! `GET /api/v1/approvals`: the inbox.

use chrono::{DateTime, Utc};
use contracts::{
    Operation, Role, TicketId,
    approval::{Approval, ApprovalKind, ApprovalState},
    inbox::{ApprovalFilter, ApprovalPage, ApprovalSummary, ApprovalTicket},
};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, get};
use crate::shapes::{Rows, Several};

const MAX_LIMIT: u32 = 200;

async fn handler(request: ReadRequest) -> Result<Json<ApprovalPage>, Failure> {
    let query = request.query(&[
        "state",
        "kind",
        "role",
        "operation",
        "ticket",
        "mine",
        "waiting_minutes",
        "sla_at_risk",
        "sla_within_minutes",
        "cursor",
        "limit",
    ])?;
    let filter = ApprovalFilter {
        state: query.words("state")?,
        kind: query.words("kind")?,
        role: query.words("role")?,
        operation: query.words("operation")?,
        ticket_id: query.get("ticket")?,
        mine: query.get("mine")?.unwrap_or(false),
        waiting_minutes: query.get("waiting_minutes")?,
        sla_at_risk: query.get("sla_at_risk")?.unwrap_or(false),
        sla_within_minutes: query.get("sla_within_minutes")?,
        cursor: request.cursor(&query)?,
        limit: query.limit(MAX_LIMIT)?,
    };
    let now = request.received_at();
    let actor_id = &request.actor().id;
    let mut tx = request.open().await?;
    let inbox = store::read::inbox(&mut tx, &filter, actor_id, now).await?;
    tx.commit().await?;
    let items = inbox.items.into_iter();
    Ok(Json(ApprovalPage {
        items: items
            .map(|(approval, ticket)| summary(approval, ticket, now))
            .collect(),
        counts: inbox.counts,
        next_cursor: request.next_cursor(inbox.next_cursor),
    }))
}

/// An approval as the inbox shows it.
pub(super) fn summary(
    approval: Approval,
    ticket: Option<ApprovalTicket>,
    now: DateTime<Utc>,
) -> ApprovalSummary {
    let due_at = ticket.as_ref().and_then(|ticket| ticket.due_at);
    let left = |end: DateTime<Utc>| u64::try_from((end - now).num_seconds()).unwrap_or(0);
    let is_pending = approval.state == ApprovalState::Pending;
    ApprovalSummary {
        waits_for: domain::approval::owed(&approval),
        next_step: approval.steps.first().cloned(),
        seconds_left: approval.expires_at.filter(|_| is_pending).map(left),
        sla_at_risk: is_pending
            && due_at
                .zip(approval.expires_at)
                .is_some_and(|(due, end)| due < end),
        ticket,
        approval,
    }
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<ApprovalPage>("list_approvals", "/approvals", get(handler))
        .needs(ReadPermission::Approvals)
        .summary("List approvals")
        .description(
            "The inbox: what waits for people, the least time left first, with whose word is still \
             owed and what happens next if nobody decides. All given filters must hold; several \
             values, separated by commas, are alternatives. Texts that people wrote are not in it.",
        )
        .query::<Several<ApprovalState>>("state", false, "Only these states; `pending` without it.")
        .query::<Several<ApprovalKind>>("kind", false, "Only these kinds.")
        .query::<Several<Role>>("role", false, "Only what one of these roles may decide.")
        .query::<Several<Operation>>(
            "operation",
            false,
            "Only what would carry out one of these commands.",
        )
        .query::<TicketId>("ticket", false, "Only of this ticket.")
        .query::<bool>("mine", false, "`true`: only what the caller has claimed.")
        .query::<u32>(
            "waiting_minutes",
            false,
            "Only what has waited for at least so many minutes.",
        )
        .query::<bool>(
            "sla_at_risk",
            false,
            "`true`: only where the ticket's next deadline comes before the approval's own end.",
        )
        .query::<u32>(
            "sla_within_minutes",
            false,
            "Only where the ticket's next deadline comes within so many minutes.",
        )
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .query::<Rows<200>>("limit", false, "Rows per page, 1 to 200; 50 without it.")
}
