//! The worker's life.
//!
//! Workflow code is single-threaded by nature: the SDK drives it from one task that may not move
//! between threads. So the worker has a thread and a runtime of its own; whoever runs it beside
//! other parts (as `dispatch dev` does) is not held up by it, nor the other way round.

use std::{convert::Infallible, thread, time::Duration};

use activities::{Bookkeeper, TicketActivities};
use contracts::service_account::KEY_WARNING_DAYS;
use temporalio_client::{Client, ClientOptions, Connection};
use temporalio_common::{
    telemetry::{
        PrometheusExporterOptions, TelemetryOptions, metrics::CoreMeter,
        start_prometheus_metric_exporter,
    },
    worker::{VersioningBehavior, WorkerDeploymentOptions, WorkerDeploymentVersion},
};
use temporalio_sdk::{
    Runtime, Worker, WorkerOptions,
    runtime::{PollerBehavior, RuntimeOptions},
};
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::CancellationToken;
use workflows::{TenantControl, TicketWorkflow};

use crate::{WorkerConfig, WorkerError};

/// Threads of the worker's runtime: one drives the workflows, the other the calls.
const THREADS: usize = 2;
/// Running calls may end; they are given no longer than they may take anyway.
const GRACE: Duration = Duration::from_secs(5);
/// From the wish to end until the end, whatever happens.
const LAST_CALL: Duration = Duration::from_secs(9);
/// Pause between attempts to reach Temporal.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked how long the key lasts, and how often it is said that it ends.
const LOOK_AT_KEY: Duration = Duration::from_secs(5);
const SAY_OF_KEY: Duration = Duration::from_secs(24 * 60 * 60);

/// Serves ticket workflows until `shutdown`, then ends within ten seconds. What was in work is
/// taken up by another worker, or by the next life of this one, and done once all the same.
///
/// A Temporal server that is away is waited for; `Err` means that somebody has to mend something.
pub async fn run(config: WorkerConfig, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let (done, result) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("dispatch-worker")
        .enable_all()
        .build()
        .map_err(|error| WorkerError::Thread(error.to_string()))?;
    thread::Builder::new()
        .name("dispatch-worker-main".into())
        .spawn(move || {
            let outcome = runtime.block_on(serve(config, shutdown));
            // Calls that outlive their grace are cut off; their keys make them harmless.
            runtime.shutdown_background();
            let _ = done.send(outcome);
        })
        .map_err(|error| WorkerError::Thread(error.to_string()))?;
    result
        .await
        .unwrap_or_else(|_| Err(WorkerError::Thread("it panicked".into())))
}

async fn serve(config: WorkerConfig, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let runtime = Runtime::from_current_tokio(telemetry(&config)?)?;
    let Some(client) = connect(&config, &shutdown).await? else {
        return Ok(());
    };
    let api = Bookkeeper::new(&config.api, &config.key)?;
    let mut worker = Worker::new(&runtime, client, registered(&config, api.clone())?)?;
    let stop = worker.shutdown_handle();
    let version = config.version.to_string();
    tracing::info!(version, task_queue = config.task_queue, "worker serves");
    let mut running = std::pin::pin!(worker.run());
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        () = shutdown.cancelled() => stop(),
        never = watch_key(&api) => match never {},
    }
    match timeout(LAST_CALL, running).await {
        Ok(ended) => Ok(ended?),
        Err(_) => {
            tracing::warn!("worker did not end in time and is cut off");
            Ok(())
        }
    }
}

/// Warns once a day while the key ends soon: workflows would stand still from then on.
async fn watch_key(api: &Bookkeeper) -> Infallible {
    loop {
        let days = api.key_days_left().filter(|days| *days < KEY_WARNING_DAYS);
        if let Some(days) = days {
            tracing::warn!(
                days,
                "the worker's API key ends soon: give it another one (docs/api-keys.md)"
            );
        }
        let pause = days.map_or(LOOK_AT_KEY, |_| SAY_OF_KEY);
        tokio::time::sleep(pause).await;
    }
}

