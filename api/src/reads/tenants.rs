//! `GET /api/v1/tenants`, `/tenants/{id}`, `/tenants/{id}/export`

use std::{pin::pin, time::Duration};

use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use contracts::{
    ErrorCode, ReadPermission, Slug, TenantId,
    tenant::{ExportLine, ExportStep, TenantPage, TenantState, TenantView},
};
use futures::{SinkExt, TryStreamExt, channel::mpsc};
use http::header;
use store::{TenantTx, tenants};
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Endpoint, Failure, Json, PathId, ReadRequest, Response, get};
use crate::endpoint::NDJSON;
use crate::shapes::Rows;

const USUAL_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 1000;
/// How long one may take, its reader included: who reads more slowly is cut off.
const EXPORT: Duration = Duration::from_secs(15 * 60);
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
        let (parts, body) = mpsc::channel::<Result<Bytes, std::io::Error>>(2);
        let mut writer = Writer {
            lines: Vec::with_capacity(PART),
            rows: 0,
            parts,
        };
        let written = match opened(&request, id).await {
            Ok(tx) => {
                let head = [(header::CONTENT_TYPE, NDJSON)];
                // Who left meanwhile reads nothing.
                let _ = told.send((head, Body::from_stream(body)).into_response());
                writer.within(tx, request.stopping()).await
            }
            Err(failure) => {
                let _ = told.send(failure.into_response());
                Err(Broken::Left)
            }
        };
        // Before its last part, so that whoever has read all of it finds that on record.
        let step = match written {
            Ok(()) => ExportStep::Completed,
            Err(_) => ExportStep::BrokenOff,
        };
        record.end(step, writer.rows).await;
        if let Err(error) = written {
            // The status is sent: what is left is to end the body where nobody takes it for the end.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "an export broke off"
            );
            let broken = std::io::Error::other("the export broke off");
            let _ = writer.parts.send(Err(broken)).await;
        }
    };
    tasks.spawn(copy.in_current_span());
    answer.await.map_err(Failure::internal)
}

async fn opened(request: &ReadRequest, id: TenantId) -> Result<TenantTx, Failure> {
    let mut tx = request.open_about(id).await?;
    tx.allow(EXPORT).await?;
    Ok(tx)
}

/// Why an export broke off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("nobody reads on")]
    Left,
    #[error("it was read too slowly")]
    Slow,
    #[error("the process was asked to stop")]
    Stopped,
    #[error("a row cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

struct Writer {
    lines: Vec<u8>,
    rows: u64,
    parts: mpsc::Sender<Result<Bytes, std::io::Error>>,
}

impl Writer {
    /// Within its time, and the process's.
    async fn within(&mut self, tx: TenantTx, stopping: &CancellationToken) -> Result<(), Broken> {
        tokio::select! {
            written = timeout(EXPORT, self.write(tx)) => written.unwrap_or(Err(Broken::Slow)),
            () = stopping.cancelled() => Err(Broken::Stopped),
        }
    }

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
        serde_json::to_writer(&mut self.lines, line)?;
        self.lines.push(b'\n');
        match self.lines.len() < PART {
            true => Ok(()),
            false => self.flush().await,
        }
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        let lines = std::mem::replace(&mut self.lines, Vec::with_capacity(PART));
        let sent = self.parts.send(Ok(lines.into())).await;
        sent.map_err(|_| Broken::Left)
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
                 not complete. That it begins and how it ended is on record in the tenant's chain, as \
                 `record_tenant_export` of the caller.",
            )
            .problems(&[ErrorCode::NotFound])
            .lines(),
    ]
}
