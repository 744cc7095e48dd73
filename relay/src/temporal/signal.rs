//! SignalWithStart: the one call that delivers events, and starts the workflow where none runs.
//!
//! `ALLOW_DUPLICATE` + `USE_EXISTING`: a running workflow is signalled, a closed one gets a
//! successor. What is set at the start (search attributes, summary) only dresses a new run until
//! its first task; the workflow keeps it up to date from there. Nothing here may hold personal
//! data: all of it is readable in the Web UI and stays in the history.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use contracts::{
    CorrelationId, Priority, TemplateId, TicketState, TraceContext,
    event::{AutonomyMode, TicketLevel, WaitingFor},
    ids::*,
    signal::{
        SignalEnvelope, TICKET_SIGNAL, TICKET_TASK_QUEUE, TICKET_WORKFLOW, TicketWorkflowStart,
    },
    trace::{CORRELATION_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER},
};
use serde::Serialize;
use temporalio_client::{grpc::WorkflowService, tonic::Code};
use temporalio_common::protos::{
    ENCODING_PAYLOAD_KEY, JSON_ENCODING_VAL,
    temporal::api::{
        common::v1::{
            Header, Payload, Payloads, SearchAttributes, TimeSkippingConfig, WorkflowExecution,
            WorkflowType,
        },
        enums::v1::{WorkflowIdConflictPolicy, WorkflowIdReusePolicy},
        sdk::v1::UserMetadata,
        taskqueue::v1::TaskQueue,
        workflowservice::v1::{
            SignalWithStartWorkflowExecutionRequest, SignalWorkflowExecutionRequest,
        },
    },
};
use uuid::Uuid;

use super::{Temporal, search_attributes::name};
use crate::delivery::TemporalError;

/// A signal to a ticket's workflow.
#[derive(Debug, Clone)]
pub struct TicketSignal {
    /// Whose ticket.
    pub tenant_id: TenantId,
    /// Which.
    pub ticket_id: TicketId,
    /// Names this signal: sent again under the same id it is the same signal to Temporal. That is
    /// thrift, not safety.
    pub request_id: Uuid,
    /// What it carries.
    pub envelope: SignalEnvelope,
    /// The conversation and trace that caused it.
    pub cause: Option<(CorrelationId, TraceContext)>,
}

/// How a workflow is dressed when the signal has to start it.
#[derive(Debug, Clone)]
pub struct Dress {
    /// Kind of incident.
    pub template: TemplateId,
    /// How urgent.
    pub priority: Priority,
    /// Where the ticket stands.
    pub state: TicketState,
    /// How far software may act by itself.
    pub autonomy: AutonomyMode,
    /// What the ticket waits for, where known.
    pub waiting_for: Option<WaitingFor>,
    /// The next deadline.
    pub sla_due_at: Option<DateTime<Utc>>,
}

impl From<&TicketLevel> for Dress {
    fn from(level: &TicketLevel) -> Self {
        Self {
            template: level.template.clone(),
            priority: level.priority,
            state: level.state,
            autonomy: level.autonomy,
            waiting_for: Some(level.waiting_for),
            sla_due_at: level.sla.iter().filter_map(|clock| clock.due_at()).min(),
        }
    }
}

impl TicketSignal {
    /// Asks the workflow to take a snapshot, whatever it believes. `intent` tells one reason to ask
    /// from the next: the same intent is the same request.
    pub fn resync(tenant_id: TenantId, ticket_id: TicketId, epoch: u64, intent: &str) -> Self {
        Self {
            tenant_id,
            ticket_id,
            request_id: workflow_request_id(tenant_id, ticket_id, "resync", intent, epoch),
            envelope: SignalEnvelope {
                v: 1,
                epoch,
                events: Vec::new(),
                resync: true,
            },
            cause: None,
        }
    }
}

impl Temporal {
    /// Sends the signal, starting the workflow if none runs. Returns the run that got it.
    pub async fn signal_with_start(
        &self,
        signal: &TicketSignal,
        dress: Option<&Dress>,
        time_skipping: bool,
    ) -> Result<String, TemporalError> {
        let request = start_request(
            signal,
            dress,
            time_skipping,
            self.namespace(),
            self.identity(),
        );
        let answer = self
            .call(request, |mut service, request| async move {
                service.signal_with_start_workflow_execution(request).await
            })
            .await?;
        Ok(answer.run_id)
    }

