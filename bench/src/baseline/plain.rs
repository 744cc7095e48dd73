//! The ticket workflow built the ordinary way. It follows the ticket by
//! the same rules and so asks for the same calls, sets the same search attributes and sleeps until
//! the same deadlines; but each event comes in a signal of its own, and each call is an ordinary
//! activity. Its activities answer at once: only what the server does is compared.

use chrono::{DateTime, Utc};
use contracts::signal::{SignalEnvelope, TICKET_SIGNAL, TICKET_WORKFLOW, WorkflowView};
use serde_json::Value;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ActivityOptions, CancellableFuture, SyncWorkflowContext, TimerResult, WorkflowContext,
    WorkflowContextView, WorkflowResult, common::data_converters::RawValue, workflows::select,
};
use workflows::{
    activity::{Advise, RecordSla, TakeSnapshot},
    ticket::{
        TicketInput, attributes,
        follower::{Step, TicketFollower},
    },
};

use super::{CALL_TIMEOUT, to_chrono};

/// The workflow.
#[workflow]
pub struct PlainTicketWorkflow {
    follower: TicketFollower,
    signals: u64,
}

type Alarm<'a> = std::pin::Pin<Box<dyn CancellableFuture<Output = TimerResult> + 'a>>;

#[workflow_methods]
impl PlainTicketWorkflow {
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
        let mut alarm: Option<(DateTime<Utc>, Alarm<'_>)> = None;
        loop {
            let options = ActivityOptions::start_to_close_timeout(CALL_TIMEOUT);
            match ctx.state_mut(|s| s.follower.next_step(now(ctx))) {
                Step::Snapshot(call) => {
                    let answer = ctx.execute_activity(TakeSnapshot, call, options).await?;
                    ctx.state_mut(|s| s.follower.on_snapshot(Ok(answer), now(ctx)));
                }
                Step::RecordSla(call) => {
                    let answer = ctx
                        .execute_activity(RecordSla, call.clone(), options)
                        .await?;
                    ctx.state_mut(|s| s.follower.on_sla(call, Ok(answer.outcome), now(ctx)));
                }
                Step::Advise(call) => {
                    let answer = ctx.execute_activity(Advise, call.clone(), options).await?;
                    ctx.state_mut(|s| s.follower.on_advice(&call, Ok(answer.outcome), now(ctx)));
                }
                // The lives that are measured have no approvals.
                Step::TakeApprovalStep(_) | Step::CarryOut(_) => {
                    unreachable!("nothing is held in these lives")
                }
                Step::Finish => {
                    publish(ctx);
                    return Ok(ctx.state(|s| s.follower.view()));
                }
                Step::Wait(until) => {
                    publish(ctx);
                    if alarm.as_ref().map(|(at, _)| *at) != until {
                        if let Some((_, old)) = alarm.take() {
                            old.cancel();
                        }
                        alarm = until.map(|at| {
                            let pause = (at - now(ctx)).to_std().unwrap_or_default();
                            (at, Box::pin(ctx.timer(pause)) as Alarm<'_>)
                        });
                    }
                    let seen = ctx.state(|s| s.signals);
                    let mut came = ctx.wait_condition(|s| s.signals != seen);
                    match &mut alarm {
                        None => came.await?,
                        Some((_, ringing)) => select! {
                            result = came => result?,
                            _ = ringing.as_mut() => alarm = None,
                        },
                    }
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

fn publish(ctx: &WorkflowContext<PlainTicketWorkflow>) {
    let set = ctx.search_attributes();
    let changes = ctx.state(|s| {
        let level = s.follower.level()?;
        Some(attributes::changes(&set, s.follower.tenant_id(), level))
    });
    if let Some(changes) = changes.filter(|changes| !changes.is_empty()) {
        ctx.upsert_search_attributes(changes);
    }
}

fn now(ctx: &WorkflowContext<PlainTicketWorkflow>) -> DateTime<Utc> {
    to_chrono(ctx.workflow_time())
}
