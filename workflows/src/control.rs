//! One round of a tenant's control: what is due without a ticket.
//!
//! A Temporal Schedule starts it every few seconds, and skips while one runs. dispatch-api says what
//! is due, from what is on record at that moment, with the key of each command; so a round that was
//! broken off, repeated or left out changes nothing but the time.
#![expect(
    missing_debug_implementations,
    reason = "the SDK's macro makes a marker type of each method"
)]

use std::time::Duration;

use contracts::autonomy::{TENANT_CONTROL_WORKFLOW, TenantControlStart};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    LocalActivityOptions, WorkflowContext, WorkflowResult, common::RetryPolicy,
};

use crate::activity::{ControlTenant, Controlled};

/// How long one attempt may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(6);
/// The pause after a failed attempt, and how often it is tried: then the next round is near.
const PAUSE: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 3;

/// One round of a tenant's control.
#[workflow]
#[derive(Debug, Default)]
pub struct TenantControl;

#[workflow_methods]
impl TenantControl {
    /// Asks what is due and has it sent.
    #[run(name = TENANT_CONTROL_WORKFLOW)]
    pub async fn run(
        ctx: &mut WorkflowContext<Self>,
        start: TenantControlStart,
    ) -> WorkflowResult<Controlled> {
        let retry = RetryPolicy::builder()
            .maximum_attempts(ATTEMPTS)
            .initial_interval(PAUSE)
            .build();
        let options = LocalActivityOptions::builder()
            .start_to_close_timeout(CALL_TIMEOUT)
            .retry_policy(retry)
            .build();
        let done = ctx
            .execute_local_activity(ControlTenant, start, options)
            .await;
        Ok(done?)
    }
}
