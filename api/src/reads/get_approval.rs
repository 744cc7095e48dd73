//! `GET /api/v1/approvals/{id}`
//!
//! What software asks for is what it had proposed: a person who reads it has read the proposal, and
//! that is noted before the answer goes out, as in `proposals.rs`.

use contracts::{ActorKind, ApprovalId, CommandId, CommentId, ErrorCode, inbox::ApprovalDetail};
use domain::approval::{ApprovalFacts, may_decide};
use uuid::Uuid;

use super::{
    Endpoint, Failure, Json, PathId, ReadPermission, ReadRequest, get, list_approvals::summary,
};

async fn handler(
    PathId(id): PathId<ApprovalId>,
    request: ReadRequest,
) -> Result<Json<ApprovalDetail>, Failure> {
    request.query(&[])?;
    let now = request.received_at();
    let actor = request.actor();
    let mut tx = request.open().await?;
    let found = store::read::approval(&mut tx, id).await?;
    let lent = store::read::lent(&mut tx, &actor.id, now).await?;
    tx.commit().await?;
    let row = found.ok_or_else(|| {
        Failure::new(
            ErrorCode::NotFound,
            "There is no such approval, or it is not yours.",
        )
    })?;
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
    if is_person
        && row.approval.requested_by_kind.is_autonomous()
        && let Some(mut tx) = request.open_to_note().await?
    {
        store::read::viewed_with_approval(&mut tx, id, &actor.id).await?;
        tx.commit().await?;
    }
    let command = row
        .command
        .filter(|_| is_person)
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(Failure::internal)?;
    Ok(Json(ApprovalDetail {
        summary: summary(row.approval, row.ticket, now),
        command,
        ground: row.ground,
        carried_out: row.carried_out,
        comments: row.comments.into_iter().filter(|_| is_person).collect(),
        may_decide: verdict.is_ok(),
        why_not: verdict.err().map(|rejection| rejection.detail()),
    }))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<ApprovalDetail>("get_approval", "/approvals/{id}", get(handler))
        .needs(ReadPermission::Approvals)
        .summary("Get an approval")
        .of::<ApprovalId>("The approval.")
        .description(
            "With the command that it holds and what was said about it (for people only), why it \
             was held, what its ticket stands at, what happens while nobody decides, and whether \
             the caller may decide it, or why not. Reading what software asked for counts as reading \
             its proposals of that kind.",
        )
        .problems(&[ErrorCode::NotFound])
}
