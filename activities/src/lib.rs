//! The workflows' activities: thin calls of dispatch-api.
//!
//! Their only way there is [`Bookkeeper`]: it keeps the books, carries out what people have
//! released, and follows advice where the call says that software may, which in SHADOW is nowhere.
//! dispatch-api asks stage, kill switch and policy again at each. Each activity may run any number
//! of times: its command's key follows from what is asked for, so a second run finds the first
//! one's effect.
//!
//! Whether a failure is worth another attempt is decided here, where the API's error code is
//! known. What is final comes back as a value; an activity fails only when trying again can help.
#![expect(
    missing_debug_implementations,
    reason = "the SDK's macro makes a marker type of each activity"
)]

mod act;
mod advise;
mod approval_step;
mod bookkeeper;
mod execute_approval;
mod failure;
mod record_sla;
mod snapshot;
mod tenant_control;

use std::sync::Arc;

use bookkeeper::Desk;
use failure::Later;

pub use bookkeeper::Bookkeeper;

use contracts::autonomy::TenantControlStart;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::activity::{
    AdviseCall, ApprovalStepCall, CarryOutCall, Controlled, Outcome, RecordSlaCall, Settled,
    SnapshotCall, SnapshotOutcome, TicketActivity,
};

/// Implements the definitions of [`workflows::activity`].
#[derive(Debug)]
pub struct TicketActivities {
    api: Bookkeeper,
}

impl TicketActivities {
    /// Activities that call dispatch-api.
    pub fn new(api: Bookkeeper) -> Self {
        Self { api }
    }
}

#[activities]
impl TicketActivities {
    /// Reads the truth about a ticket.
    #[activity(definition = workflows::activity::TakeSnapshot)]
    pub async fn ticket_snapshot(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: SnapshotCall,
    ) -> Result<SnapshotOutcome, ActivityError> {
        snapshot::take(&self.api, &call)
            .await
            .map_err(|error| failure::retryable(workflows::activity::TakeSnapshot::NAME, error))
    }

    /// Asks the advisors and records what they say.
    #[activity(definition = workflows::activity::Advise)]
    pub async fn advise(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: AdviseCall,
    ) -> Result<Settled, ActivityError> {
        let desk = self
            .api
            .of(call.tenant_id, call.ticket_id, call.cause.as_ref());
        let ended = advise::record(&desk, &call).await;
        settled(&desk, workflows::activity::Advise::NAME, ended)
    }

    /// Records an SLA warning or breach.
    #[activity(definition = workflows::activity::RecordSla)]
    pub async fn record_sla(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: RecordSlaCall,
    ) -> Result<Settled, ActivityError> {
        let desk = self
            .api
            .of(call.tenant_id, call.ticket_id, call.cause.as_ref());
        let ended = record_sla::record(&desk, &call).await;
        settled(&desk, workflows::activity::RecordSla::NAME, ended)
    }

    /// Reminds, escalates or ends an approval that nobody decided.
    #[activity(definition = workflows::activity::TakeApprovalStep)]
    pub async fn approval_step(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: ApprovalStepCall,
    ) -> Result<Settled, ActivityError> {
        let desk = self
            .api
            .of(call.tenant_id, call.ticket_id, call.cause.as_ref());
        let ended = approval_step::record(&desk, &call).await;
        settled(&desk, workflows::activity::TakeApprovalStep::NAME, ended)
    }

    /// Carries out what people have released.
    #[activity(definition = workflows::activity::CarryOut)]
    pub async fn execute_approval(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: CarryOutCall,
    ) -> Result<Settled, ActivityError> {
        let desk = self
            .api
            .of(call.tenant_id, call.ticket_id, call.cause.as_ref());
        let ended = execute_approval::carry_out(&desk, &call).await;
        settled(&desk, workflows::activity::CarryOut::NAME, ended)
    }

    /// Sends what is due for a tenant without a ticket.
    #[activity(definition = workflows::activity::ControlTenant)]
    pub async fn tenant_control(
        self: Arc<Self>,
        _ctx: ActivityContext,
        start: TenantControlStart,
    ) -> Result<Controlled, ActivityError> {
        tenant_control::run(&self.api.of_tenant(start.tenant_id))
            .await
            .map_err(|error| failure::retryable(workflows::activity::ControlTenant::NAME, error))
    }
}

/// What goes back to the workflow: how it ended, and how the kill switches stood then.
fn settled(
    desk: &Desk,
    activity: &'static str,
    ended: Result<Outcome, Later>,
) -> Result<Settled, ActivityError> {
    match ended {
        Ok(outcome) => Ok(Settled {
            outcome,
            kill: desk.kill(),
        }),
        Err(later) => Err(failure::retryable(activity, later)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use workflows::activity::ALL;

    /// The definitions say what each activity may send, and a test there what of it changes a
    /// ticket; here: the implementations are those and no others, and reach nothing else. What acts
    /// sends is made by [`domain::advisor::command_of`] alone, which has a test of its own.
    #[test]
    fn only_the_defined_activities_exist_and_they_reach_nothing_else() {
        let markers = include_str!("lib.rs")
            .lines()
            .filter(|line| line.trim_start().starts_with("#[activity("));
        let markers: BTreeSet<_> = markers.map(str::trim).collect();
        // The ticket's, and the tenant's one.
        assert_eq!(markers.len(), ALL.len() + 1, "{markers:?}");
        let defined = "#[activity(definition = workflows::activity::";
        assert!(
            markers.iter().all(|m| m.starts_with(defined)),
            "{markers:?}"
        );

        // However its lines are broken.
        let source: String = include_str!("bookkeeper.rs").split_whitespace().collect();
        let reached: BTreeSet<_> = source
            .split("self.client.")
            .skip(1)
            .filter_map(|rest| rest.split('(').next())
            .collect();
        let allowed = [
            "advisor_input",
            "control_due",
            "escalation_input",
            "execute_approval",
            "proposals",
            "record_approval_step",
            "record_proposal",
            "record_sla",
            "send_due",
            "snapshot",
            "try_command",
            // The same client for a tenant, and what answers told of the key; neither sends anything.
            "in_tenant",
            "key_days_left",
        ];
        assert_eq!(reached, BTreeSet::from(allowed));
        let attempts = include_str!("act.rs").matches("desk.act(").count();
        assert_eq!(attempts, 1, "advice is followed in one place");
    }
}
