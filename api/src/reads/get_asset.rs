//! `GET /api/v1/assets/{id}`

use contracts::{AssetId, ErrorCode, directory::AssetRecord};

use super::{Endpoint, Failure, Json, PathId, ReadRequest, get};

async fn handler(
    PathId(id): PathId<AssetId>,
    request: ReadRequest,
) -> Result<Json<AssetRecord>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let found = store::read::asset(&mut tx, id).await?;
    tx.commit().await?;
    found.map(Json).ok_or_else(|| Failure::no_such("asset"))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<AssetRecord>("get_asset", "/assets/{id}", get(handler))
        .summary("Get an asset")
        .of::<AssetId>("The asset.")
        .problems(&[ErrorCode::NotFound])
}
