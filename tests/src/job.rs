//! A walker that brings a ticket to any state, and a good example of every command.

use chrono::{TimeDelta, Utc};
use client::{CallOptions, Client, ClientError};
use contracts::{
    ApprovalId, MessageId, Operation, TicketId, TicketState,
    approval::{Approval, ApprovalState, StepKind, Verdict},
    command::{CommandReceipt, DecideApproval, HeldReceipt},
    comms::Routing,
    filing::Filed,
    proposal::ProposalKind,
    read::TimelineEntry,
    ticket::Ticket,
};
use domain::{TicketKey, evolve};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{stack::Stack, who::Who, world::Tenant};

/// Every command about a ticket, in the order of a ticket's life.
pub const ROUTED: &[Operation] = &[
    Operation::CreateTicket,
    Operation::Triage,
    Operation::ProposeSchedule,
    Operation::ConfirmSchedule,
    Operation::Reschedule,
    Operation::Dispatch,
    Operation::Unassign,
    Operation::EnRoute,
    Operation::CheckIn,
    Operation::NoAccess,
    Operation::RequestChange,
    Operation::DecideApproval,
    Operation::ReturnVisit,
    Operation::Complete,
    Operation::QaVerify,
    Operation::QaReject,
    Operation::GenerateInvoice,
    Operation::Close,
    Operation::Reopen,
    Operation::Cancel,
    Operation::Merge,
    Operation::CustomerAwait,
    Operation::CustomerResume,
    Operation::SetTicketAutonomy,
    Operation::AmendApproval,
    Operation::WithdrawApproval,
    Operation::ChangeApprovalDue,
    Operation::RecordApprovalStep,
    Operation::ExecuteApproval,
    Operation::ClaimApproval,
    Operation::ReleaseApproval,
    Operation::TakeOverApproval,
    Operation::CommentApproval,
    Operation::AddNote,
    Operation::RecordProposal,
    Operation::RecordSla,
    Operation::AddEvidence,
    Operation::CommsOutbound,
    Operation::AttachMessage,
];

/// Every command about something else. Each has an example in [`crate::filing`] or is walked where
/// the world that it needs is made: [`crate::filing::WALKED`].
pub const FILINGS: &[Operation] = &[
    Operation::CommsInbound,
    Operation::UpsertSite,
    Operation::UpsertAsset,
    Operation::UpsertContact,
    Operation::UpsertTechnician,
    Operation::RecordAbsence,
    Operation::CancelAbsence,
    Operation::DelegateApprovals,
    Operation::RevokeDelegation,
    Operation::EngageKillSwitch,
    Operation::ReleaseKillSwitch,
    Operation::RecordDrill,
    Operation::RecordGateReport,
    Operation::PromoteStage,
    Operation::DemoteStage,
    Operation::ApplyStageChange,
    Operation::UploadBundle,
    Operation::ActivateBundle,
    Operation::CreateTenant,
    Operation::ConfigureTenant,
    Operation::SuspendTenant,
    Operation::ResumeTenant,
    Operation::RequestTenantDeletion,
    Operation::CancelTenantDeletion,
    Operation::EraseTenant,
    Operation::UpsertServiceAccount,
    Operation::DisableServiceAccount,
    Operation::IssueApiKey,
    Operation::RotateApiKey,
    Operation::RevokeApiKey,
    Operation::LimitTenant,
    Operation::RecordTenantExport,
];

/// A command in which the example is possible: from which state, by whom, what stands in its way
/// elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// The command.
    pub operation: Operation,
    /// The state it starts from; `None` for a creation.
    pub from: Option<TicketState>,
    /// The state it leads to.
    pub to: TicketState,
    /// Who may do it.
    pub who: Who,
    /// A person who may not.
    pub not: Who,
    /// A state in which the same person cannot do it; `None` when there is none.
    pub wrong: Option<TicketState>,
}

