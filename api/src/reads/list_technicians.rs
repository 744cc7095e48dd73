//! `GET /api/v1/technicians`

use contracts::{Slug, directory::TechnicianPage};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, directory_filter, get};
use crate::shapes::Rows;

async fn handler(request: ReadRequest) -> Result<Json<TechnicianPage>, Failure> {
    let filter = directory_filter(&request, &["skill", "active"])?;
    let mut tx = request.open().await?;
    let mut page = store::read::technicians(&mut tx, &filter, request.homes()).await?;
    tx.commit().await?;
    page.next_cursor = request.next_cursor(page.next_cursor);
    Ok(Json(page))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TechnicianPage>("list_technicians", "/technicians", get(handler))
        .needs(ReadPermission::Directory)
        .summary("List technicians")
        .description(
            "Newest first; all given filters must hold. Where a technician starts from is for \
             dispatchers, tenant administrators, platform administrators and that technician.",
        )
        .query::<Slug>("code", false, "Only the one with this code.")
        .query::<Slug>("skill", false, "Only who can do this.")
        .query::<bool>(
            "active",
            false,
            "Only who may be sent, or only who may not.",
        )
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .query::<Rows<200>>("limit", false, "Rows per page, 1 to 200; 50 without it.")
}
