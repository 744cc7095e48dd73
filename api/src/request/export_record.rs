//! An export of a tenant, on record.
//!
//! Reads are no attempts and leave no audit row. A copy of all that is kept of a tenant is the one
//! exception: who made it, when, and how it ended stands on that tenant's chain, by a command that
//! goes through the pipeline like every other. Its beginning is there before the first row goes out:
//! what cannot be put on record is not read. An end is missing where the process or the database
//! ended first; a beginning without one is a copy that may have been made.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use contracts::{
    CommandId, CorrelationId, TenantId, command::RecordTenantExport, tenant::ExportStep,
};
use tokio::time::sleep;
use uuid::Uuid;

use super::{Caller, command::reply};
use crate::{
    App,
    identity::Scopes,
    pipeline::{Answer, Call},
    problem::Failure,
};

/// How often an end is tried, and the pause before it is tried again.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// An export whose beginning is on record.
#[derive(Debug)]
pub struct ExportRecord {
    of: Export,
    begun_by: CommandId,
}

#[derive(Debug)]
struct Export {
    app: App,
    caller: Caller,
    correlation_id: CorrelationId,
    tenant: TenantId,
    /// Names both commands.
    id: Uuid,
}

impl ExportRecord {
    /// Puts the beginning on record; when that was refused, the command's answer.
    pub(super) async fn begin(
        app: App,
        caller: Caller,
        tenant: TenantId,
    ) -> Result<Self, Response> {
        let correlation_id = caller.context.correlation_id().cloned();
        let of = Export {
            correlation_id: correlation_id.map_err(IntoResponse::into_response)?,
            app,
            caller,
            tenant,
            id: Uuid::now_v7(),
        };
        let at = of.caller.context.received_at;
        let answer = of.record(ExportStep::Begun, None, at).await;
        match (answer.status, answer.command_id) {
            (200, Some(begun_by)) => Ok(Self { of, begun_by }),
            _ => Err(reply(answer).unwrap_or_else(Failure::into_response)),
        }
    }

    /// Puts the end on record. Where that cannot be done the log says so, and the copy is made all
    /// the same.
    pub async fn end(self, step: ExportStep, rows: u64) {
        for n in 1..=TRIES {
            let ended = Some((self.begun_by, rows));
            let answer = self.of.record(step, ended, Utc::now()).await;
            if answer.status == 200 {
                return;
            }
            if answer.retry_after_seconds.is_none() || n == TRIES {
                let (tenant, begun_by) = (self.of.tenant, self.begun_by);
                tracing::error!(
                    %tenant, %begun_by, status = answer.status, %step, rows,
                    "the end of an export could not be put on record"
                );
                return;
            }
            sleep(PAUSE).await;
        }
    }
}

impl Export {
    async fn record(
        &self,
        step: ExportStep,
        ended: Option<(CommandId, u64)>,
        at: DateTime<Utc>,
    ) -> Answer {
        let (begun_by, rows) = ended.unzip();
        let command = RecordTenantExport {
            tenant_id: self.tenant,
            step,
            begun_by,
            rows,
        };
        let part = match ended {
            None => "begun",
            Some(_) => "ended",
        };
        let call = Call {
            actor: (*self.caller.actor).clone(),
            request_id: format!("export-{}-{part}", self.id.simple()),
            correlation_id: self.correlation_id.clone(),
            trace: self.caller.context.trace.clone(),
            tool_name: None,
            of_list: None,
            home: None,
            // Whoever may read it all has it recorded, whatever else their key is for.
            scopes: Scopes::ALL,
            taken: false,
            untold: false,
            ticket_id: None,
            expected_version: None,
            dry_run: false,
            received_at: at,
            command: command.into(),
        };
        self.app.pipeline().execute(call).await
    }
}