/// The example of a command.
pub const fn example(operation: Operation) -> Example {
    use TicketState::*;
    let (from, to, who, wrong) = match operation {
        Operation::CreateTicket => (None, New, Who::Dispatcher, None),
        Operation::Triage => (Some(New), Triaged, Who::Dispatcher, Some(Scheduled)),
        Operation::ProposeSchedule => (Some(Triaged), ScheduleProposed, Who::Dispatcher, Some(New)),
        Operation::ConfirmSchedule => (
            Some(ScheduleProposed),
            Scheduled,
            Who::Dispatcher,
            Some(Triaged),
        ),
        Operation::Reschedule => (
            Some(Scheduled),
            ScheduleProposed,
            Who::Dispatcher,
            Some(Triaged),
        ),
        Operation::Dispatch => (Some(Scheduled), Dispatched, Who::Dispatcher, Some(New)),
        Operation::Unassign => (
            Some(Dispatched),
            Scheduled,
            Who::Dispatcher,
            Some(Scheduled),
        ),
        Operation::EnRoute => (Some(Dispatched), Dispatched, Who::Technician, Some(OnSite)),
        Operation::CheckIn => (Some(Dispatched), OnSite, Who::Technician, Some(OnSite)),
        Operation::NoAccess => (
            Some(Dispatched),
            ReturnPending,
            Who::Technician,
            Some(WorkComplete),
        ),
        Operation::RequestChange => (
            Some(OnSite),
            ChangeRequested,
            Who::Technician,
            Some(Dispatched),
        ),
        Operation::DecideApproval => (Some(ChangeRequested), OnSite, Who::AccountManager, None),
        Operation::ClaimApproval
        | Operation::TakeOverApproval
        | Operation::CommentApproval
        | Operation::ChangeApprovalDue => (
            Some(ChangeRequested),
            ChangeRequested,
            Who::AccountManager,
            None,
        ),
        // Nobody has claimed it.
        Operation::ReleaseApproval => (
            Some(ChangeRequested),
            ChangeRequested,
            Who::AccountManager,
            Some(ChangeRequested),
        ),
        Operation::RecordApprovalStep => {
            (Some(ChangeRequested), ChangeRequested, Who::Workflow, None)
        }
        Operation::AmendApproval | Operation::WithdrawApproval => {
            (Some(OnSite), OnSite, Who::Technician, None)
        }
        Operation::ExecuteApproval => (Some(OnSite), ChangeRequested, Who::Workflow, None),
        Operation::SetTicketAutonomy => (Some(Triaged), Triaged, Who::Dispatcher, Some(Closed)),
        Operation::ReturnVisit => (
            Some(OnSite),
            ReturnPending,
            Who::Technician,
            Some(Dispatched),
        ),
        Operation::Complete => (
            Some(OnSite),
            WorkComplete,
            Who::Technician,
            Some(Dispatched),
        ),
        Operation::QaVerify => (Some(WorkComplete), Verified, Who::Qa, Some(OnSite)),
        Operation::QaReject => (Some(WorkComplete), ReturnPending, Who::Qa, Some(OnSite)),
        Operation::GenerateInvoice => (Some(Verified), Invoiced, Who::Billing, Some(WorkComplete)),
        Operation::Close => (Some(Invoiced), Closed, Who::Billing, Some(WorkComplete)),
        Operation::Reopen => (Some(Closed), ReturnPending, Who::Dispatcher, Some(OnSite)),
        Operation::Cancel => (
            Some(Triaged),
            Cancelled,
            Who::Dispatcher,
            Some(WorkComplete),
        ),
        Operation::Merge => (Some(Triaged), Cancelled, Who::Dispatcher, Some(Scheduled)),
        Operation::CustomerAwait => (Some(Triaged), Triaged, Who::Dispatcher, Some(Closed)),
        Operation::CustomerResume => (Some(Triaged), Triaged, Who::Dispatcher, Some(New)),
        Operation::AddNote
        | Operation::AddEvidence
        | Operation::CommsOutbound
        | Operation::AttachMessage => (Some(New), New, Who::Dispatcher, None),
        Operation::RecordProposal | Operation::RecordSla => (Some(New), New, Who::Workflow, None),
        _ => panic!("the command is not about a ticket"),
    };
    Example {
        operation,
        from,
        to,
        who,
        not: Who::Auditor,
        wrong,
    }
}

/// The step before: from where, by which command.
const fn step_to(state: TicketState) -> (Option<TicketState>, Operation) {
    use TicketState::*;
    match state {
        New => (None, Operation::CreateTicket),
        Triaged => (Some(New), Operation::Triage),
        ScheduleProposed => (Some(Triaged), Operation::ProposeSchedule),
        Scheduled => (Some(ScheduleProposed), Operation::ConfirmSchedule),
        Dispatched => (Some(Scheduled), Operation::Dispatch),
        OnSite => (Some(Dispatched), Operation::CheckIn),
        ChangeRequested => (Some(OnSite), Operation::RequestChange),
        ReturnPending => (Some(OnSite), Operation::ReturnVisit),
        WorkComplete => (Some(OnSite), Operation::Complete),
        Verified => (Some(WorkComplete), Operation::QaVerify),
        Invoiced => (Some(Verified), Operation::GenerateInvoice),
        Closed => (Some(Invoiced), Operation::Close),
        Cancelled => (Some(New), Operation::Cancel),
    }
}

