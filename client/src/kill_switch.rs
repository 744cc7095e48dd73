//! The kill switch: how it stands, turning it, drills.

use std::time::Duration;

use contracts::{
    Operation,
    command::{EngageKillSwitch, RecordDrill, ReleaseKillSwitch},
    directory::KillSwitchView,
    filing::FilingReceipt,
    kill_switch::DrillPage,
};

use crate::{CallOptions, Client, ClientError, FilingAnswer, RetryPolicy};

/// A turn waits for the commands of software that are under way: longer than other commands take.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(35);
pub(crate) const TOTAL: Duration = Duration::from_secs(90);

impl Client {
    /// For what turns a switch or a stage.
    pub(crate) fn patient(&self) -> Self {
        let usual = self.retry;
        self.with_retry(RetryPolicy {
            attempt: usual.attempt.max(ATTEMPT),
            total: usual.total.max(TOTAL),
            ..usual
        })
    }

    /// Software stops acting, as far as the scope reaches.
    pub async fn engage_kill_switch(
        &self,
        body: &EngageKillSwitch,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        self.patient()
            .filing(Operation::EngageKillSwitch, body, options)
            .await
    }

    /// Software may act again; policy may want a second person to say so.
    pub async fn release_kill_switch(
        &self,
        body: &ReleaseKillSwitch,
        options: &CallOptions,
    ) -> Result<FilingAnswer, ClientError> {
        self.patient()
            .send_about(Operation::ReleaseKillSwitch, None, body, options)
            .await
    }

    /// Keeps the report of a drill.
    pub async fn record_drill(
        &self,
        body: &RecordDrill,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        self.filing(Operation::RecordDrill, body, options).await
    }

    /// Every switch that was ever turned, and how far each stop has come.
    pub async fn kill_switch(&self) -> Result<KillSwitchView, ClientError> {
        self.read("api/v1/kill-switch", Vec::new()).await
    }

    /// Drills on record, the newest first.
    pub async fn kill_switch_drills(&self) -> Result<DrillPage, ClientError> {
        self.read("api/v1/kill-switch/drills", Vec::new()).await
    }
}
