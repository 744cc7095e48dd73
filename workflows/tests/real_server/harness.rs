//! A server, a worker whose activities answer from memory, and a relay's calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ApprovalId, CorrelationId, EventId, Priority, TenantId, TicketId, TicketState, TraceContext,
    approval::StepKind,
    autonomy::TenantControlStart,
    event::{AutonomyMode, TicketLevel, WaitingFor},
    ids::ticket_workflow_id,
    kill_switch::KillState,
    proposal::ProposalKind,
    signal::{
        SignalEnvelope, SignalEvent, TICKET_SIGNAL, TICKET_WORKFLOW, TicketSnapshot,
        TicketWorkflowStart, WorkflowView,
    },
    sla::{ClockCalendar, ClockPhase, SlaClock, SlaRecordKey},
};
use dispatch_workflows::{
    TenantControl, TicketWorkflow,
    activity::{
        AdviseCall, ApprovalStepCall, CarryOutCall, Controlled, Outcome, RecordSlaCall, Settled,
        SnapshotCall, SnapshotOutcome, Wanted,
    },
    ticket::{TicketInput, attributes},
};
use embedded::{Progress, TemporalOptions, TemporalServer};
use serde::Serialize;
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, UntypedWorkflow, WorkflowExecutionInfo,
    WorkflowFetchHistoryOptions, WorkflowHandle, WorkflowQueryOptions,
    tonic::{Code, IntoRequest},
};
use temporalio_common::protos::temporal::api::{
    common::v1::{Payload, Payloads, TimeSkippingConfig, WorkflowType},
    enums::v1::{EventType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy},
    history::v1::{History, HistoryEvent},
    taskqueue::v1::TaskQueue,
    workflowservice::v1::SignalWithStartWorkflowExecutionRequest,
};
use temporalio_macros::activities;
use temporalio_sdk::{
    Runtime, Worker, WorkerOptions,
    activities::{ActivityContext, ActivityError},
    workflow_replayer::{WorkflowReplayer, WorkflowReplayerOptions},
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NAMESPACE: &str = "default";

/// Stops when the last test that uses it ends.
static SERVER: tokio::sync::Mutex<Weak<TemporalServer>> =
    tokio::sync::Mutex::const_new(Weak::new());

async fn server() -> Arc<TemporalServer> {
    let mut shared = SERVER.lock().await;
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let keywords = attributes::ALL
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), format!("{kind:?}")));
    let options = TemporalOptions {
        address: env::var("TEMPORAL_ADDRESS").ok(),
        search_attributes: keywords.collect(),
        ui: false,
        need_time_skipping: true,
        progress: Progress::default(),
        ..TemporalOptions::default()
    };
    let server = TemporalServer::resolve_and_start(options)
        .await
        .unwrap_or_else(|error| panic!("no Temporal server: {error}"));
    let server = Arc::new(server);
    *shared = Arc::downgrade(&server);
    server
}

/// The database as the activities see it.
#[derive(Debug, Default)]
pub struct Truth {
    pub events: Vec<SignalEvent>,
    pub sla: BTreeSet<SlaRecordKey>,
    pub proposals: BTreeSet<(ProposalKind, u64)>,
    /// Warnings and breaches that somebody was to be told of.
    pub escalations: BTreeSet<SlaRecordKey>,
    /// dispatch-api does not answer.
    pub away: bool,
    /// How often each activity was called.
    pub calls: BTreeMap<&'static str, u32>,
    /// When each record was asked for.
    pub recorded: Vec<(SlaRecordKey, DateTime<Utc>)>,
    /// Steps of approvals that were taken.
    pub steps: Vec<(ApprovalId, StepKind, DateTime<Utc>)>,
    /// What was carried out.
    pub carried_out: Vec<(ApprovalId, u32)>,
    /// Advice that was acted on, with the ticket's version.
    pub acted: Vec<(ProposalKind, u64)>,
    /// The kill switch is engaged.
    pub stopped: bool,
    /// What answers say of the kill switches.
    pub told: Option<KillState>,
}

impl Truth {
    fn settled(&self, outcome: Outcome) -> Settled {
        Settled {
            outcome,
            kill: self.told.clone(),
        }
    }
}

/// Activities that answer from memory.
#[derive(Debug, Clone, Default)]
pub struct Api(Arc<Mutex<Truth>>);

