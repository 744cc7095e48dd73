//! What the ticket workflow can ask for: names, inputs and outputs of its activities.
//!
//! The workflow knows only these definitions; the crate `activities` implements them as thin calls
//! of dispatch-api. The list is closed: [`TicketActivity`] is sealed and says which commands each
//! activity may send. Two of them can change a ticket: [`Advise`], where the call says on which
//! advice software may act (in SHADOW on none), and [`CarryOut`], of what people have released.
//! None decides an approval, and dispatch-api asks stage and kill switch again at each of them.
//!
//! An answer that is final is a *value* ([`Outcome`]), decided where the API's error code is known;
//! an activity *fails* only when trying again later can help.

use chrono::{DateTime, Utc};
use contracts::{
    ApprovalId, CorrelationId, Operation, TenantId, TicketId, TraceContext, approval::StepKind,
    autonomy::TenantControlStart, ids::workflow_request_id, kill_switch::KillState,
    proposal::ProposalKind, signal::TicketSnapshot, sla::SlaRecordKey,
};
use serde::{Deserialize, Serialize};
use temporalio_workflow::common::ActivityDefinition;
use uuid::Uuid;

mod sealed {
    pub trait Sealed {}
}

/// An activity of the ticket workflow.
pub trait TicketActivity: ActivityDefinition + sealed::Sealed {
    /// Its name in histories, for ever.
    const NAME: &'static str;
    /// The commands it may send; none for a read.
    const SENDS: &'static [Operation];
}

macro_rules! activities {
    ($($(#[$doc:meta])* $marker:ident = $name:literal ($input:ty) -> $output:ty, sends $sends:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $marker;

            impl sealed::Sealed for $marker {}

            impl TicketActivity for $marker {
                const NAME: &'static str = $name;
                const SENDS: &'static [Operation] = $sends;
            }

            impl ActivityDefinition for $marker {
                type Input = $input;
                type Output = $output;

                fn name(&self) -> &str {
                    Self::NAME
                }
            }
        )+

        /// Every activity of a ticket's workflow, with the commands it may send.
        pub const ALL: &[(&str, &[Operation])] =
            &[$(($marker::NAME, $marker::SENDS),)+];
    };
}

activities! {
    /// Reads the truth about the ticket.
    TakeSnapshot = "ticket_snapshot" (SnapshotCall) -> SnapshotOutcome, sends &[];
    /// Reads what each advisor looks at, asks it, records what it says as a proposal; and acts on
    /// it, where the call says that software may.
    Advise = "advise" (AdviseCall) -> Settled, sends &[
        Operation::RecordProposal,
        Operation::Triage,
        Operation::ProposeSchedule,
        Operation::Dispatch,
        Operation::QaVerify,
        Operation::GenerateInvoice,
    ];
    /// Records an SLA warning or breach.
    RecordSla = "record_sla" (RecordSlaCall) -> Settled, sends &[Operation::RecordSla];
    /// Reminds, escalates or ends an approval that nobody decided.
    TakeApprovalStep = "approval_step" (ApprovalStepCall) -> Settled,
        sends &[Operation::RecordApprovalStep];
    /// Carries out what people have released.
    CarryOut = "execute_approval" (CarryOutCall) -> Settled, sends &[Operation::ExecuteApproval];
}

/// Asks dispatch-api what is due for a tenant and sends it: the one activity of
/// [`TenantControl`](crate::TenantControl).
#[derive(Debug, Clone, Copy)]
pub struct ControlTenant;

impl ActivityDefinition for ControlTenant {
    type Input = TenantControlStart;
    type Output = Controlled;

    fn name(&self) -> &str {
        Self::NAME
    }
}

impl ControlTenant {
    /// Its name in histories, for ever.
    pub const NAME: &'static str = "tenant_control";
}

/// What one round of a tenant's control did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controlled {
    /// Commands that took effect, now or by an earlier round.
    pub done: u32,
    /// Commands that were refused: the operation and the code.
    #[serde(default)]
    pub refused: Vec<String>,
}

