//! What goes into the pipeline and what comes out.

use chrono::{DateTime, Utc};
use contracts::{
    Actor, Command, CommandId, CorrelationId, DecisionId, TenantId, TicketId, TraceContext,
    kill_switch::KillState,
};

use crate::identity::Scopes;

/// One authenticated, parsed attempt to change something.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who.
    pub actor: Actor,
    /// What the credential is good for, of what they may do.
    pub scopes: Scopes,
    /// Key of the request: 1 to 128 visible ASCII characters.
    pub request_id: String,
    /// The conversation.
    pub correlation_id: CorrelationId,
    /// The trace, as seen from this request's span.
    pub trace: TraceContext,
    /// The tool an agent used.
    pub tool_name: Option<String>,
    /// The SHA-256 of the list that it came in, in hex. It stands in the audit row, which so tells what else
    /// was asked for under the same request id.
    pub of_list: Option<String>,
    /// The tenant of the actor, where that is not the one in whose records the command is: a person
    /// of the platform acts on a tenant.
    pub home: Option<TenantId>,
    /// Something of the installation has what the new thing was to have alone: an earlier try found out.
    pub taken: bool,
    /// No answer of before is told: an earlier try found that the tenant was erased.
    pub untold: bool,
    /// The ticket of the path; `None` for a creation.
    pub ticket_id: Option<TicketId>,
    /// The version that the caller saw.
    pub expected_version: Option<u64>,
    /// Only say what would happen.
    pub dry_run: bool,
    /// The moment of the attempt: the only clock of the decision.
    pub received_at: DateTime<Utc>,
    /// What is asked for.
    pub command: Command,
}

/// The answer: written as it is to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `application/json` or `application/problem+json`.
    pub content_type: &'static str,
    /// The body, byte for byte what was stored.
    pub body: String,
    /// The recorded attempt; absent when none was.
    pub command_id: Option<CommandId>,
    /// The recorded decision; absent when none was.
    pub decision_id: Option<DecisionId>,
    /// Whether this is the stored answer of an earlier attempt.
    pub replayed: bool,
    /// Whether the same request is told the same from now on.
    pub kept: bool,
    /// To software: how the kill switches stand.
    pub kill: Option<KillState>,
    /// When to try again.
    pub retry_after_seconds: Option<u32>,
}

/// A call of somebody, for the tests of this module.
#[cfg(test)]
pub(super) fn sample(kind: contracts::ActorKind, command: impl Into<Command>) -> Call {
    use uuid::Uuid;

    Call {
        actor: Actor {
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            id: "a".into(),
            kind,
            roles: std::collections::BTreeSet::new(),
            technician_id: None,
        },
        scopes: Scopes::ALL,
        request_id: "r".into(),
        correlation_id: CorrelationId::new("c").expect("one visible character"),
        trace: TraceContext::root([1; 24]),
        tool_name: None,
        of_list: None,
        home: None,
        taken: false,
        untold: false,
        ticket_id: Some(TicketId::from_uuid(Uuid::nil())),
        expected_version: None,
        dry_run: false,
        received_at: DateTime::UNIX_EPOCH,
        command: command.into(),
    }
}
