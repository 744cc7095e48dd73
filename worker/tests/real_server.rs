//! The worker process's life on a real Temporal server. There is no dispatch-api here: the worker
//! must serve all the same.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use contracts::{
    TenantId, TicketId,
    ids::ticket_workflow_id,
    service_account::{ApiKeyText, SECRET_CHARS},
    signal::{
        TICKET_SIGNAL, TICKET_TASK_QUEUE, TICKET_WORKFLOW, TicketWorkflowStart, WorkflowView,
    },
    value::KeyPrefix,
};
use dispatch_worker::{
    Version, WorkerConfig, WorkerError, promote, run, search_attributes, status,
};
use embedded::{TemporalOptions, TemporalServer};
use serde_json::json;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, UntypedQuery, UntypedWorkflow,
    WorkflowDescribeOptions, WorkflowQueryOptions, tonic::IntoRequest,
};
use temporalio_common::{
    data_converters::RawValue,
    protos::temporal::api::{
        common::v1::{Payload, Payloads, WorkflowType},
        taskqueue::v1::TaskQueue,
        workflowservice::v1::SignalWithStartWorkflowExecutionRequest,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn config(temporal: &str) -> WorkerConfig {
    let connection =
        ConnectionOptions::new(format!("http://{temporal}").parse::<url::Url>().unwrap());
    let nobody = format!("http://{}", free()).parse().unwrap();
    let prefix = KeyPrefix::new("0123456789").unwrap();
    let key = ApiKeyText::assemble(&prefix, &"s".repeat(SECRET_CHARS)).unwrap();
    WorkerConfig {
        metrics_listen: Some(free()),
        ..WorkerConfig::new(connection.build(), "default", nobody, key)
    }
}

struct Running {
    stop: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
}

impl Running {
    fn start(config: WorkerConfig) -> Self {
        let stop = CancellationToken::new();
        let worker = tokio::spawn(run(config, stop.clone()));
        Self { stop, worker }
    }

    async fn end(self) {
        let begun = Instant::now();
        self.stop.cancel();
        self.worker.await.unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

async fn client(config: &WorkerConfig) -> Client {
    let connection = Connection::connect(config.connection.clone())
        .await
        .unwrap();
    Client::new(connection, ClientOptions::new("default").build()).unwrap()
}

fn payloads(value: &impl serde::Serialize) -> Option<Payloads> {
    Some(Payloads {
        payloads: vec![Payload {
            metadata: HashMap::from([("encoding".to_owned(), b"json/plain".to_vec())]),
            data: serde_json::to_vec(value).unwrap(),
            ..Default::default()
        }],
    })
}

/// Starts a workflow that will ask for a snapshot, which nobody answers.
async fn start_ticket(client: &Client) -> String {
    let start = TicketWorkflowStart {
        tenant_id: TenantId::from_uuid(Uuid::new_v4()),
        ticket_id: TicketId::from_uuid(Uuid::new_v4()),
        epoch: 1,
    };
    let id = ticket_workflow_id(start.tenant_id, start.ticket_id);
    let request = SignalWithStartWorkflowExecutionRequest {
        namespace: "default".into(),
        workflow_id: id.clone(),
        workflow_type: Some(WorkflowType {
            name: TICKET_WORKFLOW.into(),
        }),
        task_queue: Some(TaskQueue {
            name: TICKET_TASK_QUEUE.into(),
            ..Default::default()
        }),
        input: payloads(&start),
        signal_name: TICKET_SIGNAL.into(),
        signal_input: payloads(&json!({"v": 1, "epoch": 1, "resync": true})),
        request_id: Uuid::new_v4().to_string(),
        ..Default::default()
    };
    client
        .connection()
        .workflow_service()
        .signal_with_start_workflow_execution(request.into_request())
        .await
        .unwrap();
    id
}

/// Asks the workflow until its view is so.
async fn until(client: &Client, id: &str, so: impl Fn(&WorkflowView) -> bool) -> WorkflowView {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(id);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = handle
            .query(
                UntypedQuery::new(contracts::signal::TICKET_VIEW_QUERY),
                RawValue::new(Vec::new()),
                WorkflowQueryOptions::default(),
            )
            .await;
        let last = match answer {
            Ok(raw) => {
                let view = serde_json::from_slice(&raw.payloads[0].data).unwrap();
                if so(&view) {
                    return view;
                }
                format!("{view:?}")
            }
            Err(error) => error.to_string(),
        };
        assert!(Instant::now() < deadline, "{last}");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn http_get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_survives_temporal_and_ends_in_time() {
    let folder = std::env::temp_dir().join(format!("dispatch-worker-{}", Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let mut server = TemporalServer::resolve_and_start(TemporalOptions {
        db_file: Some(folder.join("temporal.db")),
        ui: false,
        ..TemporalOptions::default()
    })
    .await
    .unwrap_or_else(|error| panic!("no Temporal server: {error}"));
    let config = config(server.address());
    let client = client(&config).await;

    // A namespace is prepared once and checked at any time.
    assert_eq!(search_attributes::missing(&client).await.unwrap().len(), 6);
    search_attributes::register(&client).await.unwrap();
    search_attributes::register(&client).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !search_attributes::missing(&client)
        .await
        .unwrap()
        .is_empty()
    {
        assert!(Instant::now() < deadline, "registered but not known");
        sleep(Duration::from_millis(50)).await;
    }

    // Nothing is current before it is promoted; promotion waits for the first poll.
    let version = config.version.clone();
    assert_eq!(version, Version::of_this_build());
    let before = status(&client, &version.deployment).await.unwrap();
    assert_eq!((before.current, before.pollers), (None, 0));
    let running = Running::start(config.clone());
    promote(&client, &version).await.unwrap();
    promote(&client, &version).await.unwrap();
    let after = status(&client, &version.deployment).await.unwrap();
    assert_eq!(after.current.as_ref(), Some(&version.build_id));
    assert!(after.pollers > 0);

    // It serves although dispatch-api is away, and says so.
    let id = start_ticket(&client).await;
    let view = until(&client, &id, |view| view.trouble.is_some()).await;
    assert!(view.trouble.unwrap().starts_with("ticket_snapshot: "));
    let description = client
        .get_workflow_handle::<UntypedWorkflow>(&id)
        .describe(WorkflowDescribeOptions::default())
        .await
        .unwrap();
    let raw = format!("{:?}", description.raw_description);
    assert!(raw.contains(&version.build_id), "not versioned: {raw}");
    let metrics = http_get(config.metrics_listen.unwrap(), "/metrics").await;
    assert!(metrics.contains("temporal_workflow_task"), "{metrics}");

    // Temporal goes and comes back with the same state.
    server.restart().await.unwrap();
    let other = start_ticket(&client).await;
    until(&client, &other, |view| view.trouble.is_some()).await;
    until(&client, &id, |view| view.trouble.is_some()).await;
    running.end().await;

    // Another life of it takes up the workflows of the first.
    let running = Running::start(config);
    until(&client, &id, |view| view.trouble.is_some()).await;
    running.end().await;
    server.shutdown().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporal_that_is_not_there_is_waited_for_until_told_to_end() {
    let running = Running::start(config(&free().to_string()));
    let ended = timeout(Duration::from_millis(500), async {
        while !running.worker.is_finished() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(ended.await.is_err(), "it must wait");
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_for_metrics_is_one_clear_error() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut config = config(&free().to_string());
    config.metrics_listen = Some(taken.local_addr().unwrap());
    let error = run(config, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, WorkerError::Metrics { .. }), "{error}");
    assert!(error.to_string().contains("choose another address"));
}