/// The event that led to a call: its conversation and its trace go along to dispatch-api.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The conversation.
    pub correlation_id: CorrelationId,
    /// The trace.
    pub trace: TraceContext,
}

/// Input of [`TakeSnapshot`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotCall {
    /// Whose ticket.
    pub tenant_id: TenantId,
    /// Which.
    pub ticket_id: TicketId,
    /// What led to it.
    #[serde(default)]
    pub cause: Option<Cause>,
}

/// Input of [`Advise`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdviseCall {
    /// Whose ticket.
    pub tenant_id: TenantId,
    /// Which.
    pub ticket_id: TicketId,
    /// About what.
    pub kinds: Vec<ProposalKind>,
    /// Warnings and breaches that somebody should be told of: an escalation for each.
    pub escalations: Vec<SlaRecordKey>,
    /// The ticket's version that advice is wanted on.
    pub version: u64,
    /// The last event that the workflow applied.
    pub applied_seq: u64,
    /// What led to it.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// Advice that software may act on by itself, in this order; the first that can be done is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub act: Vec<ProposalKind>,
    /// The turn of the kill switches that this was asked under.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kill_generation: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl AdviseCall {
    /// All that it asks for, one after the other.
    pub fn wanted(&self) -> impl Iterator<Item = Wanted<'_>> {
        let kinds = self.kinds.iter().map(|kind| Wanted::Kind(*kind));
        kinds.chain(self.escalations.iter().map(Wanted::Escalation))
    }

    /// Key of a command: one proposal per kind and version, and one escalation per clock, kind of
    /// record and revision, however often the worker dies. The advisor's input names the moment it
    /// was read, so a second life sends another body and is told so; that answer means that the
    /// first life got through.
    pub fn request_id(&self, wanted: Wanted<'_>) -> Uuid {
        let (name, revision) = match wanted {
            Wanted::Kind(kind) => (kind.to_string(), self.version),
            Wanted::Escalation(record) => (
                format!("escalation:{}:{}", record.clock, record.kind),
                record.revision.into(),
            ),
        };
        workflow_request_id(self.tenant_id, self.ticket_id, "proposal", &name, revision)
    }

    /// Key of the command that follows advice of this kind: one per version, whatever the advice.
    pub fn act_request_id(&self, kind: ProposalKind) -> Uuid {
        let (tenant, ticket) = (self.tenant_id, self.ticket_id);
        workflow_request_id(tenant, ticket, "act", &kind.to_string(), self.version)
    }
}

/// One proposal that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// About this.
    Kind(ProposalKind),
    /// About whom to tell of this warning or breach.
    Escalation(&'a SlaRecordKey),
}

/// Input of [`RecordSla`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSlaCall {
    /// Whose ticket.
    pub tenant_id: TenantId,
    /// Which.
    pub ticket_id: TicketId,
    /// What is recorded.
    pub key: SlaRecordKey,
    /// The deadline that passed, by the workflow's knowledge; clocks differ under time skipping,
    /// so dispatch-api compares this one and not its own clock.
    pub effective_at: DateTime<Utc>,
    /// The last event that the workflow applied.
    pub applied_seq: u64,
    /// What led to it.
    #[serde(default)]
    pub cause: Option<Cause>,
}

impl RecordSlaCall {
    /// Key of the command. All that its body holds is in it, so equal keys have equal bodies; that
    /// a record is made once does not hang on the key but on the record's own name.
    pub fn request_id(&self) -> Uuid {
        let name = format!(
            "{}:{}:{}@{}",
            self.key.clock,
            self.key.kind,
            self.effective_at.timestamp_micros(),
            self.applied_seq,
        );
        let revision = u64::from(self.key.revision);
        workflow_request_id(self.tenant_id, self.ticket_id, "sla", &name, revision)
    }
}

