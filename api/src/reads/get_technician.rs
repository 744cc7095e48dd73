//! `GET /api/v1/technicians/{id}`

use contracts::{ErrorCode, TechnicianId, directory::TechnicianRecord};

use super::{Endpoint, Failure, PathId, ReadPermission, ReadRequest, Response, get, versioned};

async fn handler(
    PathId(id): PathId<TechnicianId>,
    request: ReadRequest,
) -> Result<Response, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let found = store::read::technician(&mut tx, id, request.homes()).await?;
    tx.commit().await?;
    let found = found.ok_or_else(|| Failure::no_such("technician"))?;
    Ok(versioned(&request, &found.version.to_string(), found))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TechnicianRecord>("get_technician", "/technicians/{id}", get(handler))
        .needs(ReadPermission::Directory)
        .etag()
        .summary("Get a technician")
        .description(
            "Where they start from is for dispatchers, tenant administrators, platform \
             administrators and the technician.",
        )
        .of::<TechnicianId>("The technician.")
        .problems(&[ErrorCode::NotFound])
}
