//! `GET /api/v1/sites`

use contracts::{Slug, directory::SitePage};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, directory_filter, get};
use crate::shapes::Rows;

async fn handler(request: ReadRequest) -> Result<Json<SitePage>, Failure> {
    let filter = directory_filter(&request, &[])?;
    let mut tx = request.open().await?;
    let mut page = store::read::sites(&mut tx, &filter).await?;
    tx.commit().await?;
    page.next_cursor = request.next_cursor(page.next_cursor);
    Ok(Json(page))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<SitePage>("list_sites", "/sites", get(handler))
        .needs(ReadPermission::Directory)
        .summary("List sites")
        .description("Newest first; all given filters must hold.")
        .query::<Slug>("code", false, "Only the one with this code.")
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .query::<Rows<200>>("limit", false, "Rows per page, 1 to 200; 50 without it.")
}