/// Input of [`TakeApprovalStep`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalStepCall {
    /// Whose ticket.
    pub tenant_id: TenantId,
    /// Which.
    pub ticket_id: TicketId,
    /// The approval.
    pub approval_id: ApprovalId,
    /// Its version.
    pub version: u32,
    /// What is due.
    pub step: StepKind,
    /// The moment that the plan names for it.
    pub at: DateTime<Utc>,
    /// The last event that the workflow applied.
    pub applied_seq: u64,
    /// What led to it.
    #[serde(default)]
    pub cause: Option<Cause>,
}

impl ApprovalStepCall {
    /// Key of the command. All that its body holds is in it, so equal keys have equal bodies; that
    /// a step is taken once follows from the plan, which loses it.
    pub fn request_id(&self) -> Uuid {
        let name = format!(
            "{}:{}:{}@{}",
            self.approval_id,
            self.step,
            self.at.timestamp_micros(),
            self.applied_seq,
        );
        let (tenant, ticket) = (self.tenant_id, self.ticket_id);
        workflow_request_id(tenant, ticket, "approval_step", &name, self.version.into())
    }
}

/// Input of [`CarryOut`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarryOutCall {
    /// Whose ticket.
    pub tenant_id: TenantId,
    /// Which.
    pub ticket_id: TicketId,
    /// The approval.
    pub approval_id: ApprovalId,
    /// The version that was approved.
    pub version: u32,
    /// What it releases; for people who read the history.
    pub operation: Operation,
    /// The last event that the workflow applied.
    pub applied_seq: u64,
    /// The turn of the kill switches that this was asked under.
    pub kill_generation: u64,
    /// Advice that software might act on then: a sign of the stages it was asked under.
    #[serde(default)]
    pub acts_on: Vec<ProposalKind>,
    /// The ticket's version that this was asked at: a sign of what about the ticket lets software act.
    #[serde(default)]
    pub ticket_version: u64,
    /// What led to it.
    #[serde(default)]
    pub cause: Option<Cause>,
}

impl CarryOutCall {
    /// Key of the command: an approved version is carried out once, however often it is asked for.
    pub fn request_id(&self) -> Uuid {
        let (tenant, ticket) = (self.tenant_id, self.ticket_id);
        let approval = self.approval_id.to_string();
        workflow_request_id(tenant, ticket, "approval", &approval, self.version.into())
    }
}

/// How a call that writes ended, for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is on record, by this call or an earlier one.
    Recorded,
    /// The ticket has moved on, there is nothing to record; the newer event is on its way.
    Moot {
        /// The API's error code.
        reason: String,
    },
    /// A kill switch or the stage stands against it. What of it needs neither is on record; the
    /// rest is tried again when these have changed.
    Held {
        /// The API's error code.
        reason: String,
    },
    /// The workflow knows more than the database: the database was set back.
    Ahead,
    /// Refused, and trying again would change nothing.
    Refused {
        /// The API's error code, or what could not be read.
        reason: String,
    },
}

/// An [`Outcome`], with how the kill switches stood at the last answer that the call got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How they stood; `None` where no command was answered, and in earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<KillState>,
}

