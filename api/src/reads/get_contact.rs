//! `GET /api/v1/contacts/{id}`

use contracts::{ContactId, ErrorCode, directory::ContactRecord};

use super::{Endpoint, Failure, PathId, ReadPermission, ReadRequest, Response, get, versioned};

async fn handler(PathId(id): PathId<ContactId>, request: ReadRequest) -> Result<Response, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let found = store::read::contact(&mut tx, id).await?;
    tx.commit().await?;
    let found = found.ok_or_else(|| Failure::no_such("contact"))?;
    Ok(versioned(&request, &found.version.to_string(), found))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<ContactRecord>("get_contact", "/contacts/{id}", get(handler))
        .needs(ReadPermission::Contacts)
        .etag()
        .summary("Get a contact")
        .description("Personal data.")
        .of::<ContactId>("The contact.")
        .problems(&[ErrorCode::NotFound])
}
