//! `GET /api/v1/assets/{id}`

use contracts::{AssetId, ErrorCode, directory::AssetRecord};

use super::{Endpoint, Failure, PathId, ReadPermission, ReadRequest, Response, get, versioned};

async fn handler(PathId(id): PathId<AssetId>, request: ReadRequest) -> Result<Response, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let found = store::read::asset(&mut tx, id).await?;
    tx.commit().await?;
    let found = found.ok_or_else(|| Failure::no_such("asset"))?;
    Ok(versioned(&request, &found.version.to_string(), found))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<AssetRecord>("get_asset", "/assets/{id}", get(handler))
        .needs(ReadPermission::Directory)
        .etag()
        .summary("Get an asset")
        .of::<AssetId>("The asset.")
        .problems(&[ErrorCode::NotFound])
}
