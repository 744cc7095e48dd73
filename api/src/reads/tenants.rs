//! `GET /api/v1/tenants`, `/tenants/{id}`, `/tenants/{id}/export`

use std::pin::pin;

use axum::response::IntoResponse;
use contracts::{
    ErrorCode, ReadPermission, Slug, TenantId,
    tenant::{ExportLine, ExportStep, TenantPage, TenantState, TenantView},
};
use futures::TryStreamExt;
use store::{TenantTx, tenants};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{
    Endpoint, Failure, Json, PathId, ReadRequest, Response, get,
    lines::{Broken, LONGEST, Lines, lines, still_known, within},
};
use crate::shapes::Rows;

const USUAL_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 1000;
/// Lines are handed on in parts of about this size.
const PART: usize = 64 * 1024;

async fn list(request: ReadRequest) -> Result<Json<TenantPage>, Failure> {
    let query = request.query(&["after", "state", "limit"])?;
    let (after, state) = (
        query.get::<Slug>("after")?,
        query.get::<TenantState>("state")?,
    );
    let limit = query.limit(MAX_LIMIT)?.unwrap_or(USUAL_LIMIT);
    let mut tx = request.open().await?;
    let page = match request.runs_installation() {
        true => tenants::list(&mut tx, after.as_ref(), state, limit).await?,
        false => {
            let own = tenants::view(&mut tx).await?.map(|own| own.summary);
            let fits = |own: &_| is_in(own, after.as_ref(), state);
            TenantPage {
                items: own.filter(fits).into_iter().collect(),
                next_after: None,
            }
        }
    };
    tx.commit().await?;
    Ok(Json(page))
}

fn is_in(
    own: &contracts::tenant::TenantSummary,
    after: Option<&Slug>,
    state: Option<TenantState>,
) -> bool {
    after.is_none_or(|after| own.slug > *after) && state.is_none_or(|state| own.state == state)
}

async fn one(
    PathId(id): PathId<TenantId>,
    request: ReadRequest,
) -> Result<Json<TenantView>, Failure> {
    request.query(&[])?;
    let mut tx = request.open_about(id).await?;
    let found = tenants::view(&mut tx).await?;
    tx.commit().await?;
    let mut found = found.ok_or_else(|| Failure::no_such("tenant"))?;
    if found.summary.state != TenantState::Erased {
        found.quotas = Some(request.quotas(id, &found.limits).await);
    }
    Ok(Json(found))
}

/// All of it as of one moment. The transaction is open for as long as the caller reads, and ends with
/// them. That it begins, and how it ended, is on record in the tenant's chain: it runs in a task of its
/// own, which outlives a caller who goes away.
async fn export(PathId(id): PathId<TenantId>, request: ReadRequest) -> Result<Response, Failure> {
    request.query(&[])?;
    // Who may not is told so, and leaves no attempt behind.
    request.open_about(id).await?.commit().await?;
    let room = request.exports().begin(id).await;
    let room =
        room.ok_or_else(|| Failure::unavailable("Other exports are being made. Try again."))?;
    let tasks = request.tasks().clone();
    let (told, answer) = oneshot::channel();
    let copy = async move {
        let _room = room;
        let record = match request.begin_export(id).await {
            Ok(record) => record,
            Err(refused) => return drop(told.send(refused)),
        };
        let (lines, response) = lines();
        let mut writer = Writer {
            request: &request,
            part: Vec::with_capacity(PART),
            rows: 0,
            lines: &lines,
        };
        let written = match opened(&request, id).await {
            Ok(tx) => {
                // Who left meanwhile reads nothing.
                let _ = told.send(response);
                within(request.stopping(), writer.write(tx)).await
            }
            Err(failure) => {
                let _ = told.send(failure.into_response());
                Err(Broken::Left)
            }
        };
        // Before its end, so that whoever has read all of it finds that on record.
        let step = match written {
            Ok(()) => ExportStep::Completed,
            Err(_) => ExportStep::BrokenOff,
        };
        record.end(step, writer.rows).await;
        lines.end(written);
    };
    tasks.spawn(copy.in_current_span());
    answer.await.map_err(Failure::internal)
}

async fn opened(request: &ReadRequest, id: TenantId) -> Result<TenantTx, Failure> {
    let mut tx = request.open_about(id).await?;
    tx.allow_reader(LONGEST).await?;
    Ok(tx)
}

struct Writer<'a> {
    request: &'a ReadRequest,
    part: Vec<u8>,
    rows: u64,
    lines: &'a Lines,
}

impl Writer<'_> {
    async fn write(&mut self, mut tx: TenantTx) -> Result<(), Broken> {
        for table in tenants::export_tables(&mut tx).await? {
            let mut lines = pin!(tenants::export(&mut tx, &table));
            while let Some(line) = lines.try_next().await? {
                self.rows += 1;
                self.line(&line).await?;
            }
        }
        tx.commit().await?;
        self.line(&ExportLine::End { rows: self.rows }).await?;
        self.flush().await
    }

    async fn line(&mut self, line: &ExportLine) -> Result<(), Broken> {
        serde_json::to_writer(&mut self.part, line)?;
        self.part.push(b'\n');
        match self.part.len() < PART {
            true => Ok(()),
            false => self.flush().await,
        }
    }

    /// Hands on what there is, to whom may read it still.
    async fn flush(&mut self) -> Result<(), Broken> {
        let room = self.lines.room().await?;
        still_known(self.request).await?;
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART));
        room.send(part.into());
        Ok(())
    }
}

pub(super) fn endpoints() -> [Endpoint; 3] {
    [
        Endpoint::read::<TenantPage>("list_tenants", "/tenants", get(list))
            .needs(ReadPermission::Tenant)
            .summary("List tenants")
            .description(
                "By their slug. People with role platform_admin see all of the installation, others \
                 their own.",
            )
            .query::<Slug>("after", false, "`next_after` of the page before.")
            .query::<TenantState>("state", false, "Only those that stand here.")
            .query::<Rows<1000>>("limit", false, "Rows per page, 1 to 1000; 200 without it."),
        Endpoint::read::<TenantView>("get_tenant", "/tenants/{id}", get(one))
            .of::<TenantId>("The tenant.")
            .needs(ReadPermission::Tenant)
            .summary("Get a tenant")
            .description("How it is set up and where it stands.")
            .problems(&[ErrorCode::NotFound]),
        Endpoint::read::<ExportLine>("export_tenant", "/tenants/{id}/export", get(export))
            .of::<TenantId>("The tenant.")
            .needs(ReadPermission::TenantExport)
            .summary("Export a tenant")
            .description(
                "Everything that is kept of it as of one moment, as JSON Lines: one row of a table a \
                 line, tables by name and rows by key, personal data included, secrets and stored \
                 answers left out. The last line says how many rows there were; a body without it is \
                 not complete: so ends what takes more than 15 minutes, or whose reader's token or key \
                 has ended. That it begins and how it ended is on record in the tenant's chain, as \
                 `record_tenant_export` of the caller.",
            )
            // It is a command too, which is refused and waits as one.
            .problems(&[
                ErrorCode::NotFound,
                ErrorCode::PolicyDenied,
                ErrorCode::InFlight,
            ])
            .lines(),
    ]
}
