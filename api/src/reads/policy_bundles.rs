//! `GET /api/v1/policy/bundles` and `GET /api/v1/policy/activations`

use contracts::read::{BundleActivations, StoredBundles};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, get};

async fn bundles(request: ReadRequest) -> Result<Json<StoredBundles>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let bundles = store::bundles::bundles(&mut tx, request.sees()).await?;
    tx.commit().await?;
    Ok(Json(StoredBundles { bundles }))
}

async fn activations(request: ReadRequest) -> Result<Json<BundleActivations>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let activations = store::bundles::activations(&mut tx, request.sees()).await?;
    tx.commit().await?;
    Ok(Json(BundleActivations { activations }))
}

pub(super) fn endpoints() -> [Endpoint; 2] {
    [
        Endpoint::read::<StoredBundles>("list_policy_bundles", "/policy/bundles", get(bundles))
            .needs(ReadPermission::Policy)
            .summary("List policy bundles")
            .description("Every bundle that was uploaded, and which of them decides; for platform administrators \
                 also who uploaded it."),
        Endpoint::read::<BundleActivations>(
            "list_policy_activations",
            "/policy/activations",
            get(activations),
        )
        .needs(ReadPermission::Policy)
        .summary("List activations of policy bundles")
        .description("Which bundle decided from when on; for platform administrators also who activated it \
             and why."),
    ]
}
