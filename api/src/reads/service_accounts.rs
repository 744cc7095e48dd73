//! `GET /api/v1/service-accounts`, `/service-accounts/{id}`, `/api-keys`

use contracts::{
    ErrorCode, ServiceAccountId, Slug,
    service_account::{ApiKeyPage, ServiceAccountPage, ServiceAccountView},
    value::KeyPrefix,
};
use store::read::KeyFilter;

use crate::shapes::Rows;

use super::{
    Endpoint, Failure, Json, PathId, ReadPermission, ReadRequest, Response, get, versioned,
};

const USUAL_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

async fn list(request: ReadRequest) -> Result<Json<ServiceAccountPage>, Failure> {
    let query = request.query(&["after", "limit"])?;
    let after = query.get::<Slug>("after")?;
    let limit = query.limit(MAX_LIMIT)?.unwrap_or(USUAL_LIMIT);
    let mut tx = request.open().await?;
    let page = store::read::service_accounts(&mut tx, after.as_ref(), limit).await?;
    tx.commit().await?;
    Ok(Json(page))
}

async fn one(
    PathId(id): PathId<ServiceAccountId>,
    request: ReadRequest,
) -> Result<Response, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let found = store::read::service_account(&mut tx, id).await?;
    tx.commit().await?;
    let found = found.ok_or_else(|| Failure::no_such("service account"))?;
    // When a key was used last changes without a command.
    let used = found.keys.iter().filter_map(|key| key.last_used_at).max();
    let used = used.map_or(0, |at| at.timestamp());
    let version = format!("{}-{used}", found.account.version);
    Ok(versioned(&request, &version, found))
}

async fn keys(request: ReadRequest) -> Result<Json<ApiKeyPage>, Failure> {
    let query = request.query(&["service_account_id", "prefix", "cursor", "limit"])?;
    let filter = KeyFilter {
        account: query.get::<ServiceAccountId>("service_account_id")?,
        prefix: query.get::<KeyPrefix>("prefix")?,
    };
    let cursor = request.cursor(&query)?;
    let limit = query.limit(MAX_LIMIT)?.unwrap_or(USUAL_LIMIT);
    let mut tx = request.open().await?;
    let mut page = store::read::api_keys(&mut tx, &filter, cursor.as_deref(), limit).await?;
    tx.commit().await?;
    page.next_cursor = request.next_cursor(page.next_cursor);
    Ok(Json(page))
}

pub(super) fn endpoints() -> [Endpoint; 3] {
    [
        Endpoint::read::<ServiceAccountPage>(
            "list_service_accounts",
            "/service-accounts",
            get(list),
        )
        .needs(ReadPermission::ServiceAccounts)
        .summary("List service accounts")
        .description("By their code.")
        .query::<Slug>("after", false, "`next_after` of the page before.")
        .query::<Rows<200>>("limit", false, "Rows per page, 1 to 200; 50 without it."),
        Endpoint::read::<ServiceAccountView>(
            "get_service_account",
            "/service-accounts/{id}",
            get(one),
        )
        .of::<ServiceAccountId>("The service account.")
        .needs(ReadPermission::ServiceAccounts)
        .etag()
        .summary("Get a service account")
        .description("With its latest keys, of which only the prefix is known here.")
        .problems(&[ErrorCode::NotFound]),
        Endpoint::read::<ApiKeyPage>("list_api_keys", "/api-keys", get(keys))
            .needs(ReadPermission::ServiceAccounts)
            .summary("List API keys")
            .description("Newest first, with when each ends and was used last; never a key itself.")
            .query::<ServiceAccountId>("service_account_id", false, "Only of this account.")
            .query::<KeyPrefix>("prefix", false, "Only those with this prefix.")
            .query::<String>("cursor", false, "`next_cursor` of the page before.")
            .query::<Rows<200>>("limit", false, "Rows per page, 1 to 200; 50 without it."),
    ]
}
