//! The rollout: where stages stand, the ledger, gate reports, and changing a stage.

use chrono::{DateTime, SecondsFormat, Utc};
use contracts::{
    Operation,
    autonomy::StageTarget,
    command::{ApplyStageChange, DemoteStage, PromoteStage, RecordGateReport},
    filing::FilingReceipt,
    rollout::{KeptReport, LedgerView, RolloutView, StageHistory},
};

use crate::{CallOptions, Client, ClientError, FilingAnswer};

impl Client {
    /// How far software may go, kind of command by kind of command.
    pub async fn rollout(&self) -> Result<RolloutView, ClientError> {
        self.read("api/v1/rollout", Vec::new()).await
    }

    /// How the stages came where they are.
    pub async fn rollout_history(
        &self,
        operation: Option<Operation>,
    ) -> Result<StageHistory, ClientError> {
        let only = operation.map(|operation| ("operation", operation.to_string()));
        self.read("api/v1/rollout/history", only.into_iter().collect())
            .await
    }

    /// How good software's advice and acts were, in a range of time.
    pub async fn rollout_ledger(
        &self,
        target: &StageTarget,
        since: Option<DateTime<Utc>>,
        until: Option<DateTime<Utc>>,
    ) -> Result<LedgerView, ClientError> {
        let at = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let query = [
            ("operation", Some(target.operation.to_string())),
            ("risk", target.risk.as_ref().map(ToString::to_string)),
            ("since", since.map(at)),
            ("until", until.map(at)),
        ];
        let query = query
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        self.read("api/v1/rollout/ledger", query.collect()).await
    }

    /// A kept report.
    pub async fn kept_report(&self, sha256: &str) -> Result<KeptReport, ClientError> {
        self.read(
            "api/v1/rollout/reports",
            vec![("sha256", sha256.to_owned())],
        )
        .await
    }

    /// Makes a gate report and keeps it.
    pub async fn record_gate_report(
        &self,
        body: &RecordGateReport,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        self.filing(Operation::RecordGateReport, body, options)
            .await
    }

    /// Lets software do more by itself; policy wants a second person to say so.
    pub async fn promote_stage(
        &self,
        body: &PromoteStage,
        options: &CallOptions,
    ) -> Result<FilingAnswer, ClientError> {
        self.patient()
            .send_about(Operation::PromoteStage, None, body, options)
            .await
    }

    /// A change that was decided before comes to be.
    pub async fn apply_stage_change(
        &self,
        body: &ApplyStageChange,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        self.patient()
            .filing(Operation::ApplyStageChange, body, options)
            .await
    }

    /// Lets software do less by itself, at once.
    pub async fn demote_stage(
        &self,
        body: &DemoteStage,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        self.patient()
            .filing(Operation::DemoteStage, body, options)
            .await
    }
}
