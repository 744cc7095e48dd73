//! A Temporal namespace of one's own, and what an operator or a hostile network can do in it.
//!
//! All tests share one Temporal server. Workflow ids and the task queue are the product's own, so
//! what keeps tests apart is the namespace. Everything here is a plain call of Temporal's API: what
//! the product's own crates believe about Temporal is not asked.

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use contracts::{
    TenantId, TicketId,
    signal::{TICKET_SIGNAL, TICKET_TASK_QUEUE, TICKET_VIEW_QUERY, TICKET_WORKFLOW, WorkflowView},
    ticket_workflow_id,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, Url,
    tonic::{Code, IntoRequest},
};
use temporalio_common::protos::temporal::api::{
    common::v1::{
        FastForwardConfig, Payload, Payloads, TimeSkippingConfig, WorkflowExecution, WorkflowType,
    },
    enums::v1::{
        EventType, FastForwardPollingResult, QueryRejectCondition, ResetReapplyExcludeType,
        WorkflowExecutionStatus, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    },
    history::v1::{HistoryEvent, history_event::Attributes},
    query::v1::WorkflowQuery,
    taskqueue::v1::TaskQueue,
    workflow::v1::WorkflowExecutionOptions,
    workflowservice::v1::*,
};
use uuid::Uuid;

use crate::{servers, wait};

/// Which ticket's workflow.
pub type Key = (TenantId, TicketId);

/// A namespace with the search attributes that the workflow sets.
#[derive(Clone)]
pub struct Namespace {
    name: String,
    address: String,
    connection: Connection,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}

impl Namespace {
    /// A new one on the shared server.
    pub async fn create() -> Self {
        Self::create_on(servers::temporal().await.address()).await
    }

