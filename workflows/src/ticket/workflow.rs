//! The SDK's shell around [`TicketFollower`].
//!
//! One loop: ask the follower what comes next, do it, report back. Signals only change the
//! follower, synchronously, before the loop is polled. There is one timer, for the nearest moment
//! at which something becomes due, and never more than one call in flight: calls are short local
//! activities, so they end within the workflow task that makes them, and a burst of deadlines is a
//! row of markers in one task.
//!
//! A call has one attempt here, because the client behind it repeats by itself for a few seconds.
//! What still fails is put off by the follower and tried again from the same timer, so that
//! dispatch-api may be away for as long as it likes: the workflow goes on hearing events and never
//! fails because of it.
#![expect(
    missing_debug_implementations,
    reason = "the SDK's macro makes a marker type of each method"
)]

use std::{pin::Pin, time::Duration};

use chrono::{DateTime, Utc};
use contracts::signal::{
    SignalEnvelope, TICKET_SIGNAL, TICKET_VIEW_QUERY, TICKET_WORKFLOW, WorkflowView,
};
use serde_json::Value;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    CancellableFuture, ContinueAsNewOptions, LocalActivityOptions, SyncWorkflowContext,
    TimerResult, WorkflowContext, WorkflowContextView, WorkflowResult,
    common::{
        RetryPolicy,
        data_converters::{RawValue, TemporalDeserializable},
        error::{ActivityExecutionError, IncomingError},
    },
    workflows::select,
};

use super::{
    attributes,
    backlog::{ANSWERS, APPROVALS, EVERY_KIND, HELD_BACK},
    details,
    follower::{Failure, Step, TicketFollower},
    input::TicketInput,
};
use crate::activity::{
    Advise, AdviseCall, CarryOut, Outcome, RecordSla, Settled, TakeApprovalStep, TakeSnapshot,
    TicketActivity,
};

/// How long one call may take, all of the client's attempts together. Below the eight seconds
/// after which the SDK would have to keep the workflow task alive with another one.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(6);

/// Follows one ticket from its first event until it is closed or cancelled.
#[workflow]
#[derive(Debug)]
pub struct TicketWorkflow {
    input: TicketInput,
    follower: TicketFollower,
    signals: u64,
}

type Alarm<'a> = Pin<Box<dyn CancellableFuture<Output = TimerResult> + 'a>>;

#[workflow_methods]
impl TicketWorkflow {
    /// Takes up what an earlier run carried over, or begins with nothing.
    #[init]
    pub fn new(_: &WorkflowContextView, mut input: TicketInput) -> Self {
        let carried = input.carried.take().filter(|it| it.is_of(&input.start));
        let follower = match carried {
            Some(carried) => *carried,
            None => TicketFollower::new(&input.start),
        };
        Self {
            input,
            follower,
            signals: 0,
        }
    }

