//! `GET /api/v1/contacts/{id}`

use contracts::{ContactId, ErrorCode, directory::ContactRecord};

use super::{Endpoint, Failure, Json, PathId, ReadRequest, get};

async fn handler(
    PathId(id): PathId<ContactId>,
    request: ReadRequest,
) -> Result<Json<ContactRecord>, Failure> {
    request.personal_data()?;
    request.query(&[])?;
    let mut tx = request.open().await?;
    let found = store::read::contact(&mut tx, id).await?;
    tx.commit().await?;
    found.map(Json).ok_or_else(|| Failure::no_such("contact"))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<ContactRecord>("get_contact", "/contacts/{id}", get(handler))
        .summary("Get a contact")
        .description("Personal data: for those who plan and do the work.")
        .of::<ContactId>("The contact.")
        .problems(&[ErrorCode::NotFound, ErrorCode::Forbidden])
}
