//! What the ticket workflow can ask for: names, inputs and outputs of its activities.
//!
//! The workflow knows only these definitions; the crate `activities` implements them as thin calls
//! of dispatch-api. The list is closed: [`TicketActivity`] is sealed and says which command each
//! activity sends, so a test can tell that in shadow mode none of them changes a ticket.
//!
//! An answer that is final is a *value* ([`Outcome`]), decided where the API's error code is known;
//! an activity *fails* only when trying again later can help.

use chrono::{DateTime, Utc};
use contracts::{
    CorrelationId, Operation, TenantId, TicketId, TraceContext, ids::workflow_request_id,
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
    /// The command it sends; `None` for a read.
    const SENDS: Option<Operation>;
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
                const SENDS: Option<Operation> = $sends;
            }

            impl ActivityDefinition for $marker {
                type Input = $input;
                type Output = $output;

                fn name(&self) -> &str {
                    Self::NAME
                }
            }
        )+

        /// Every activity there is, with the command it sends.
        pub const ALL: &[(&str, Option<Operation>)] =
            &[$(($marker::NAME, $marker::SENDS),)+];
    };
}

activities! {
    /// Reads the truth about the ticket.
    TakeSnapshot = "ticket_snapshot" (SnapshotCall) -> SnapshotOutcome, sends None;
    /// Reads what each advisor looks at, asks it, records what it says as a proposal.
    Advise = "advise" (AdviseCall) -> Outcome, sends Some(Operation::RecordProposal);
    /// Records an SLA warning or breach.
    RecordSla = "record_sla" (RecordSlaCall) -> Outcome, sends Some(Operation::RecordSla);
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

/// How a bookkeeping call ended, for good.
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
    /// The workflow knows more than the database: the database was set back.
    Ahead,
    /// Refused, and trying again would change nothing.
    Refused {
        /// The API's error code, or what could not be read.
        reason: String,
    },
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
    use super::*;
    use contracts::{command::CommandClass, sla::SlaRecordKind};

    #[test]
    fn in_shadow_mode_no_activity_changes_a_ticket() {
        assert_eq!(ALL.len(), 3);
        for (name, sends) in ALL {
            let bookkeeping = sends.is_none_or(|o| o.class() == CommandClass::Bookkeeping);
            assert!(bookkeeping, "{name} sends {sends:?}, which changes tickets");
        }
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
