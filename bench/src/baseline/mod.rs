//! What a ticket's life is held against: the same ticket rules in workflows that others would write,
//! with activities that answer at once and nothing behind them.
#![expect(
    dead_code,
    reason = "the SDK's macros make markers for callers; nobody calls these activities by them"
)]

mod bare;
mod plain;

use std::{sync::Arc, thread, time::Duration};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use contracts::signal::TICKET_TASK_QUEUE;
use futures::channel::oneshot;
use temporalio_client::Client;
use temporalio_macros::activities;
use temporalio_sdk::{
    Runtime, Worker, WorkerOptions,
    activities::{ActivityContext, ActivityError},
    runtime::PollerBehavior,
};
use workflows::activity::{
    AdviseCall, Outcome, RecordSlaCall, Settled, SnapshotCall, SnapshotOutcome,
};

/// Long polls of the worker for each kind of task: as many as ours has.
const POLLERS: usize = 16;
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Which workflow.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// The ordinary way: ordinary activities, search attributes, a timer for the next deadline.
    Plain,
    /// The least that follows a ticket: local activities and nothing else.
    Bare,
}

fn to_chrono(time: Option<std::time::SystemTime>) -> DateTime<Utc> {
    time.expect("each activation carries its time").into()
}

fn recorded() -> Settled {
    Settled {
        outcome: Outcome::Recorded,
        kill: None,
    }
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
    ) -> Result<Settled, ActivityError> {
        Ok(recorded())
    }

    /// Records nothing.
    #[activity(definition = workflows::activity::RecordSla)]
    pub async fn record_sla(
        self: Arc<Self>,
        _ctx: ActivityContext,
        _call: RecordSlaCall,
    ) -> Result<Settled, ActivityError> {
        Ok(recorded())
    }
}

/// A running worker of the baseline.
#[derive(Debug)]
pub struct BaselineWorker {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<Result<()>>,
}

impl BaselineWorker {
    /// Starts one, on a thread and a runtime of its own like ours.
    pub fn start(client: Client, manner: Manner) -> Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let thread = thread::Builder::new()
            .name("baseline-worker".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let core = Runtime::from_current_tokio(Default::default())?;
                    let pollers = PollerBehavior::SimpleMaximum(POLLERS);
                    let options = WorkerOptions::new(TICKET_TASK_QUEUE.to_owned())
                        .max_cached_workflows(5_000_usize)
                        .workflow_task_poller_behavior(pollers)
                        .nonsticky_to_sticky_poll_ratio(0.5)
                        .activity_task_poller_behavior(pollers)
                        .register_activities(Nothing);
                    let options = match manner {
                        Manner::Plain => {
                            options.register_workflow::<plain::PlainTicketWorkflow>()?
                        }
                        Manner::Bare => options.register_workflow::<bare::BareTicketWorkflow>()?,
                    }
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
