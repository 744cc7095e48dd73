//! The least workflow that follows a ticket by the same rules: it takes the signals, makes the same
//! calls as local activities, and ends with the ticket. No search attribute, no timer, no details
//! for a person who looks.

use chrono::{DateTime, Utc};
use contracts::signal::{SignalEnvelope, TICKET_SIGNAL, TICKET_WORKFLOW, WorkflowView};
use serde_json::Value;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    LocalActivityOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView,
    WorkflowResult, common::data_converters::RawValue,
};
use workflows::{
    activity::{Advise, RecordSla, TakeSnapshot},
    ticket::{
        TicketInput,
        follower::{Step, TicketFollower},
    },
};

use super::{CALL_TIMEOUT, to_chrono};

/// The workflow.
#[workflow]
pub struct BareTicketWorkflow {
    follower: TicketFollower,
    signals: u64,
}

#[workflow_methods]
impl BareTicketWorkflow {
    /// Begins with nothing.
    #[init]
    pub fn new(_: &WorkflowContextView, input: TicketInput) -> Self {
        let mut follower = TicketFollower::new(&input.start);
        follower.ask_every_kind(true);
        Self {
            follower,
            signals: 0,
        }
    }

    /// Runs until the ticket ends.
    #[run(name = TICKET_WORKFLOW)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<WorkflowView> {
        let ctx = &*ctx;
        loop {
            let options = LocalActivityOptions::builder()
                .schedule_to_close_timeout(CALL_TIMEOUT)
                .build();
            match ctx.state_mut(|s| s.follower.next_step(now(ctx))) {
                Step::Snapshot(call) => {
                    let answer = ctx
                        .execute_local_activity(TakeSnapshot, call, options)
                        .await?;
                    ctx.state_mut(|s| s.follower.on_snapshot(Ok(answer), now(ctx)));
                }
                Step::RecordSla(call) => {
                    let answer = ctx
                        .execute_local_activity(RecordSla, call.clone(), options)
                        .await?;
                    ctx.state_mut(|s| s.follower.on_sla(call, Ok(answer.outcome), now(ctx)));
                }
                Step::Advise(call) => {
                    let answer = ctx
                        .execute_local_activity(Advise, call.clone(), options)
                        .await?;
                    ctx.state_mut(|s| s.follower.on_advice(&call, Ok(answer.outcome), now(ctx)));
                }
                // The lives that are measured have no approvals.
                Step::TakeApprovalStep(_) | Step::CarryOut(_) => {
                    unreachable!("nothing is held in these lives")
                }
                Step::Finish => return Ok(ctx.state(|s| s.follower.view())),
                Step::Wait(_) => {
                    let seen = ctx.state(|s| s.signals);
                    ctx.wait_condition(|s| s.signals != seen).await?;
                }
            }
        }
    }

    /// Takes an event.
    #[signal(name = TICKET_SIGNAL)]
    pub fn ticket_events(&mut self, ctx: &mut SyncWorkflowContext<Self>, raw: RawValue) {
        let value = match raw.payloads.first() {
            Some(payload) => serde_json::from_slice(&payload.data).unwrap_or(Value::Null),
            None => Value::Null,
        };
        let now = to_chrono(ctx.workflow_time());
        self.follower.receive(SignalEnvelope::read(&value), now);
        self.signals += 1;
    }
}

fn now(ctx: &WorkflowContext<BareTicketWorkflow>) -> DateTime<Utc> {
    to_chrono(ctx.workflow_time())
}
