//! `GET /api/v1/approvals/{id}`
//!
//! What software asks for is what it had proposed: a person who reads it has read the proposal, and
//! that is noted before the answer goes out, as in `proposals.rs`.
//!
//! Any person may see what waits; what people wrote with it is theirs who have to do with it. The
//! approval's own `request` has everything else.

use contracts::{
    ActorKind, ApprovalId, CommandId, CommentId, ErrorCode,
    approval::Approval,
    inbox::{ApprovalComment, ApprovalDetail},
};
use domain::approval::{ApprovalFacts, is_asked, may_decide};
use serde_json::Value;
use store::TenantTx;
use uuid::Uuid;

use super::{
    Endpoint, Failure, Json, PathId, ReadPermission, ReadRequest, get, list_approvals::summary,
    ticket_comms,
};
use crate::request::Rights;

async fn handler(
    PathId(id): PathId<ApprovalId>,
    request: ReadRequest,
) -> Result<Json<ApprovalDetail>, Failure> {
    request.query(&[])?;
    let now = request.received_at();
    let actor = request.actor();
    let (mut tx, rights) = request.open_with_rights().await?;
    let found = store::read::approval(&mut tx, id).await?;
    let row = found.ok_or_else(|| Failure::no_such("approval"))?;
    let lent = store::read::lent(&mut tx, &actor.id, now).await?;
    let asker = ApprovalFacts {
        now,
        actor_id: actor.id.clone(),
        actor_kind: actor.kind,
        actor_roles: actor.roles.iter().copied().collect(),
        lent,
        // Nothing is written: nothing gets these.
        command_id: CommandId::from_uuid(Uuid::nil()),
        comment: CommentId::from_uuid(Uuid::nil()),
        amended: None,
    };
    let verdict = may_decide(&row.approval, &asker);
    let is_person = actor.kind == ActorKind::Person;
    let reads_words = is_person
        && (row.approval.requested_by == actor.id
            || is_asked(&row.approval, &asker)
            || may_read_words(&mut tx, &rights, &row.approval).await?);
    tx.commit().await?;
    if is_person
        && row.approval.requested_by_kind.is_autonomous()
        && let Some(mut tx) = request.open_to_note().await?
    {
        store::read::viewed_with_approval(&mut tx, id, &actor.id).await?;
        tx.commit().await?;
    }
    let held: Option<Value> = row
        .command
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(Failure::internal)?;
    let said = row.comments.len();
    let comments: Vec<ApprovalComment> = row
        .comments
        .into_iter()
        .filter(|comment| reads_words || (is_person && comment.author_id == actor.id))
        .collect();
    // Where nothing of it is masked nobody has written anything.
    let has_words = held
        .as_ref()
        .is_some_and(|held| held["body"] != row.approval.request);
    Ok(Json(ApprovalDetail {
        withheld: comments.len() < said || (has_words && !reads_words),
        command: held.filter(|_| is_person && (reads_words || !has_words)),
        summary: summary(row.approval, row.ticket, now),
        ground: row.ground,
        carried_out: row.carried_out,
        comments,
        may_decide: verdict.is_ok(),
        why_not: verdict.err().map(|rejection| rejection.detail()),
    }))
}

/// Whether the caller may read elsewhere what is like the words with it: the messages of its ticket; where
/// it has none, how it comes that software may go so far.
async fn may_read_words(
    tx: &mut TenantTx,
    rights: &Rights,
    approval: &Approval,
) -> Result<bool, Failure> {
    match approval.ticket_id {
        Some(ticket) => ticket_comms::may_read(tx, rights, ticket).await,
        None => Ok(rights.may(ReadPermission::Rollout)),
    }
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<ApprovalDetail>("get_approval", "/approvals/{id}", get(handler))
        .needs(ReadPermission::Approvals)
        .summary("Get an approval")
        .of::<ApprovalId>("The approval.")
        .description(
            "With the command that it holds, what was said about it, why it was held, what its ticket \
             stands at, what happens while nobody decides, and whether the caller may decide it, or \
             why not. What people wrote is for people who are asked, the one who asked, and those who \
             may read the messages of its ticket (`read:messages`, or `read:ticket_messages` for the \
             technician who is sent there), or `read:rollout` where it has no ticket: for others \
             `withheld` says that it was left out. Reading what software asked for counts as reading \
             its proposals of that kind.",
        )
        .problems(&[ErrorCode::NotFound])
}