#[activities]
impl Api {
    #[activity(definition = dispatch_workflows::activity::TakeSnapshot)]
    pub async fn ticket_snapshot(
        self: Arc<Self>,
        _ctx: ActivityContext,
        _call: SnapshotCall,
    ) -> Result<SnapshotOutcome, ActivityError> {
        let truth = self.called("ticket_snapshot")?;
        let head = truth.events.last().expect("there is a ticket");
        Ok(SnapshotOutcome::Found {
            snapshot: Box::new(TicketSnapshot {
                epoch: 1,
                head_seq: head.seq,
                head_event_id: Some(head.event_id),
                level: head.level.clone().expect("a readable level"),
                sla_recorded: truth.sla.iter().cloned().collect(),
                proposed: truth.proposals.iter().copied().collect(),
                escalated: truth.escalations.iter().cloned().collect(),
            }),
        })
    }

    #[activity(definition = dispatch_workflows::activity::Advise)]
    pub async fn advise(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: AdviseCall,
    ) -> Result<Settled, ActivityError> {
        let mut truth = self.called("advise")?;
        for wanted in call.wanted() {
            let fresh = match wanted {
                Wanted::Kind(kind) => truth.proposals.insert((kind, call.version)),
                Wanted::Escalation(record) => truth.escalations.insert(record.clone()),
            };
            assert!(fresh, "asked twice: {call:?}");
        }
        let acted = call.act.first().map(|kind| (*kind, call.version));
        truth.acted.extend(acted);
        Ok(truth.settled(Outcome::Recorded))
    }

    #[activity(definition = dispatch_workflows::activity::TakeApprovalStep)]
    pub async fn approval_step(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: ApprovalStepCall,
    ) -> Result<Settled, ActivityError> {
        let mut truth = self.called("approval_step")?;
        let step = (call.approval_id, call.step, call.at);
        assert!(!truth.steps.contains(&step), "taken twice: {call:?}");
        truth.steps.push(step);
        Ok(truth.settled(Outcome::Recorded))
    }

    #[activity(definition = dispatch_workflows::activity::CarryOut)]
    pub async fn execute_approval(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: CarryOutCall,
    ) -> Result<Settled, ActivityError> {
        let mut truth = self.called("execute_approval")?;
        if truth.stopped {
            return Ok(truth.settled(Outcome::Held {
                reason: "KILL_SWITCH".into(),
            }));
        }
        let one = (call.approval_id, call.version);
        assert!(!truth.carried_out.contains(&one), "carried out twice");
        truth.carried_out.push(one);
        Ok(truth.settled(Outcome::Recorded))
    }

    #[activity(definition = dispatch_workflows::activity::ControlTenant)]
    pub async fn tenant_control(
        self: Arc<Self>,
        _ctx: ActivityContext,
        _start: TenantControlStart,
    ) -> Result<Controlled, ActivityError> {
        drop(self.called("tenant_control")?);
        Ok(Controlled {
            done: 1,
            refused: Vec::new(),
        })
    }

    #[activity(definition = dispatch_workflows::activity::RecordSla)]
    pub async fn record_sla(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: RecordSlaCall,
    ) -> Result<Settled, ActivityError> {
        let mut truth = self.called("record_sla")?;
        let fresh = truth.sla.insert(call.key.clone());
        assert!(fresh, "recorded twice: {call:?}");
        truth.recorded.push((call.key, call.effective_at));
        Ok(truth.settled(Outcome::Recorded))
    }
}

impl Api {
    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn called(&self, name: &'static str) -> Result<MutexGuard<'_, Truth>, ActivityError> {
        let mut truth = self.truth();
        *truth.calls.entry(name).or_default() += 1;
        if truth.away {
            return Err(failed("dispatch-api gave no answer"));
        }
        Ok(truth)
    }

    /// Commits the next event.
    pub fn commit(&self, mut level: TicketLevel) -> SignalEvent {
        let mut truth = self.truth();
        let seq = truth.events.len() as u64 + 1;
        level.version = seq;
        let event = SignalEvent {
            seq,
            event_id: EventId::from_uuid(Uuid::new_v4()),
            event_type: "ticket.triaged".into(),
            event_version: 1,
            occurred_at: Utc::now(),
            correlation_id: CorrelationId::new("test").unwrap(),
            trace: TraceContext::parse(TRACE, None).unwrap(),
            level: Some(level),
        };
        truth.events.push(event.clone());
        event
    }
}

fn failed(text: &str) -> ActivityError {
    ActivityError::application(temporalio_common::error::ApplicationFailure::new(
        text.to_owned(),
    ))
}

/// One ticket with its workflow.
pub struct Fixture {
    pub api: Api,
    pub client: Client,
    pub start: TicketWorkflowStart,
    pub history_limit: Option<u32>,
    pub time_skipping: bool,
    pub task_queue: String,
    _server: Arc<TemporalServer>,
}

impl Fixture {
    pub async fn new() -> Self {
        let server = server().await;
        let url: url::Url = format!("http://{}", server.address()).parse().unwrap();
        // Named, because the default would put this machine's name into captured histories.
        let options = ConnectionOptions::new(url)
            .identity("test".to_owned())
            .build();
        let connection = Connection::connect(options).await.unwrap();
        let client = Client::new(connection, ClientOptions::new(NAMESPACE).build()).unwrap();
        Self {
            api: Api::default(),
            client,
            start: TicketWorkflowStart {
                tenant_id: TenantId::from_uuid(Uuid::new_v4()),
                ticket_id: TicketId::from_uuid(Uuid::new_v4()),
                epoch: 1,
            },
            history_limit: None,
            time_skipping: false,
            task_queue: format!("test-{}", Uuid::new_v4()),
            _server: server,
        }
    }

