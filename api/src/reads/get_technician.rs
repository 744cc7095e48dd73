//! `GET /api/v1/technicians/{id}`

use contracts::{ErrorCode, TechnicianId, directory::TechnicianRecord};

use super::{Endpoint, Failure, Json, PathId, ReadRequest, get};

async fn handler(
    PathId(id): PathId<TechnicianId>,
    request: ReadRequest,
) -> Result<Json<TechnicianRecord>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let found = store::read::technician(&mut tx, id, request.homes()).await?;
    tx.commit().await?;
    found
        .map(Json)
        .ok_or_else(|| Failure::no_such("technician"))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TechnicianRecord>("get_technician", "/technicians/{id}", get(handler))
        .summary("Get a technician")
        .description(
            "Where they start from is for dispatchers, tenant administrators, platform \
             administrators and the technician.",
        )
        .of::<TechnicianId>("The technician.")
        .problems(&[ErrorCode::NotFound])
}
