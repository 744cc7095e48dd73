//! `POST /api/v1/tenants/{id}/exports`

use contracts::command::RecordTenantExport;

use super::{CommandRequest, Endpoint, Failure, RECORDS, Response, post};

async fn handler(request: CommandRequest<RecordTenantExport>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RecordTenantExport>(post(handler))
        .summary("Put the export of a tenant on record")
        .description(
            "An export (`GET /tenants/{id}/export`) does so by itself, before its first row and after \
             its last one. This is for copies that are made by other means, a dump of the database \
             say. Wherever the tenant stands; it changes nothing of it.",
        )
        .problems(RECORDS)
}