    /// Sends the signal to a running workflow and starts none. False when none runs.
    pub async fn signal(&self, signal: &TicketSignal) -> Result<bool, TemporalError> {
        let request = SignalWorkflowExecutionRequest {
            namespace: self.namespace().to_owned(),
            workflow_execution: Some(WorkflowExecution {
                workflow_id: ticket_workflow_id(signal.tenant_id, signal.ticket_id),
                run_id: String::new(),
            }),
            signal_name: TICKET_SIGNAL.to_owned(),
            input: Some(payloads(&signal.envelope)),
            identity: self.identity().to_owned(),
            request_id: signal.request_id.to_string(),
            header: header(signal),
            ..Default::default()
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.signal_workflow_execution(request).await
            })
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(e) if e.code == Code::NotFound && !e.is_systemic() => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn start_request(
    signal: &TicketSignal,
    dress: Option<&Dress>,
    time_skipping: bool,
    namespace: &str,
    identity: &str,
) -> SignalWithStartWorkflowExecutionRequest {
    let input = TicketWorkflowStart {
        tenant_id: signal.tenant_id,
        ticket_id: signal.ticket_id,
        epoch: signal.envelope.epoch,
    };
    SignalWithStartWorkflowExecutionRequest {
        namespace: namespace.to_owned(),
        workflow_id: ticket_workflow_id(signal.tenant_id, signal.ticket_id),
        workflow_type: Some(WorkflowType {
            name: TICKET_WORKFLOW.to_owned(),
        }),
        task_queue: Some(TaskQueue {
            name: TICKET_TASK_QUEUE.to_owned(),
            ..Default::default()
        }),
        input: Some(payloads(&input)),
        identity: identity.to_owned(),
        request_id: signal.request_id.to_string(),
        workflow_id_reuse_policy: WorkflowIdReusePolicy::AllowDuplicate.into(),
        workflow_id_conflict_policy: WorkflowIdConflictPolicy::UseExisting.into(),
        signal_name: TICKET_SIGNAL.to_owned(),
        signal_input: Some(payloads(&signal.envelope)),
        header: header(signal),
        search_attributes: Some(search_attributes(signal.tenant_id, dress)),
        user_metadata: dress.map(|dress| UserMetadata {
            summary: Some(payload(&summary(dress))),
            details: None,
        }),
        time_skipping_config: time_skipping.then(|| TimeSkippingConfig {
            enabled: true,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What stands next to the workflow in the Web UI for all its life.
fn summary(dress: &Dress) -> String {
    format!("{} · {}", dress.template, dress.priority)
}

fn search_attributes(tenant: TenantId, dress: Option<&Dress>) -> SearchAttributes {
    let mut fields = HashMap::from([(name::TENANT_ID, payload(&tenant))]);
    if let Some(dress) = dress {
        fields.insert(name::TICKET_STATE, payload(&dress.state));
        fields.insert(name::PRIORITY, payload(&dress.priority));
        fields.insert(name::AUTONOMY_MODE, payload(&dress.autonomy));
        if let Some(waiting_for) = dress.waiting_for {
            fields.insert(name::WAITING_FOR, payload(&waiting_for));
        }
        if let Some(due) = dress.sla_due_at {
            fields.insert(name::SLA_DUE_AT, payload(&due));
        }
    }
    SearchAttributes {
        indexed_fields: fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

fn header(signal: &TicketSignal) -> Option<Header> {
    let (correlation_id, trace) = signal.cause.as_ref()?;
    let mut fields = HashMap::from([
        (CORRELATION_HEADER.to_owned(), payload(correlation_id)),
        (TRACEPARENT_HEADER.to_owned(), payload(&trace.traceparent)),
    ]);
    if let Some(state) = &trace.tracestate {
        fields.insert(TRACESTATE_HEADER.to_owned(), payload(state));
    }
    Some(Header { fields })
}

pub(super) fn payloads<T: Serialize>(value: &T) -> Payloads {
    Payloads {
        payloads: vec![payload(value)],
    }
}

/// `json/plain`, which every SDK reads by default.
fn payload<T: Serialize>(value: &T) -> Payload {
    Payload {
        metadata: HashMap::from([(
            ENCODING_PAYLOAD_KEY.to_owned(),
            JSON_ENCODING_VAL.as_bytes().to_vec(),
        )]),
        data: serde_json::to_vec(value)
            .expect("contract types have string keys and no fallible serializers"),
        external_payloads: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::{sla::SlaClock, value::Slug};
    use serde_json::{Value, json};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn dress() -> Dress {
        let clock = |name: &str, due: &str| -> SlaClock {
            serde_json::from_value(json!({
                "name": name, "calendar": "always", "budget_seconds": 60, "used_seconds": 0,
                "revision": 1, "phase": "running", "since": "2026-11-21T00:00:00Z",
                "warn_at": due, "due_at": due,
            }))
            .unwrap()
        };
        Dress::from(&TicketLevel {
            state: TicketState::Triaged,
            version: 2,
            template: TemplateId::new("emergency_glass").unwrap(),
            priority: Priority::P1,
            waiting_for: WaitingFor::Assignment,
            visit: 1,
            sla: vec![
                clock("completion", "2026-11-22T00:00:00Z"),
                clock("response", "2026-11-21T01:00:00Z"),
            ],
            open_approvals: Vec::new(),
            autonomy: AutonomyMode::Shadow,
            kill_generation: 0,
            approvals: Vec::new(),
            acts_on: Vec::new(),
            silent_on: Vec::new(),
            stopped: None,
        })
    }

    fn signal() -> TicketSignal {
        let (tenant, ticket) = (
            TenantId::from_uuid(Uuid::from_u128(1)),
            TicketId::from_uuid(Uuid::from_u128(2)),
        );
        let mut signal = TicketSignal::resync(tenant, ticket, 3, "run-1");
        let trace = TraceContext::parse(PARENT, Some("vendor=1")).unwrap();
        signal.cause = Some((CorrelationId::new("c-1").unwrap(), trace));
        signal
    }

    fn read(payload: &Payload) -> Value {
        assert_eq!(payload.metadata["encoding"], b"json/plain");
        serde_json::from_slice(&payload.data).unwrap()
    }

    #[test]
    fn a_start_says_all_that_an_operator_needs() {
        let request = start_request(&signal(), Some(&dress()), false, "ns", "relay@1");
        assert_eq!(
            request.workflow_id,
            "ticket/ten_00000000000000000000000000000001/tkt_00000000000000000000000000000002"
        );
        let fields = request.search_attributes.unwrap().indexed_fields;
        let shown: std::collections::BTreeMap<_, _> =
            fields.iter().map(|(k, v)| (k.as_str(), read(v))).collect();
        assert_eq!(
            serde_json::to_value(shown).unwrap(),
            json!({
                "TenantId": "ten_00000000000000000000000000000001", "TicketState": "TRIAGED",
                "Priority": "P1", "AutonomyMode": "SHADOW", "WaitingFor": "assignment",
                "SlaDueAt": "2026-11-21T01:00:00Z",
            })
        );
        let summary = request.user_metadata.unwrap().summary.unwrap();
        assert_eq!(read(&summary), "emergency_glass · P1");
        assert!(request.time_skipping_config.is_none());
    }

    #[test]
    fn trace_and_conversation_travel_in_the_header() {
        let fields = start_request(&signal(), None, false, "ns", "r")
            .header
            .unwrap()
            .fields;
        assert_eq!(read(&fields["traceparent"]), PARENT);
        assert_eq!(read(&fields["tracestate"]), "vendor=1");
        assert_eq!(read(&fields["x-correlation-id"]), "c-1");
    }

    #[test]
    fn the_payloads_are_what_the_workflow_reads() {
        let request = start_request(&signal(), None, true, "ns", "r");
        let signal = read(&request.signal_input.unwrap().payloads[0]);
        assert_eq!(
            SignalEnvelope::read(&signal),
            SignalEnvelope {
                v: 1,
                epoch: 3,
                events: vec![],
                resync: true
            }
        );
        let input: TicketWorkflowStart =
            serde_json::from_value(read(&request.input.unwrap().payloads[0])).unwrap();
        assert_eq!(input.epoch, 3);
        assert!(request.time_skipping_config.unwrap().enabled);
        let state = Slug::new("x").unwrap();
        assert_eq!(read(&payload(&state)), "x");
    }

    #[test]
    fn the_same_intent_is_the_same_request() {
        let id = |intent| {
            let s = signal();
            TicketSignal::resync(s.tenant_id, s.ticket_id, 3, intent).request_id
        };
        assert_eq!(id("run-1"), id("run-1"));
        assert_ne!(id("run-1"), id("run-2"));
    }
}