/// A ticket that is walked through its life.
#[derive(Debug, Clone)]
pub struct Job {
    stack: Stack,
    tenant: Tenant,
    /// The ticket; `None` before it is created.
    id: Option<TicketId>,
    /// The change order that waits, or waited.
    approval: Option<ApprovalId>,
}

impl Job {
    /// No ticket yet.
    pub fn new(stack: &Stack, tenant: &Tenant) -> Self {
        Self {
            stack: stack.clone(),
            tenant: tenant.clone(),
            id: None,
            approval: None,
        }
    }

    /// A ticket in this state; without one, none yet.
    pub async fn at(stack: &Stack, tenant: &Tenant, state: impl Into<Option<TicketState>>) -> Self {
        let mut job = Self::new(stack, tenant);
        if let Some(state) = state.into() {
            job.walk_to(state).await;
        }
        job
    }

    /// A ticket on which the example of a command is possible.
    pub async fn ready_for(stack: &Stack, tenant: &Tenant, operation: Operation) -> Self {
        let mut job = Self::at(stack, tenant, example(operation).from).await;
        match operation {
            Operation::CustomerResume => {
                job.does(Operation::CustomerAwait).await;
            }
            Operation::ReleaseApproval => {
                job.does(Operation::ClaimApproval).await;
            }
            Operation::AmendApproval | Operation::WithdrawApproval => {
                job.is_held().await;
            }
            Operation::ExecuteApproval => {
                job.is_held().await;
                job.is_released().await;
            }
            _ => {}
        }
        job
    }

    /// A change order so dear that it is not even asked for without the account manager: held.
    pub async fn is_held(&mut self) -> Approval {
        let body = json!({
            "scope": "shopfront", "price_delta_cents": HELD_CENTS, "note": SECRET_WORDS,
        });
        let operation = Operation::RequestChange;
        let ask = self
            .stack
            .http()
            .command(operation, Some(self.id()), &body)
            .token(Who::Technician.token(&self.tenant));
        let reply = ask.send().await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        let receipt: HeldReceipt =
            serde_json::from_value(reply.json()).expect("what is held has a receipt");
        self.approval = Some(receipt.approval.id);
        receipt.approval
    }

    /// The account manager says yes to what is held.
    pub async fn is_released(&self) {
        let client = self.stack.client(&self.tenant, Who::AccountManager);
        let body = DecideApproval {
            approval_id: self.approval(),
            verdict: Verdict::Approve,
            reason: None,
            version: None,
        };
        let answer = client.decide(&body, &CallOptions::default()).await;
        let state = answer.expect("the account manager may").state();
        assert_eq!(state, Some(ApprovalState::Approved));
    }

    /// The approval that waits, or waited.
    #[track_caller]
    pub fn approval(&self) -> ApprovalId {
        self.approval.expect("it was asked for")
    }

    async fn walk_to(&mut self, state: TicketState) {
        let mut way = Vec::new();
        let mut next = Some(state);
        while let Some(state) = next {
            let (from, operation) = step_to(state);
            way.push(operation);
            next = from;
        }
        for operation in way.into_iter().rev() {
            self.does(operation).await;
        }
    }

    /// The ticket.
    #[track_caller]
    pub fn id(&self) -> TicketId {
        self.id.expect("the ticket was created")
    }

    /// The ticket that a command is sent to; `None` for a creation.
    pub fn target(&self, operation: Operation) -> Option<TicketId> {
        (operation != Operation::CreateTicket).then(|| self.id())
    }

    /// Whose ticket.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Does the example of a command; it must succeed.
    pub async fn does(&mut self, operation: Operation) -> CommandReceipt {
        let body = self.body(operation).await;
        self.sends(operation, &body).await
    }

    /// Sends this body as the one who may; it must succeed.
    pub async fn sends(&mut self, operation: Operation, body: &Value) -> CommandReceipt {
        let client = self.stack.client(&self.tenant, example(operation).who);
        self.tries(&client, operation, body, &CallOptions::default())
            .await
            .unwrap_or_else(|error| panic!("{operation} of {:?}: {error}", self.id))
    }

