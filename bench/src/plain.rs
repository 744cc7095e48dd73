//! The baseline of R7c: the same ticket workflow built the ordinary way. It follows the ticket by
//! the same rules and so asks for the same calls, sets the same search attributes and sleeps until
//! the same deadlines; but each event comes in a signal of its own, and each call is an ordinary
//! activity. Its activities answer at once: only what the server does is compared.
#![expect(
    dead_code,
    reason = "the SDK's macros make markers for callers; nobody calls these activities by them"
)]

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use contracts::signal::{
    SignalEnvelope, TICKET_SIGNAL, TICKET_TASK_QUEUE, TICKET_WORKFLOW, WorkflowView,
};
use futures::channel::oneshot;
use serde_json::Value;
use temporalio_client::Client;
use temporalio_macros::{activities, workflow, workflow_methods};
use temporalio_sdk::{
    Runtime, Worker, WorkerOptions,
    activities::{ActivityContext, ActivityError},
    runtime::PollerBehavior,
};
use temporalio_workflow::{
    ActivityOptions, CancellableFuture, SyncWorkflowContext, TimerResult, WorkflowContext,
    WorkflowContextView, WorkflowResult, common::data_converters::RawValue, workflows::select,
};
use workflows::{
    activity::{
        Advise, AdviseCall, Outcome, RecordSla, RecordSlaCall, SnapshotCall, SnapshotOutcome,
        TakeSnapshot,
    },
    ticket::{
        TicketInput, attributes,
        follower::{Step, TicketFollower},
    },
};

/// Long polls of the worker for each kind of task: as many as ours has.
const POLLERS: usize = 16;
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

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
        Self {
            follower: TicketFollower::new(&input.start),
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
                    ctx.state_mut(|s| s.follower.on_sla(call, Ok(answer), now(ctx)));
                }
                Step::Advise(call) => {
                    let answer = ctx.execute_activity(Advise, call.clone(), options).await?;
                    ctx.state_mut(|s| s.follower.on_advice(&call, Ok(answer), now(ctx)));
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

fn to_chrono(time: Option<std::time::SystemTime>) -> DateTime<Utc> {
    time.expect("each activation carries its time").into()
}

/// Activities that do nothing.
#[derive(Debug)]
pub struct Nothing;

#[activities]
impl Nothing {
    /// Is never asked for: no event gets lost here.
    #[activity(definition = workflows::activity::TakeSnapshot)]
    pub async fn ticket_snapshot(
        self: Arc<Self>,
        _ctx: ActivityContext,
        _call: SnapshotCall,
    ) -> Result<SnapshotOutcome, ActivityError> {
        Ok(SnapshotOutcome::Gone)
    }

    /// Records nothing.
    #[activity(definition = workflows::activity::Advise)]
    pub async fn advise(
        self: Arc<Self>,
        _ctx: ActivityContext,
        _call: AdviseCall,
    ) -> Result<Outcome, ActivityError> {
        Ok(Outcome::Recorded)
    }

    /// Records nothing.
    #[activity(definition = workflows::activity::RecordSla)]
    pub async fn record_sla(
        self: Arc<Self>,
        _ctx: ActivityContext,
        _call: RecordSlaCall,
    ) -> Result<Outcome, ActivityError> {
        Ok(Outcome::Recorded)
    }
}

/// A running worker of the baseline.
#[derive(Debug)]
pub struct PlainWorker {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<Result<()>>,
}

impl PlainWorker {
    /// Starts one, on a thread and a runtime of its own like ours.
    pub fn start(client: Client) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let thread = thread::Builder::new()
            .name("plain-worker".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let core = Runtime::from_current_tokio(Default::default())?;
                    let pollers = PollerBehavior::SimpleMaximum(POLLERS);
                    let options = WorkerOptions::new(TICKET_TASK_QUEUE.to_owned())
                        .max_cached_workflows(5_000_usize)
                        .workflow_task_poller_behavior(pollers)
                        .nonsticky_to_sticky_poll_ratio(0.5)
                        .activity_task_poller_behavior(pollers)
                        .register_activities(Nothing)
                        .register_workflow::<PlainTicketWorkflow>()?
                        .build();
                    let mut worker = Worker::new(&core, client, options)?;
                    let stop_worker = worker.shutdown_handle();
                    let (ended, _) = tokio::join!(worker.run(), async {
                        // Dropped or sent: both say stop.
                        let _ = stopped.await;
                        stop_worker();
                    });
                    Ok(ended?)
                })
            })?;
        Ok(Self { stop, thread })
    }

    /// Stops it.
    pub async fn stop(self) -> Result<()> {
        drop(self.stop);
        tokio::task::spawn_blocking(|| self.thread.join())
            .await?
            .ok()
            .context("the baseline's worker panicked")?
    }
}
