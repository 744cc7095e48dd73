//! `GET /api/v1/sites/{id}`

use contracts::{ErrorCode, SiteId, directory::SiteRecord};

use super::{Endpoint, Failure, PathId, ReadPermission, ReadRequest, Response, get, versioned};

async fn handler(PathId(id): PathId<SiteId>, request: ReadRequest) -> Result<Response, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let found = store::read::site(&mut tx, id).await?;
    tx.commit().await?;
    let found = found.ok_or_else(|| Failure::no_such("site"))?;
    Ok(versioned(&request, &found.version.to_string(), found))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<SiteRecord>("get_site", "/sites/{id}", get(handler))
        .needs(ReadPermission::Directory)
        .etag()
        .summary("Get a site")
        .of::<SiteId>("The site.")
        .problems(&[ErrorCode::NotFound])
}