    /// Sends this body by this client, which may fail.
    pub async fn tries(
        &mut self,
        client: &Client,
        operation: Operation,
        body: &Value,
        options: &CallOptions,
    ) -> Result<CommandReceipt, ClientError> {
        let target = self.target(operation);
        let receipt = client.command(operation, target, body, options).await?;
        self.id = Some(receipt.ticket.id);
        if operation == Operation::RequestChange {
            self.approval = receipt.approval_id;
        }
        Ok(receipt)
    }

    /// The ticket as its dispatcher reads it.
    pub async fn ticket(&self) -> Ticket {
        let client = self.stack.client(&self.tenant, Who::Dispatcher);
        client.ticket(self.id()).await.expect("the ticket is there")
    }

    /// All pages of the ticket's timeline, as an auditor reads them.
    pub async fn timeline(&self) -> Vec<TimelineEntry> {
        let client = self.stack.client(&self.tenant, Who::Auditor);
        let mut entries = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = client.timeline(self.id(), cursor.as_deref()).await;
            let page = page.expect("the ticket is there");
            entries.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return entries,
            }
        }
    }

    /// The ticket that the entries' changes fold to.
    pub fn fold(&self, entries: &[TimelineEntry]) -> Option<Ticket> {
        let key = TicketKey {
            tenant_id: self.tenant.id,
            ticket_id: self.id(),
        };
        let changes = entries.iter().flat_map(|entry| &entry.changes);
        changes.fold(None, |ticket, change| Some(evolve(key, ticket, change)))
    }

    /// A good body for a command on this ticket.
    pub async fn body(&self, operation: Operation) -> Value {
        let evidence = |kinds: &[&str]| -> Vec<Value> {
            kinds
                .iter()
                .map(|kind| json!({ "kind": kind, "sha256": "0d".repeat(32) }))
                .collect()
        };
        let start = Utc::now() + TimeDelta::hours(2);
        let approval_id = self.approval;
        let approval_id = approval_id.unwrap_or_else(|| ApprovalId::from_uuid(Uuid::now_v7()));
        match operation {
            Operation::CreateTicket => json!({
                "site_id": self.tenant.site, "asset_id": self.tenant.asset,
                "contact_id": self.tenant.contact, "template": "emergency_glass",
                "details": { "public_hazard": true }, "description": SECRET_WORDS,
            }),
            Operation::Triage => json!({ "priority": "P2", "details": { "pane_count": 2 } }),
            Operation::ProposeSchedule => json!({ "window": {
                "start": start, "end": start + TimeDelta::hours(3),
            }}),
            Operation::Reschedule => json!({
                "window": { "start": start, "end": start + TimeDelta::hours(2) },
                "reason": "customer_request",
            }),
            Operation::Dispatch => json!({
                "technician_id": self.tenant.technicians[0], "eta": start,
            }),
            Operation::Unassign => json!({ "reason": "technician_ill" }),
            Operation::EnRoute => json!({ "eta": start }),
            Operation::NoAccess => json!({ "reason": "nobody_there" }),
            Operation::RequestChange => json!({
                "scope": "laminated_pane", "price_delta_cents": 35_000, "note": SECRET_WORDS,
            }),
            Operation::DecideApproval => json!({
                "approval_id": approval_id,
                "verdict": "approve", "reason": "safety_glass_required",
            }),
            Operation::AmendApproval => json!({
                "approval_id": approval_id, "reason": "smaller_pane",
                "body": {
                    "scope": "shopfront", "price_delta_cents": HELD_CENTS - 100,
                    "note": SECRET_WORDS,
                },
            }),
            Operation::WithdrawApproval => json!({
                "approval_id": approval_id, "reason": "not_needed",
            }),
            Operation::ChangeApprovalDue => json!({
                "approval_id": approval_id, "reason": "landlord_is_asked",
                "expires_at": Utc::now() + TimeDelta::hours(30),
            }),
            Operation::RecordApprovalStep => self.next_step(approval_id).await,
            Operation::ExecuteApproval => json!({
                "approval_id": approval_id, "version": 1, "applied_seq": 1,
            }),
            Operation::ClaimApproval => json!({ "approval_id": approval_id, "minutes": 5 }),
            Operation::ReleaseApproval => json!({ "approval_id": approval_id }),
            Operation::TakeOverApproval => json!({
                "approval_id": approval_id, "reason": "colleague_is_ill", "minutes": 5,
            }),
            Operation::CommentApproval => json!({
                "approval_id": approval_id, "text": SECRET_WORDS,
            }),
            Operation::SetTicketAutonomy => json!({ "opt_out": true, "reason": "vip" }),
            Operation::ReturnVisit => json!({
                "reason": "pane_to_be_ordered",
                "parts": [{ "sku": "laminated_pane_8mm", "quantity": 1 }],
                "evidence": evidence(&["photo_before", "photo_made_safe"]),
            }),
            Operation::Complete => json!({
                "evidence": evidence(&["photo_before", "photo_after", "signature"]),
            }),
            Operation::QaReject => json!({ "reasons": ["seal_leaks"] }),
            Operation::GenerateInvoice => json!({ "lines": [
                { "item": "call_out", "quantity": 1, "unit_cents": 9_500 },
                { "item": "labour_hour", "quantity": 3, "unit_cents": 7_800 },
            ]}),
            Operation::Cancel => json!({ "reason": "customer_request" }),
            Operation::Reopen => json!({ "reason": "seal_leaks" }),
            Operation::Merge => json!({ "into": self.second_call().await }),
            Operation::CustomerAwait => json!({ "reason": "window_offered" }),
            Operation::AddNote => json!({ "text": SECRET_WORDS }),
            Operation::AddEvidence => json!({
                "kind": "photo_before", "sha256": "0d".repeat(32), "media_type": "image/jpeg",
                "size_bytes": 240_000,
            }),
            Operation::CommsOutbound => json!({
                "ticket_id": self.id(), "contact_id": self.tenant.contact, "channel": "sms",
                "text": SECRET_WORDS,
            }),
            Operation::AttachMessage => json!({ "message_id": self.held_message().await }),
            Operation::RecordProposal => self.proposal().await,
            Operation::RecordSla => self.breach().await,
            _ => json!({}),
        }
    }

    /// What the workflow would record of an approval next.
    async fn next_step(&self, approval_id: ApprovalId) -> Value {
        let ticket = self.ticket().await;
        let mut approvals = ticket.approvals.iter();
        let known = approvals.find(|approval| approval.id == approval_id);
        let next = known.and_then(|approval| approval.steps.first());
        json!({
            "approval_id": approval_id, "applied_seq": 1,
            "version": known.map_or(1, |approval| approval.version),
            "step": next.map_or(StepKind::Expiry, |next| next.step),
            "at": next.map_or_else(Utc::now, |next| next.at),
        })
    }

    /// Another open ticket about the same site.
    async fn second_call(&self) -> TicketId {
        let mut other = Self::new(&self.stack, &self.tenant);
        let opened = Box::pin(other.does(Operation::CreateTicket));
        opened.await.ticket.id
    }

    /// A message of somebody whom nobody knows.
    async fn held_message(&self) -> MessageId {
        let client = self.stack.client(&self.tenant, Who::Intake);
        let id = Uuid::now_v7();
        let peer = format!("+3197{:09}", id.as_u128() % 1_000_000_000);
        let body = json!({
            "channel": "sms", "provider": "text_gateway", "provider_message_id": id.to_string(),
            "peer": peer, "text": SECRET_WORDS,
        });
        let options = CallOptions::default();
        let receipt = client
            .filing(Operation::CommsInbound, &body, &options)
            .await;
        let filed = receipt.expect("an integration may bring messages").filed;
        match filed {
            Filed::Message {
                message_id,
                routing: Routing::Held { .. },
            } => message_id,
            other => panic!("somebody knows the peer: {other:?}"),
        }
    }

    /// What the workflow would propose now.
    async fn proposal(&self) -> Value {
        let workflow = self.stack.client(&self.tenant, Who::Workflow);
        let input = workflow
            .advisor_input(self.id(), ProposalKind::Triage)
            .await
            .expect("the workflow may read what an advisor looks at");
        let advice = domain::advise(&input);
        let version = self.ticket().await.version;
        json!({
            "based_on_version": version, "applied_seq": 1, "input": input, "advice": advice,
        })
    }

    /// The breach of the ticket's first running clock.
    async fn breach(&self) -> Value {
        let ticket = self.ticket().await;
        let clock = ticket.sla.iter().find(|clock| clock.due_at().is_some());
        let clock = clock.expect("a clock runs");
        json!({
            "clock": clock.name, "kind": "breach", "revision": clock.revision,
            "effective_at": clock.due_at(), "applied_seq": 1,
        })
    }
}

/// More than the starter bundle lets anybody ask for without the account manager.
pub const HELD_CENTS: i64 = 100_000;

/// Free text that may stand in tables `notes`, `comms_contents`, `held_commands` and
/// `approval_comments` and nowhere else: a search for it finds every leak.
pub const SECRET_WORDS: &str = "Mrs Quillfeather, +31205550199, Keizersgracht 1";
