//! Where the stages stand, how they came there, and what is due without a ticket.

use chrono::{DateTime, Utc};
use contracts::{
    Operation, Slug,
    approval::Approval,
    autonomy::StageSetting,
    rollout::{KeptReport, StageChange},
};
use serde_json::Value;
use sqlx::{FromRow, types::Json};

use crate::{Error, TenantTx};

/// A stage that is set, with who set it.
#[derive(Debug, Clone, PartialEq)]
pub struct StageRow {
    /// What is set.
    pub setting: StageSetting,
    /// Who.
    pub set_by: String,
    /// When.
    pub set_at: DateTime<Utc>,
    /// Why.
    pub reason: Slug,
}

#[derive(FromRow)]
struct Row {
    setting: Json<StageSetting>,
    set_by: String,
    set_at: DateTime<Utc>,
    reason: String,
}

/// The tenant's stages, by name.
pub async fn stages(tx: &mut TenantTx) -> Result<Vec<StageRow>, Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select jsonb_build_object('target', jsonb_build_object(
                    'operation', s.operation, 'risk', nullif(s.risk, '')),
                    'mode', s.mode, 'percent', s.percent, 'version', s.version) as setting,
                s.set_by, s.set_at, s.reason
         from autonomy_stages s where s.tenant_id = $1 order by s.operation, s.risk",
    )
    .bind(tx.tenant_id().as_uuid())
    .fetch_all(tx.connection())
    .await?;
    let read = |row: Row| {
        let reason = Slug::new(row.reason).map_err(|error| {
            Error::corrupt("autonomy_stages", "reason", row.setting.target.key(), error)
        })?;
        Ok(StageRow {
            setting: row.setting.0,
            set_by: row.set_by,
            set_at: row.set_at,
            reason,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Changes of stages, newest first; those to come are among them.
pub async fn stage_changes(
    tx: &mut TenantTx,
    operation: Option<Operation>,
    limit: i64,
) -> Result<Vec<StageChange>, Error> {
    let rows: Vec<Json<StageChange>> = sqlx::query_scalar(
        "select stage_change_json(c) from stage_changes c
         where c.tenant_id = $1 and ($2::text is null or c.operation = $2)
         order by c.decided_at desc, c.command_id desc limit $3",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(operation.map(|operation| operation.to_string()))
    .bind(limit)
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|Json(change)| change).collect())
}

/// Changes that are neither applied nor void, the first to come first.
pub async fn stage_changes_to_come(tx: &mut TenantTx) -> Result<Vec<StageChange>, Error> {
    let rows: Vec<Json<StageChange>> = sqlx::query_scalar(
        "select j from stage_changes c, lateral stage_change_json(c) j
         where c.tenant_id = $1 and c.applied_at is null and not (j ->> 'superseded')::boolean
         order by c.effective_at, c.command_id",
    )
    .bind(tx.tenant_id().as_uuid())
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|Json(change)| change).collect())
}

#[derive(FromRow)]
struct ReportRow {
    sha256: String,
    kind: String,
    subject: String,
    made_at: DateTime<Utc>,
    document: String,
}

/// A kept report.
pub async fn report(tx: &mut TenantTx, sha256: &str) -> Result<Option<KeptReport>, Error> {
    let row: Option<ReportRow> = sqlx::query_as(
        "select sha256, kind, subject, made_at, document from reports
         where tenant_id = $1 and sha256 = $2",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(sha256)
    .fetch_optional(tx.connection())
    .await?;
    let read = |row: ReportRow| {
        let document: Value = serde_json::from_str(&row.document)
            .map_err(|error| Error::corrupt("reports", "document", &row.sha256, error))?;
        Ok(KeptReport {
            sha256: row.sha256,
            kind: row.kind,
            subject: row.subject,
            made_at: row.made_at,
            document,
        })
    };
    row.map(read).transpose()
}

/// Approvals without a ticket of which a step is due.
pub async fn approval_steps_due(
    tx: &mut TenantTx,
    now: DateTime<Utc>,
) -> Result<Vec<Approval>, Error> {
    let rows: Vec<Json<Approval>> = sqlx::query_scalar(
        "select approval_json(a) from approvals a
         where a.tenant_id = $1 and a.ticket_id is null and a.state = 'pending'
           and (a.steps #>> '{0,at}')::timestamptz <= $2
         order by a.expires_at, a.id",
    )
    .bind(tx.tenant_id().as_uuid())
    .bind(now)
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|Json(approval)| approval).collect())
}

/// SHA-256 of the bundle that decides; `None` when there is none.
pub async fn active_bundle(tx: &mut TenantTx) -> Result<Option<String>, Error> {
    let sha256 = sqlx::query_scalar("select bundle_sha256 from deployment")
        .fetch_optional(tx.connection())
        .await?;
    Ok(sha256.flatten())
}
