//! `GET /api/v1/delegations`

use contracts::{Role, inbox::DelegationList};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, get};

async fn handler(request: ReadRequest) -> Result<Json<DelegationList>, Failure> {
    request.query(&[])?;
    let actor = request.actor();
    let sees_all = [Role::TenantAdmin, Role::Auditor]
        .iter()
        .any(|role| actor.roles.contains(role));
    let of_actor = (!sees_all).then_some(actor.id.as_str());
    let mut tx = request.open().await?;
    let items = store::read::delegations(&mut tx, of_actor).await?;
    tx.commit().await?;
    Ok(Json(DelegationList { items }))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<DelegationList>("list_delegations", "/delegations", get(handler))
        .needs(ReadPermission::Approvals)
        .summary("List rights to decide that were lent")
        .description(
            "Those that the caller lent or was lent; all of the tenant for its administrators and \
             auditors. The newest first, at most a thousand.",
        )
}