    /// A new one on this server.
    pub async fn create_on(address: &str) -> Self {
        let options = connection_options(address);
        let connection = Connection::connect(options)
            .await
            .expect("Temporal answers");
        let name = format!("test-{}", Uuid::new_v4().simple());
        let mut request = RegisterNamespaceRequest {
            namespace: name.clone(),
            ..Default::default()
        };
        let retention = request
            .workflow_execution_retention_period
            .get_or_insert_default();
        retention.seconds = 24 * 60 * 60;
        connection
            .workflow_service()
            .register_namespace(request.into_request())
            .await
            .expect("a namespace can be registered");
        let namespace = Self {
            name,
            address: address.to_owned(),
            connection,
        };
        relay::Temporal::new(namespace.relay(), "tests".into(), Duration::from_secs(10))
            .register_search_attributes(wait::BOUND)
            .await
            .expect("search attributes can be registered");
        namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `host:port` of the server.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// For a relay.
    pub fn relay(&self) -> relay::TemporalConfig {
        relay::TemporalConfig {
            connection: connection_options(&self.address),
            namespace: self.name.clone(),
        }
    }

    /// The SDK's client.
    pub fn client(&self) -> Client {
        let options = ClientOptions::new(self.name.clone()).build();
        Client::new(self.connection.clone(), options).expect("no plugin that could refuse")
    }

    /// Every event of the newest run.
    pub async fn history(&self, key: Key) -> Vec<HistoryEvent> {
        self.history_of(key, "").await
    }

    /// Every event of one run.
    pub async fn history_of(&self, key: Key, run: &str) -> Vec<HistoryEvent> {
        let (mut events, mut page) = (Vec::new(), Vec::new());
        loop {
            let request = GetWorkflowExecutionHistoryRequest {
                namespace: self.name.clone(),
                execution: Some(execution(key, run)),
                next_page_token: page,
                ..Default::default()
            };
            let answer = self
                .connection
                .workflow_service()
                .get_workflow_execution_history(request.into_request())
                .await
                .expect("the workflow is there")
                .into_inner();
            events.extend(answer.history.unwrap_or_default().events);
            page = answer.next_page_token;
            if page.is_empty() {
                return events;
            }
        }
    }

    /// The runs of a ticket's workflow, oldest first.
    pub async fn runs(&self, key: Key) -> Vec<String> {
        let request = ListWorkflowExecutionsRequest {
            namespace: self.name.clone(),
            query: format!("WorkflowId = '{}'", ticket_workflow_id(key.0, key.1)),
            ..Default::default()
        };
        let answer = self
            .connection
            .workflow_service()
            .list_workflow_executions(request.into_request())
            .await
            .expect("workflows can be listed");
        let mut found = answer.into_inner().executions;
        found.sort_by_key(|info| info.start_time.as_ref().map(|at| (at.seconds, at.nanos)));
        found
            .into_iter()
            .filter_map(|info| Some(info.execution?.run_id))
            .collect()
    }

    /// What the list shows for this query.
    pub async fn list(&self, query: &str) -> Vec<String> {
        let request = ListWorkflowExecutionsRequest {
            namespace: self.name.clone(),
            query: query.to_owned(),
            ..Default::default()
        };
        // A server grants few lists in a second.
        let answer = wait::until("a list", wait::BOUND, async || {
            let mut service = self.connection.workflow_service();
            let answer = service.list_workflow_executions(request.clone().into_request());
            match answer.await {
                Err(status) if status.code() == Code::ResourceExhausted => Err(status),
                answer => Ok(answer.expect("the query is valid")),
            }
        })
        .await;
        let found = answer.into_inner().executions.into_iter();
        found
            .filter_map(|info| Some(info.execution?.workflow_id))
            .collect()
    }

    /// The description of the newest run; `None` for an unknown workflow.
    pub async fn describe(&self, key: Key) -> Option<DescribeWorkflowExecutionResponse> {
        let request = DescribeWorkflowExecutionRequest {
            namespace: self.name.clone(),
            execution: Some(execution(key, "")),
        };
        let answer = self
            .connection
            .workflow_service()
            .describe_workflow_execution(request.into_request())
            .await;
        match answer {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("a workflow cannot be described: {status}"),
        }
    }

    /// How the newest run stands.
    pub async fn status(&self, key: Key) -> Option<WorkflowExecutionStatus> {
        let info = self.describe(key).await?.workflow_execution_info?;
        Some(info.status())
    }

    /// Id of the newest run.
    pub async fn run_id(&self, key: Key) -> Option<String> {
        let info = self.describe(key).await?.workflow_execution_info?;
        Some(info.execution?.run_id)
    }

    /// What the newest run knows: the answer to its query while it runs, its result afterwards.
    pub async fn view(&self, key: Key) -> Result<WorkflowView, String> {
        match self.status(key).await {
            None => Err("there is no workflow".into()),
            Some(WorkflowExecutionStatus::Running) => self.query(key).await,
            Some(WorkflowExecutionStatus::Completed) => {
                let events = self.history(key).await;
                let result = events
                    .iter()
                    .find_map(|event| match event.attributes.as_ref()? {
                        Attributes::WorkflowExecutionCompletedEventAttributes(it) => {
                            it.result.clone()
                        }
                        _ => None,
                    });
                read(result.as_ref()).ok_or_else(|| "the result is not a view".into())
            }
            Some(other) => Err(format!("the workflow is {other:?}")),
        }
    }

    /// The text that the Web UI shows of a running workflow.
    pub async fn current_details(&self, key: Key) -> String {
        let metadata: Value = self
            .ask(key, "__temporal_workflow_metadata")
            .await
            .expect("every SDK answers this");
        metadata["currentDetails"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    async fn query(&self, key: Key) -> Result<WorkflowView, String> {
        self.ask(key, TICKET_VIEW_QUERY).await
    }

    async fn ask<T: DeserializeOwned>(&self, key: Key, query: &str) -> Result<T, String> {
        let request = QueryWorkflowRequest {
            namespace: self.name.clone(),
            execution: Some(execution(key, "")),
            query: Some(WorkflowQuery {
                query_type: query.to_owned(),
                ..Default::default()
            }),
            query_reject_condition: QueryRejectCondition::None.into(),
        };
        let mut request = request.into_request();
        request.set_timeout(Duration::from_secs(10));
        let answer = self
            .connection
            .workflow_service()
            .query_workflow(request)
            .await;
        let answer = answer.map_err(|status| format!("the query failed: {status}"))?;
        let answer = answer.into_inner().query_result;
        read(answer.as_ref()).ok_or_else(|| "the answer cannot be read".into())
    }

    /// Starts a ticket's workflow by hand with this input, before any event does.
    pub async fn start(&self, key: Key, input: &Value) {
        let request = StartWorkflowExecutionRequest {
            namespace: self.name.clone(),
            workflow_id: ticket_workflow_id(key.0, key.1),
            workflow_type: Some(workflow_type()),
            task_queue: Some(task_queue()),
            input: Some(payloads(input)),
            request_id: Uuid::new_v4().to_string(),
            ..Default::default()
        };
        self.connection
            .workflow_service()
            .start_workflow_execution(request.into_request())
            .await
            .expect("no such workflow runs yet");
    }

    /// Sends an envelope by hand as a relay would, under a request id that was never used.
    pub async fn signal<T: Serialize>(&self, key: Key, start: &T, envelope: &Value) {
        let request = SignalWithStartWorkflowExecutionRequest {
            namespace: self.name.clone(),
            workflow_id: ticket_workflow_id(key.0, key.1),
            workflow_type: Some(workflow_type()),
            task_queue: Some(task_queue()),
            input: Some(payloads(start)),
            request_id: Uuid::new_v4().to_string(),
            workflow_id_reuse_policy: WorkflowIdReusePolicy::AllowDuplicate.into(),
            workflow_id_conflict_policy: WorkflowIdConflictPolicy::UseExisting.into(),
            signal_name: TICKET_SIGNAL.to_owned(),
            signal_input: Some(payloads(envelope)),
            ..Default::default()
        };
        self.connection
            .workflow_service()
            .signal_with_start_workflow_execution(request.into_request())
            .await
            .expect("Temporal takes the signal");
    }

    /// Ends the newest run as somebody in the Web UI would.
    pub async fn terminate(&self, key: Key) {
        let request = TerminateWorkflowExecutionRequest {
            namespace: self.name.clone(),
            workflow_execution: Some(execution(key, "")),
            reason: "by hand".into(),
            ..Default::default()
        };
        self.connection
            .workflow_service()
            .terminate_workflow_execution(request.into_request())
            .await
            .expect("it runs");
    }

    /// Resets the newest run to its first workflow task, as somebody in the Web UI would, with the
    /// signals that came since or without them. Returns the new run.
    pub async fn reset(&self, key: Key, with_signals: bool) -> String {
        let without = match with_signals {
            true => Vec::new(),
            false => vec![ResetReapplyExcludeType::Signal.into()],
        };
        let events = self.history(key).await;
        let first = events
            .iter()
            .find(|event| event.event_type() == EventType::WorkflowTaskCompleted);
        let request = ResetWorkflowExecutionRequest {
            namespace: self.name.clone(),
            workflow_execution: Some(execution(key, "")),
            reason: "by hand".into(),
            workflow_task_finish_event_id: first.expect("a task was completed").event_id,
            request_id: Uuid::new_v4().to_string(),
            reset_reapply_exclude_types: without,
            ..Default::default()
        };
        let answer = self
            .connection
            .workflow_service()
            .reset_workflow_execution(request.into_request())
            .await;
        answer.expect("it can be reset").into_inner().run_id
    }

    /// Lets exactly this much of the workflow's time pass, and waits until it has.
    pub async fn fast_forward(&self, key: Key, by: Duration) {
        let id = Uuid::new_v4().to_string();
        let mut forward = FastForwardConfig {
            id: id.clone(),
            ..Default::default()
        };
        let duration = forward.duration.get_or_insert_default();
        duration.seconds = by.as_secs().try_into().expect("a duration of this test");
        let mut request = UpdateWorkflowExecutionOptionsRequest {
            namespace: self.name.clone(),
            workflow_execution: Some(execution(key, "")),
            workflow_execution_options: Some(WorkflowExecutionOptions {
                time_skipping_config: Some(TimeSkippingConfig {
                    enabled: true,
                    fast_forward_config: Some(forward),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mask = request.update_mask.get_or_insert_default();
        mask.paths.push("time_skipping_config".into());
        self.connection
            .workflow_service()
            .update_workflow_execution_options(request.into_request())
            .await
            .expect("the server can skip time");
        let request = PollWorkflowExecutionTimeSkippingRequest {
            namespace: self.name.clone(),
            workflow_execution: Some(execution(key, "")),
            fast_forward_id: id,
        };
        wait::until("fast-forwarding", wait::BOUND, async || {
            let mut service = self.connection.workflow_service();
            let polled =
                service.poll_workflow_execution_time_skipping(request.clone().into_request());
            let answer = polled.await.expect("the server can skip time").into_inner();
            match answer.fast_forward_polling_result() {
                FastForwardPollingResult::FastForwardCompleted => Ok(()),
                FastForwardPollingResult::PollTimeout => Err(answer),
                _ => panic!("{answer:?}"),
            }
        })
        .await;
    }
}

/// How to reach a server on this machine.
pub fn connection_options(address: &str) -> ConnectionOptions {
    let url = Url::parse(&format!("http://{address}")).expect("host and port");
    ConnectionOptions::new(url).build()
}

/// When an event happened, by the workflow's clock.
#[track_caller]
pub fn at(event: &HistoryEvent) -> DateTime<Utc> {
    let at = event.event_time.expect("every event has its time");
    SystemTime::try_from(at).expect("after 1970").into()
}

/// How many events of this type there are.
pub fn count(events: &[HistoryEvent], kind: EventType) -> usize {
    events
        .iter()
        .filter(|event| event.event_type() == kind)
        .count()
}

/// How often the workflow called this activity, by the markers that its local activities leave.
pub fn calls(events: &[HistoryEvent], activity: &str) -> usize {
    let names = |payload: &Payload| {
        let text = String::from_utf8_lossy(&payload.data);
        text.contains(activity)
    };
    let markers = events
        .iter()
        .filter(|event| match event.attributes.as_ref() {
            Some(Attributes::MarkerRecordedEventAttributes(marker)) => {
                let about = marker.details.get("data");
                about.is_some_and(|about| about.payloads.iter().any(names))
            }
            _ => false,
        });
    markers.count()
}

/// The envelopes of all signals, in the order in which they came.
pub fn signals(events: &[HistoryEvent]) -> Vec<Value> {
    events
        .iter()
        .filter_map(|event| match event.attributes.as_ref()? {
            Attributes::WorkflowExecutionSignaledEventAttributes(it) => read(it.input.as_ref()),
            _ => None,
        })
        .collect()
}

/// The payload as JSON.
pub fn json<T: DeserializeOwned>(payload: &Payload) -> Option<T> {
    serde_json::from_slice(&payload.data).ok()
}

/// The texts of all payloads in a history's JSON, where they stand in Base64.
pub fn payload_texts(history: &str) -> String {
    let mut texts = String::new();
    let value: Value = serde_json::from_str(history).expect("a history is JSON");
    let mut left = vec![&value];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(data)) = fields.get("data")
                    && let Ok(bytes) = BASE64_STANDARD.decode(data)
                {
                    texts.push_str(&String::from_utf8_lossy(&bytes));
                    texts.push('\n');
                }
                left.extend(fields.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    texts
}

fn read<T: DeserializeOwned>(payloads: Option<&Payloads>) -> Option<T> {
    json(payloads?.payloads.first()?)
}

fn execution(key: Key, run: &str) -> WorkflowExecution {
    WorkflowExecution {
        workflow_id: ticket_workflow_id(key.0, key.1),
        run_id: run.to_owned(),
    }
}

fn workflow_type() -> WorkflowType {
    WorkflowType {
        name: TICKET_WORKFLOW.to_owned(),
    }
}

fn task_queue() -> TaskQueue {
    TaskQueue {
        name: TICKET_TASK_QUEUE.to_owned(),
        ..Default::default()
    }
}

fn payloads<T: Serialize>(value: &T) -> Payloads {
    Payloads {
        payloads: vec![Payload {
            metadata: [("encoding".to_owned(), b"json/plain".to_vec())].into(),
            data: serde_json::to_vec(value).expect("JSON"),
            external_payloads: Vec::new(),
        }],
    }
}