/// How reading the truth ended, for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum SnapshotOutcome {
    /// Here it is.
    Found {
        /// The truth.
        snapshot: Box<TicketSnapshot>,
    },
    /// There is no such ticket.
    Gone,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use contracts::{command::CommandClass, sla::SlaRecordKind};
    use strum::VariantArray;

    /// What each activity may send is what the stage lets software do by itself, and the books.
    #[test]
    fn only_advice_that_is_followed_and_released_commands_change_a_ticket() {
        let followed = ProposalKind::VARIANTS
            .iter()
            .filter_map(|kind| domain::autonomy::operation_of(*kind))
            .collect::<BTreeSet<_>>();
        let names: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
        let all = [
            "ticket_snapshot",
            "advise",
            "record_sla",
            "approval_step",
            "execute_approval",
        ];
        assert_eq!(names, all);
        for (name, sends) in ALL {
            assert!(!sends.contains(&Operation::DecideApproval), "{name}");
            let changes = sends.iter().filter(|o| o.class() == CommandClass::Change);
            let changes: BTreeSet<_> = changes.copied().collect();
            match *name {
                "advise" => assert_eq!(changes, followed),
                _ => assert_eq!(changes, BTreeSet::new(), "{name}"),
            }
        }
    }

    #[test]
    fn an_approved_version_and_an_act_have_one_key_each() {
        let call = CarryOutCall {
            tenant_id: TenantId::from_uuid(Uuid::from_u128(1)),
            ticket_id: TicketId::from_uuid(Uuid::from_u128(2)),
            approval_id: ApprovalId::from_uuid(Uuid::from_u128(3)),
            version: 1,
            operation: Operation::Dispatch,
            applied_seq: 4,
            kill_generation: 5,
            acts_on: Vec::new(),
            ticket_version: 3,
            cause: None,
        };
        let later = CarryOutCall {
            applied_seq: 9,
            kill_generation: 9,
            ticket_version: 9,
            ..call.clone()
        };
        assert_eq!(call.request_id(), later.request_id());
        let amended = CarryOutCall {
            version: 2,
            ..call.clone()
        };
        assert_ne!(call.request_id(), amended.request_id());

        let advise = |version| AdviseCall {
            tenant_id: call.tenant_id,
            ticket_id: call.ticket_id,
            kinds: Vec::new(),
            escalations: Vec::new(),
            version,
            applied_seq: version,
            cause: None,
            act: vec![ProposalKind::Slot],
            kill_generation: 0,
        };
        let key = |version| advise(version).act_request_id(ProposalKind::Slot);
        assert_eq!(key(1), key(1));
        assert_ne!(key(1), key(2));
        let proposal = advise(1).request_id(Wanted::Kind(ProposalKind::Slot));
        assert_ne!(key(1), proposal);
    }

    #[test]
    fn an_outcome_is_read_with_and_without_what_it_says_of_the_kill_switches() {
        let read = |text: &str| serde_json::from_str::<Settled>(text).unwrap();
        let old = read(r#"{"outcome":"recorded"}"#);
        assert_eq!((old.outcome, old.kill), (Outcome::Recorded, None));
        let settled = Settled {
            outcome: Outcome::Held {
                reason: "KILL_SWITCH".into(),
            },
            kill: Some("generation=3; stopped=all".parse().unwrap()),
        };
        let text = serde_json::to_string(&settled).unwrap();
        assert_eq!(read(&text), settled);
        // What an older worker makes of it.
        let old: Outcome = serde_json::from_str(&text).unwrap();
        assert_eq!(old, settled.outcome);
        let recorded = Settled {
            outcome: Outcome::Recorded,
            ..settled
        };
        let text = serde_json::to_string(&recorded).unwrap();
        assert_eq!(read(&text), recorded);
        let old: Outcome = serde_json::from_str(&text).unwrap();
        assert_eq!(old, Outcome::Recorded);
    }

    #[test]
    fn equal_sla_keys_mean_equal_bodies() {
        let call = RecordSlaCall {
            tenant_id: TenantId::from_uuid(Uuid::from_u128(1)),
            ticket_id: TicketId::from_uuid(Uuid::from_u128(2)),
            key: SlaRecordKey {
                clock: "response".parse().unwrap(),
                kind: SlaRecordKind::Breach,
                revision: 1,
            },
            effective_at: DateTime::UNIX_EPOCH,
            applied_seq: 3,
            cause: None,
        };
        let mut other = call.clone();
        assert_eq!(call.request_id(), other.request_id());
        other.effective_at += chrono::TimeDelta::microseconds(1);
        assert_ne!(call.request_id(), other.request_id());
        other = RecordSlaCall {
            applied_seq: 4,
            ..call.clone()
        };
        assert_ne!(call.request_id(), other.request_id());
        other = call.clone();
        other.key.kind = SlaRecordKind::Warning;
        assert_ne!(call.request_id(), other.request_id());
    }
}