    /// Runs until the ticket is closed or cancelled, or never was.
    #[run(name = TICKET_WORKFLOW)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<WorkflowView> {
        let ctx = &*ctx;
        let every_kind = ctx.patched(EVERY_KIND);
        ctx.state_mut(|s| {
            s.follower.ask_every_kind(every_kind);
            s.follower.follow_approvals(false);
            s.follower.follow_answers(false);
            s.follower.follow_versions(false);
        });
        let mut alarm: Option<(DateTime<Utc>, Alarm<'_>)> = None;
        loop {
            if ctx.state(|s| s.follower.meets_approvals()) {
                let approvals = ctx.patched(APPROVALS);
                ctx.state_mut(|s| s.follower.follow_approvals(approvals));
            }
            if ctx.state(|s| s.follower.meets_answers()) {
                let answers = ctx.patched(ANSWERS);
                ctx.state_mut(|s| s.follower.follow_answers(answers));
            }
            if ctx.state(|s| s.follower.meets_version()) {
                let versions = ctx.patched(HELD_BACK);
                ctx.state_mut(|s| s.follower.follow_versions(versions));
            }
            match ctx.state_mut(|s| s.follower.next_step(now(ctx))) {
                Step::Snapshot(call) => {
                    let answer = perform(ctx, TakeSnapshot, call, "the truth").await?;
                    ctx.state_mut(|s| s.follower.on_snapshot(answer, now(ctx)));
                }
                Step::RecordSla(call) => {
                    let summary = format!("{} {}", call.key.clock, call.key.kind);
                    let answer = settle(ctx, RecordSla, call.clone(), &summary).await?;
                    ctx.state_mut(|s| s.follower.on_sla(call, answer, now(ctx)));
                }
                Step::Advise(call) => {
                    let summary = summary(&call);
                    let answer = settle(ctx, Advise, call.clone(), &summary).await?;
                    ctx.state_mut(|s| s.follower.on_advice(&call, answer, now(ctx)));
                }
                Step::TakeApprovalStep(call) => {
                    let summary = format!("{} of {}", call.step, call.approval_id);
                    let answer = settle(ctx, TakeApprovalStep, call.clone(), &summary).await?;
                    ctx.state_mut(|s| s.follower.on_approval_step(&call, answer, now(ctx)));
                }
                Step::CarryOut(call) => {
                    let summary = format!("{} by {}", call.operation, call.approval_id);
                    let answer = settle(ctx, CarryOut, call.clone(), &summary).await?;
                    ctx.state_mut(|s| s.follower.on_carried_out(&call, answer, now(ctx)));
                }
                Step::Finish => {
                    publish(ctx);
                    return Ok(ctx.state(|s| s.follower.view()));
                }
                Step::Wait(until) => {
                    publish(ctx);
                    if must_continue(ctx) {
                        let next = ctx.state(Self::carry);
                        ctx.continue_as_new(next, ContinueAsNewOptions::default())?;
                    }
                    if alarm.as_ref().map(|(at, _)| *at) != until {
                        if let Some((_, old)) = alarm.take() {
                            old.cancel();
                        }
                        alarm = until.map(|at| (at, set_alarm(ctx, at)));
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

    /// Takes what the relay sent, whatever it is: raw bytes, because an input that could not be
    /// decoded would block the workflow task for good.
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

    /// Tells what the workflow knows.
    #[query(name = TICKET_VIEW_QUERY)]
    pub fn view(&self, _: &WorkflowContextView) -> WorkflowView {
        self.follower.view()
    }
}

impl TicketWorkflow {
    fn carry(&self) -> TicketInput {
        let mut input = self.input.clone();
        input.start.epoch = self.follower.view().epoch;
        input.carried = Some(Box::new(self.follower.clone()));
        input
    }
}

/// All signals of this task are in the follower by now, and nothing is in flight. One that comes
/// after the command makes the server refuse it, and the next task sees both.
fn must_continue(ctx: &WorkflowContext<TicketWorkflow>) -> bool {
    let limit = ctx.state(|s| s.input.history_limit());
    ctx.all_handlers_finished()
        && (ctx.continue_as_new_suggested() || ctx.history_length() >= limit)
}

/// Tells the Web UI what changed. Called only before sleeping and before the end, so at most once
/// per workflow task.
fn publish(ctx: &WorkflowContext<TicketWorkflow>) {
    ctx.set_current_details(ctx.state(|s| details::markdown(&s.follower)));
    let set = ctx.search_attributes();
    let changes = ctx.state(|s| {
        let level = s.follower.level()?;
        Some(attributes::changes(&set, s.follower.tenant_id(), level))
    });
    if let Some(changes) = changes.filter(|changes| !changes.is_empty()) {
        ctx.upsert_search_attributes(changes);
    }
}

fn set_alarm(ctx: &WorkflowContext<TicketWorkflow>, at: DateTime<Utc>) -> Alarm<'_> {
    // A step never waits for a moment that has passed; if one did, it would ring at once.
    let pause = (at - now(ctx)).to_std().unwrap_or_default();
    Box::pin(ctx.timer(pause))
}

/// `slot, technician on version 2, to act on technician`
fn summary(call: &AdviseCall) -> String {
    let kinds = call.kinds.iter().map(ToString::to_string);
    let told = call.escalations.iter();
    let told = told.map(|record| format!("escalation of {} {}", record.clock, record.kind));
    let all: Vec<_> = kinds.chain(told).collect();
    let mut text = format!("{} on version {}", all.join(", "), call.version);
    if !call.act.is_empty() {
        let act: Vec<_> = call.act.iter().map(ToString::to_string).collect();
        text += &format!(", to act on {}", act.join(", "));
    }
    text
}

/// Makes one call that writes, and hears what its answer says of the kill switches.
async fn settle<A>(
    ctx: &WorkflowContext<TicketWorkflow>,
    activity: A,
    input: A::Input,
    summary: &str,
) -> WorkflowResult<Result<Outcome, Failure>>
where
    A: TicketActivity<Output = Settled>,
{
    let answer = perform(ctx, activity, input, summary).await?;
    Ok(answer.map(|settled| {
        ctx.state_mut(|s| s.follower.hear(settled.kill));
        settled.outcome
    }))
}

/// Makes one call. `Err` only when somebody cancelled the workflow.
async fn perform<A>(
    ctx: &WorkflowContext<TicketWorkflow>,
    activity: A,
    input: A::Input,
    summary: &str,
) -> WorkflowResult<Result<A::Output, Failure>>
where
    A: TicketActivity,
    A::Output: TemporalDeserializable,
{
    let options = LocalActivityOptions::builder()
        .schedule_to_close_timeout(CALL_TIMEOUT)
        .retry_policy(RetryPolicy::builder().maximum_attempts(1).build())
        .summary(summary.to_owned())
        .build();
    let answer = ctx.execute_local_activity(activity, input, options).await;
    match answer {
        Ok(output) => Ok(Ok(output)),
        Err(cancelled @ ActivityExecutionError::Cancelled(_)) => Err(cancelled.into()),
        Err(error) => Ok(Err(failure(&error))),
    }
}

fn failure(error: &ActivityExecutionError) -> Failure {
    match error.cause() {
        Some(IncomingError::Application(application)) => Failure {
            retryable: !application.is_non_retryable(),
            reason: application.failure().map_or_else(
                || application.source_error().to_string(),
                |failure| failure.message.clone(),
            ),
        },
        Some(IncomingError::Timeout(_)) => Failure {
            retryable: true,
            reason: "no answer in time".into(),
        },
        // What this build cannot read, a later one may.
        _ => Failure {
            retryable: true,
            reason: error.to_string(),
        },
    }
}

fn now(ctx: &WorkflowContext<TicketWorkflow>) -> DateTime<Utc> {
    to_chrono(ctx.workflow_time())
}

fn to_chrono(time: Option<std::time::SystemTime>) -> DateTime<Utc> {
    time.expect("each activation carries its time").into()
}