/// What is registered, and how the worker is set up.
pub fn options(config: &WorkerConfig) -> Result<WorkerOptions, WorkerError> {
    registered(config, Bookkeeper::new(&config.api, &config.key)?)
}

fn registered(config: &WorkerConfig, api: Bookkeeper) -> Result<WorkerOptions, WorkerError> {
    let version = WorkerDeploymentVersion::builder()
        .deployment_name(config.version.deployment.clone())
        .build_id(config.version.build_id.clone())
        .build();
    let deployment = WorkerDeploymentOptions::new(version)
        .use_worker_versioning(true)
        .default_versioning_behavior(VersioningBehavior::AutoUpgrade)
        .build();
    let options = WorkerOptions::new(config.task_queue.clone())
        .deployment_options(deployment)
        .max_cached_workflows(config.cached_workflows)
        .workflow_task_poller_behavior(PollerBehavior::SimpleMaximum(config.pollers))
        // Half of them for tasks that no worker holds in its cache: every new ticket is one.
        .nonsticky_to_sticky_poll_ratio(0.5)
        // All activities are local, so nothing ever comes from that queue.
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(1))
        .graceful_shutdown_period(GRACE)
        .detect_nondeterministic_futures(true)
        .register_activities(TicketActivities::new(api))
        .register_workflow::<TicketWorkflow>()?
        .register_workflow::<TenantControl>()?
        .build();
    Ok(options)
}

fn telemetry(config: &WorkerConfig) -> Result<RuntimeOptions, WorkerError> {
    let metrics = config.metrics_listen.map(|listen| {
        let options = PrometheusExporterOptions::builder()
            .socket_addr(listen)
            .counters_total_suffix(true)
            .unit_suffix(true)
            .use_seconds_for_durations(true)
            .build();
        start_prometheus_metric_exporter(options).map_err(|error| WorkerError::Metrics {
            listen,
            reason: error.to_string(),
        })
    });
    let meter = metrics
        .transpose()?
        .map(|server| server.meter as std::sync::Arc<dyn CoreMeter>);
    let telemetry = TelemetryOptions::builder().maybe_metrics(meter).build();
    let options = RuntimeOptions::builder()
        .telemetry_options(telemetry)
        .build();
    Ok(options.expect("the default heartbeat interval is valid"))
}

/// Waits for Temporal; `None` when the wish to end comes first.
async fn connect(
    config: &WorkerConfig,
    shutdown: &CancellationToken,
) -> Result<Option<Client>, WorkerError> {
    let mut options = config.connection.clone();
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    let target = options.target.to_string();
    loop {
        let connecting = Connection::connect(options.clone());
        let source = tokio::select! {
            connected = connecting => match connected {
                Ok(connection) => {
                    let client = ClientOptions::new(config.namespace.clone()).build();
                    let client = Client::new(connection, client);
                    return Ok(Some(client.expect("no plugin that could refuse")));
                }
                Err(source) => source,
            },
            () = shutdown.cancelled() => return Ok(None),
        };
        let error = WorkerError::Connect {
            target: target.clone(),
            source: Box::new(source),
        };
        if !passing(&error) {
            return Err(error);
        }
        let shown = &error as &dyn std::error::Error;
        tracing::warn!(error = shown, "Temporal is waited for");
        tokio::select! {
            () = tokio::time::sleep(CONNECT_PAUSE) => {}
            () = shutdown.cancelled() => return Ok(None),
        }
    }
}

/// Whether waiting can help.
fn passing(error: &WorkerError) -> bool {
    use temporalio_client::{errors::ClientConnectError, tonic::Code};
    let WorkerError::Connect { source, .. } = error else {
        return false;
    };
    match &**source {
        ClientConnectError::TonicTransportError(_)
        | ClientConnectError::DnsResolutionError { .. } => true,
        ClientConnectError::SystemInfoCallError(status) => {
            matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
        }
        _ => false,
    }
}
