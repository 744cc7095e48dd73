//! `GET /api/v1/assets`

use contracts::{SiteId, Slug, directory::AssetPage};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, directory_filter, get};
use crate::shapes::Rows;

async fn handler(request: ReadRequest) -> Result<Json<AssetPage>, Failure> {
    let filter = directory_filter(&request, &["site_id"])?;
    let mut tx = request.open().await?;
    let mut page = store::read::assets(&mut tx, &filter).await?;
    tx.commit().await?;
    page.next_cursor = request.next_cursor(page.next_cursor);
    Ok(Json(page))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<AssetPage>("list_assets", "/assets", get(handler))
        .needs(ReadPermission::Directory)
        .summary("List assets")
        .description("Newest first; all given filters must hold.")
        .query::<Slug>("code", false, "Only the one with this code.")
        .query::<SiteId>("site_id", false, "Only at this site.")
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .query::<Rows<200>>("limit", false, "Rows per page, 1 to 200; 50 without it.")
}