    /// Runs the story with a worker beside it.
    pub async fn with_worker<T>(&self, story: impl Future<Output = T>) -> T {
        let runtime = Runtime::from_current_tokio(Default::default()).unwrap();
        let options = WorkerOptions::new(self.task_queue.clone())
            .register_activities(self.api.clone())
            .register_workflow::<TicketWorkflow>()
            .unwrap()
            .register_workflow::<TenantControl>()
            .unwrap()
            .build();
        let mut worker = Worker::new(&runtime, self.client.clone(), options).unwrap();
        let stop = worker.shutdown_handle();
        let (ran, told) = tokio::join!(worker.run(), async {
            let told = story.await;
            stop();
            told
        });
        ran.unwrap();
        told
    }

    /// Commits an event and sends it as the relay does.
    pub async fn happen(&self, level: TicketLevel) -> u64 {
        let event = self.api.commit(level);
        let seq = event.seq;
        self.send(&envelope([event])).await;
        seq
    }

    /// SignalWithStart with anything as the signal.
    pub async fn send(&self, signal: &impl Serialize) {
        self.send_raw(json(signal)).await;
    }

    pub async fn send_raw(&self, signal: Payload) {
        let input = TicketInput {
            history_limit: self.history_limit,
            ..TicketInput::new(self.start.clone())
        };
        let request = SignalWithStartWorkflowExecutionRequest {
            namespace: NAMESPACE.into(),
            workflow_id: self.workflow_id(),
            workflow_type: Some(WorkflowType {
                name: TICKET_WORKFLOW.into(),
            }),
            task_queue: Some(TaskQueue {
                name: self.task_queue.clone(),
                ..Default::default()
            }),
            input: Some(payloads(json(&input))),
            signal_name: TICKET_SIGNAL.into(),
            signal_input: Some(payloads(signal)),
            request_id: Uuid::new_v4().to_string(),
            workflow_id_reuse_policy: WorkflowIdReusePolicy::AllowDuplicate.into(),
            workflow_id_conflict_policy: WorkflowIdConflictPolicy::UseExisting.into(),
            time_skipping_config: self.time_skipping.then(|| TimeSkippingConfig {
                enabled: true,
                ..Default::default()
            }),
            ..Default::default()
        };
        // The server refuses while it waits for the end of a task that would close the workflow.
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut service = self.client.connection().workflow_service();
        while let Err(refusal) = service
            .signal_with_start_workflow_execution(request.clone().into_request())
            .await
        {
            let busy = refusal.code() == Code::ResourceExhausted;
            assert!(busy && Instant::now() < deadline, "{refusal}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn workflow_id(&self) -> String {
        ticket_workflow_id(self.start.tenant_id, self.start.ticket_id)
    }

    pub fn handle(&self) -> WorkflowHandle<Client, UntypedWorkflow> {
        self.client
            .get_workflow_handle::<UntypedWorkflow>(self.workflow_id())
    }

    pub async fn view(&self) -> WorkflowView {
        let answer = self
            .client
            .get_workflow_handle::<TicketWorkflow>(self.workflow_id())
            .query(TicketWorkflow::view, (), WorkflowQueryOptions::default())
            .await;
        match answer {
            Ok(view) => view,
            Err(error) => {
                let history = self.history(None).await;
                panic!("{error}; the history ends with {:#?}", history.last());
            }
        }
    }

    /// Asks until it is so; half a minute at most.
    pub async fn until(&self, what: &str, so: impl Fn(&WorkflowView) -> bool) -> WorkflowView {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let view = self.view().await;
            if so(&view) {
                return view;
            }
            assert!(Instant::now() < deadline, "{what}: {view:#?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for so many workflow tasks in the newest run. Unlike a query, which may cost a task of
    /// its own when it meets one in work, looking at the history leaves no trace in it.
    pub async fn tasks_completed(&self, wanted: u64) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let done = count(&self.history(None).await, EventType::WorkflowTaskCompleted) as u64;
            if done >= wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{done} tasks of {wanted}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Events of one run, the newest without an id.
    pub async fn history(&self, run_id: Option<&str>) -> Vec<HistoryEvent> {
        self.history_of(&self.workflow_id(), run_id).await
    }

    /// Events of one run of any workflow.
    pub async fn history_of(&self, workflow: &str, run_id: Option<&str>) -> Vec<HistoryEvent> {
        let info = WorkflowExecutionInfo::builder()
            .namespace(NAMESPACE)
            .workflow_id(workflow)
            .maybe_run_id(run_id)
            .build();
        WorkflowHandle::<_, UntypedWorkflow>::new(self.client.clone(), info)
            .fetch_history(WorkflowFetchHistoryOptions::default())
            .into_events()
            .await
            .unwrap()
    }
}

/// Replays a history on this code. With `DISPATCH_CAPTURE` set to a folder it is kept there: that is
/// how the committed histories of a release are made.
pub async fn replay(name: &str, events: Vec<HistoryEvent>) {
    let history = History { events };
    if let Ok(folder) = env::var("DISPATCH_CAPTURE") {
        let json = serde_json::to_vec(&history).unwrap();
        std::fs::write(format!("{folder}/{name}.json"), json).unwrap();
    }
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<TicketWorkflow>()
        .unwrap()
        .register_workflow::<TenantControl>()
        .unwrap()
        .build();
    WorkflowReplayer::new(options)
        .unwrap()
        .replay_workflow(history.into())
        .await
        .unwrap();
}

/// How many events of each type, for budgets.
pub fn census(events: &[HistoryEvent]) -> BTreeMap<String, usize> {
    let mut census = BTreeMap::new();
    for event in events {
        let name = format!("{:?}", event.event_type());
        *census.entry(name).or_default() += 1;
    }
    census
}

pub fn count(events: &[HistoryEvent], kind: EventType) -> usize {
    events.iter().filter(|e| e.event_type() == kind).count()
}

pub fn event_time(event: &HistoryEvent) -> DateTime<Utc> {
    let time = event.event_time.expect("each event has its time");
    SystemTime::try_from(time).unwrap().into()
}

pub fn envelope(events: impl IntoIterator<Item = SignalEvent>) -> SignalEnvelope {
    SignalEnvelope {
        v: 1,
        epoch: 1,
        events: events.into_iter().collect(),
        resync: false,
    }
}

fn json(value: &impl Serialize) -> Payload {
    Payload {
        metadata: [("encoding".to_owned(), b"json/plain".to_vec())].into(),
        data: serde_json::to_vec(value).unwrap(),
        ..Default::default()
    }
}

fn payloads(payload: Payload) -> Payloads {
    Payloads {
        payloads: vec![payload],
    }
}

pub fn level(state: TicketState, waiting_for: WaitingFor) -> TicketLevel {
    TicketLevel {
        state,
        version: 0,
        template: "emergency_glass".parse().unwrap(),
        priority: Priority::P2,
        waiting_for,
        visit: 1,
        sla: Vec::new(),
        open_approvals: Vec::new(),
        autonomy: AutonomyMode::Shadow,
        kill_generation: 0,
        approvals: Vec::new(),
        acts_on: Vec::new(),
        silent_on: Vec::new(),
        stopped: None,
    }
}

pub fn running(name: &str, since: DateTime<Utc>, budget: TimeDelta) -> SlaClock {
    SlaClock {
        name: name.parse().unwrap(),
        calendar: ClockCalendar::Always,
        budget_seconds: budget.num_seconds().unsigned_abs(),
        used_seconds: 0,
        revision: 1,
        phase: ClockPhase::Running {
            since,
            warn_at: since + budget * 4 / 5,
            due_at: since + budget,
        },
    }
}

pub fn stopped(clock: &SlaClock) -> SlaClock {
    SlaClock {
        phase: ClockPhase::Stopped {
            at: Utc::now(),
            met: true,
        },
        ..clock.clone()
    }
}
