//! `GET /api/v1/sites/{id}`

use contracts::{ErrorCode, SiteId, directory::SiteRecord};

use super::{Endpoint, Failure, Json, PathId, ReadRequest, get};

async fn handler(
    PathId(id): PathId<SiteId>,
    request: ReadRequest,
) -> Result<Json<SiteRecord>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let found = store::read::site(&mut tx, id).await?;
    tx.commit().await?;
    found.map(Json).ok_or_else(|| Failure::no_such("site"))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<SiteRecord>("get_site", "/sites/{id}", get(handler))
        .summary("Get a site")
        .of::<SiteId>("The site.")
        .problems(&[ErrorCode::NotFound])
}
