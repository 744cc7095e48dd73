//! Why a command is refused: what is wrong, where, and how to mend it.
//!
//! Nothing in a detail or in the meta data comes from free text or from contact data, because
//! refusals are stored and audited like everything else.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use contracts::{
    ApprovalId, DelegationId, ErrorCode, Operation, Role, TemplateId, TicketState,
    approval::ApprovalState,
    problem::FieldError,
    sla::{SlaRecordKey, SlaRecordKind},
    tenant::TenantState,
    value::Slug,
};
use serde_json::{Map, Value, json};

use crate::calendar::CalendarError;

/// A refused command. Nothing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such ticket.
    NotFound,
    /// The ticket is not at the version that the caller saw.
    VersionConflict {
        /// What the caller saw.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// The command leads nowhere from here.
    IllegalTransition {
        /// The command.
        operation: Operation,
        /// Where the ticket stands.
        state: TicketState,
        /// What stands in the way.
        obstacle: Obstacle,
        /// Which commands of class `Change` lead somewhere.
        legal: Vec<Operation>,
    },
    /// A value is not valid.
    InvalidField {
        /// JSON pointer into the body.
        pointer: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The approval was decided, or withdrawn, before.
    AlreadyDecided {
        /// Which.
        approval_id: ApprovalId,
        /// Where it stands.
        state: ApprovalState,
        /// Who decided; while it is pending, who gave the caller's vote.
        by: Option<String>,
        /// When.
        at: Option<DateTime<Utc>>,
    },
    /// What the approver saw is not what would take effect.
    ApprovalStale {
        /// Which.
        approval_id: ApprovalId,
        /// Why: `amended`, `facts_changed`, `policy_stricter` …
        why: Slug,
    },
    /// Nobody decided in time.
    ApprovalExpired {
        /// Which.
        approval_id: ApprovalId,
        /// When it ended.
        at: DateTime<Utc>,
        /// Whether it was approved, and was not carried out in time.
        released: bool,
    },
    /// Somebody else works on it.
    ApprovalClaimed {
        /// Which.
        approval_id: ApprovalId,
        /// Who.
        by: String,
        /// Until when.
        until: DateTime<Utc>,
    },
    /// What is to be held is held: the same command, by the same proposer, on the same ground.
    HeldAlready {
        /// By which.
        approval_id: ApprovalId,
        /// Whether it waits for people, or to be carried out.
        state: ApprovalState,
        /// Since when.
        asked_at: DateTime<Utc>,
    },
    /// Nobody works on it.
    NotClaimed(ApprovalId),
    /// The actor asked for it, is no person, or has no role that counts.
    NotAnApprover {
        /// Which approval.
        approval_id: ApprovalId,
        /// Whoever has one of these may, and did not ask for it.
        roles: Vec<Role>,
    },
    /// Somebody else asked: what they asked for is changed by them alone.
    NotTheProposer(ApprovalId),
    /// The right was lent by somebody else.
    NotTheLender(DelegationId),
    /// It was not approved, so there is nothing to carry out.
    NotReleased(ApprovalId),
    /// The warning or breach is on record.
    AlreadyRecorded(SlaRecordKey),
    /// The clock is at a later revision: the promise was replaced.
    PromiseReplaced {
        /// Which clock.
        clock: Slug,
        /// The caller's revision.
        given: u32,
        /// The clock's revision.
        current: u32,
    },
    /// The workflow knows more than the database.
    AheadOfDatabase {
        /// What is ahead: `applied_seq`, `based_on_version` or `revision`.
        what: &'static str,
        /// The caller's number.
        given: u64,
        /// Ours.
        current: u64,
    },
    /// The kill switch stands that way already.
    SwitchStands {
        /// Which way.
        engaged: bool,
        /// Its generation.
        generation: u64,
        /// When it releases itself, while it is engaged.
        until: Option<DateTime<Utc>>,
    },
    /// The window that the customer was offered is over.
    WindowOver {
        /// When it ended.
        ended_at: DateTime<Utc>,
    },
    /// The reopen window is over.
    ReopenWindowOver {
        /// When it ended.
        ended_at: DateTime<Utc>,
    },
    /// The active bundle lacks the ticket's template, and the command cannot do without it.
    TemplateMissing(TemplateId),
    /// The tenant's office hours cannot be used to compute a deadline.
    CalendarUnusable(CalendarError),
    /// The tenant is not where the command would lead it from.
    TenantState {
        /// The command.
        operation: Operation,
        /// Where the tenant stands.
        state: TenantState,
    },
    /// The tenant lets nothing be changed.
    TenantSuspended {
        /// Where it stands.
        state: TenantState,
    },
    /// The tenant's time of grace is not over.
    GraceNotOver {
        /// When it is.
        erase_after: DateTime<Utc>,
    },
    /// Another tenant has this name, or had it.
    SlugTaken,
    /// Another key has this hash.
    KeyTaken,
    /// Another key of the tenant shows the same.
    PrefixTaken,
    /// Such an account is for whoever runs the installation.
    OfThePlatform,
    /// A fact or a part of the ticket that the program guarantees is not there: our fault.
    Broken {
        /// What is missing.
        what: &'static str,
    },
}

/// What stands in the way of a transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The state table.
    State,
    /// The template lets nobody be sent without a window at this priority.
    NoDirectDispatch,
    /// The customer is awaited already.
    CustomerAwaited,
    /// The customer is not awaited.
    CustomerNotAwaited,
    /// The clock runs no more, and what is to be recorded did not happen while it ran.
    ClockNotRunning(Slug),
}

impl Rejection {
    pub(crate) fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidField {
            pointer: pointer.into(),
            message: message.into(),
        }
    }

    /// The stable code; it fixes the HTTP status.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::NotFound,
            Self::VersionConflict { .. } => ErrorCode::VersionConflict,
            Self::IllegalTransition { .. }
            | Self::SwitchStands { .. }
            | Self::NotClaimed(_)
            | Self::TenantState { .. }
            | Self::GraceNotOver { .. }
            | Self::NotReleased(_) => ErrorCode::IllegalTransition,
            Self::TenantSuspended { .. } => ErrorCode::TenantSuspended,
            Self::SlugTaken | Self::KeyTaken | Self::PrefixTaken => ErrorCode::AlreadyExists,
            Self::OfThePlatform => ErrorCode::Forbidden,
            Self::ApprovalClaimed { .. } => ErrorCode::ApprovalClaimed,
            Self::HeldAlready { .. } => ErrorCode::AlreadyHeld,
            Self::NotAnApprover { .. } | Self::NotTheProposer(_) | Self::NotTheLender(_) => {
                ErrorCode::Forbidden
            }
            Self::InvalidField { .. } => ErrorCode::InvalidField,
            Self::AlreadyDecided { .. } | Self::AlreadyRecorded(_) => ErrorCode::AlreadyDecided,
            Self::ApprovalStale { .. } => ErrorCode::ApprovalStale,
            Self::AheadOfDatabase { .. } => ErrorCode::AheadOfDatabase,
            Self::PromiseReplaced { .. }
            | Self::ApprovalExpired { .. }
            | Self::WindowOver { .. }
            | Self::ReopenWindowOver { .. } => ErrorCode::Expired,
            Self::TemplateMissing(_) => ErrorCode::PolicyUnavailable,
            Self::CalendarUnusable(_) => ErrorCode::Unavailable,
            Self::Broken { .. } => ErrorCode::Internal,
        }
    }

    /// What is wrong here and how to mend it.
    pub fn detail(&self) -> String {
        self.to_string()
    }

    /// The wrong field, if one is.
    pub fn field(&self) -> Option<FieldError> {
        match self {
            Self::InvalidField { pointer, message } => Some(FieldError {
                pointer: pointer.clone(),
                message: message.clone(),
            }),
            _ => None,
        }
    }

    /// Facts for programs.
    pub fn meta(&self) -> Map<String, Value> {
        let facts = match self {
            Self::NotFound | Self::InvalidField { .. } | Self::Broken { .. } => json!({}),
            Self::VersionConflict { expected, actual } => {
                json!({ "expected": expected, "actual": actual })
            }
            Self::IllegalTransition {
                operation,
                state,
                obstacle,
                legal,
            } => {
                let mut facts =
                    json!({ "operation": operation, "state": state, "legal_operations": legal });
                if let Obstacle::ClockNotRunning(clock) = obstacle {
                    facts["clock"] = json!(clock);
                }
                facts
            }
            Self::AlreadyDecided {
                approval_id,
                state,
                by,
                at,
            } => json!({
                "approval_id": approval_id, "state": state, "decided_by": by, "decided_at": at,
            }),
            Self::ApprovalStale { approval_id, why } => {
                json!({ "approval_id": approval_id, "why": why })
            }
            Self::AlreadyRecorded(key) => json!(key),
            Self::PromiseReplaced {
                clock,
                given,
                current,
            } => json!({ "clock": clock, "given": given, "current": current }),
            Self::AheadOfDatabase {
                what,
                given,
                current,
            } => json!({ "what": what, "given": given, "current": current }),
            Self::ApprovalExpired {
                approval_id,
                at,
                released,
            } => json!({
                "approval_id": approval_id, "expired_at": at,
                "why": if *released { "not_carried_out" } else { "undecided" },
            }),
            Self::ApprovalClaimed {
                approval_id,
                by,
                until,
            } => json!({ "approval_id": approval_id, "claimed_by": by, "until": until }),
            Self::HeldAlready {
                approval_id,
                state,
                asked_at,
            } => json!({
                "approval_id": approval_id, "state": state, "requested_at": asked_at,
            }),
            Self::NotAnApprover { approval_id, roles } => {
                json!({ "approval_id": approval_id, "required_roles": roles })
            }
            Self::NotClaimed(approval_id)
            | Self::NotTheProposer(approval_id)
            | Self::NotReleased(approval_id) => json!({ "approval_id": approval_id }),
            Self::NotTheLender(delegation_id) => json!({ "delegation_id": delegation_id }),
            Self::SwitchStands {
                engaged,
                generation,
                until,
            } => json!({
                "engaged": engaged, "generation": generation, "expires_at": until,
            }),
            Self::WindowOver { ended_at } | Self::ReopenWindowOver { ended_at } => {
                json!({ "ended_at": ended_at })
            }
            Self::TenantState { operation, state } => json!({
                "operation": operation, "state": state, "legal_operations": leading_on(*state),
            }),
            Self::TenantSuspended { state } => json!({ "state": state }),
            Self::GraceNotOver { erase_after } => json!({ "erase_after": erase_after }),
            Self::SlugTaken | Self::KeyTaken | Self::PrefixTaken | Self::OfThePlatform => {
                json!({})
            }
            Self::TemplateMissing(template) => json!({ "template": template }),
            Self::CalendarUnusable(error) => json!({ "calendar": error.to_string() }),
        };
        match facts {
            Value::Object(facts) => facts,
            _ => Map::new(),
        }
    }
}

/// The commands that lead a tenant on from here.
fn leading_on(state: TenantState) -> &'static [Operation] {
    match state {
        TenantState::Active => &[
            Operation::ConfigureTenant,
            Operation::LimitTenant,
            Operation::SuspendTenant,
            Operation::RequestTenantDeletion,
        ],
        TenantState::Suspended => &[
            Operation::ConfigureTenant,
            Operation::LimitTenant,
            Operation::ResumeTenant,
            Operation::RequestTenantDeletion,
        ],
        TenantState::Deleting => &[Operation::CancelTenantDeletion, Operation::EraseTenant],
        TenantState::Erased => &[],
    }
}

impl std::error::Error for Rejection {}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("There is no such ticket, or it is not yours."),
            Self::VersionConflict { expected, actual } => write!(
                f,
                "You expected version {expected}, it is at version {actual}. \
                 Read it again and decide anew."
            ),
            Self::IllegalTransition {
                operation,
                state,
                obstacle,
                legal,
            } => {
                match obstacle {
                    Obstacle::State => {
                        write!(f, "`{operation}` is not possible in state {state}.")?;
                    }
                    Obstacle::NoDirectDispatch => f.write_str(
                        "The template lets nobody be sent without a confirmed window at this \
                         priority: schedule the visit first.",
                    )?,
                    Obstacle::CustomerAwaited => {
                        f.write_str("The customer is awaited already: resume first.")?;
                    }
                    Obstacle::CustomerNotAwaited => {
                        f.write_str("The customer is not awaited: there is nothing to resume.")?;
                    }
                    Obstacle::ClockNotRunning(clock) => write!(
                        f,
                        "The clock `{clock}` is paused or stopped and had not come that far."
                    )?,
                }
                write!(f, " Possible now: {}.", list(legal))
            }
            Self::InvalidField { pointer, message } => write!(f, "`{pointer}` {message}."),
            Self::AlreadyDecided {
                state: ApprovalState::Pending,
                by: Some(by),
                at: Some(at),
                ..
            } => write!(
                f,
                "You have voted already (`{by}` did so at {}); more people must agree.",
                instant(*at)
            ),
            Self::AlreadyDecided { state, by, at, .. } => {
                write!(f, "The approval is {state} already")?;
                match (by, at) {
                    // It ended after a yes, and may have been ended by somebody else.
                    (Some(by), Some(at)) if *state == ApprovalState::Withdrawn => {
                        write!(f, ", after `{by}` had decided at {}", instant(*at))?;
                    }
                    (Some(by), Some(at)) => write!(f, ": `{by}` decided at {}", instant(*at))?,
                    (None, Some(at)) => write!(f, ", since {}", instant(*at))?,
                    (_, None) => {}
                }
                f.write_str(".")
            }
            Self::ApprovalStale { why, .. } => write!(
                f,
                "What was asked for is no longer what would take effect (`{why}`): look at it \
                 again, or ask for a new approval.",
            ),
            Self::ApprovalExpired { at, released, .. } => write!(
                f,
                "{} by {}, so it is denied. Send the command again to ask anew.",
                match released {
                    true => "It was approved but could not be carried out",
                    false => "Nobody had decided it",
                },
                instant(*at)
            ),
            Self::ApprovalClaimed { by, until, .. } => write!(
                f,
                "`{by}` works on it until {}. Wait, or take it over with a reason.",
                instant(*until)
            ),
            Self::HeldAlready {
                approval_id,
                state,
                asked_at,
            } => write!(
                f,
                "You asked for the very same at {}, and it is {state}: `{approval_id}`. Wait for \
                 what becomes of that one, or withdraw it first.",
                instant(*asked_at)
            ),
            Self::NotClaimed(_) => f.write_str("Nobody works on it: there is nothing to release."),
            Self::NotAnApprover { roles, .. } => write!(
                f,
                "Neither the one who asked nor software decides an approval, or keeps others from \
                 it; another person with role {} does, or whoever stands in for one.",
                one_of(roles)
            ),
            Self::NotTheProposer(_) => f.write_str(
                "Only the one who asked amends it: reject it, and say in a comment what would pass.",
            ),
            Self::NotTheLender(_) => f.write_str(
                "Somebody else lent this right: they take it back, or an administrator does.",
            ),
            Self::NotReleased(_) => {
                f.write_str("It was not approved yet, so there is nothing to carry out.")
            }
            Self::AlreadyRecorded(SlaRecordKey {
                clock,
                kind,
                revision,
            }) => write!(
                f,
                "The {} of clock `{clock}`, revision {revision}, is on record. Nothing is left \
                 to do.",
                match kind {
                    SlaRecordKind::Warning => "warning",
                    SlaRecordKind::Breach => "breach",
                }
            ),
            Self::PromiseReplaced {
                clock,
                given,
                current,
            } => write!(
                f,
                "The clock `{clock}` is at revision {current}; revision {given} was replaced."
            ),
            Self::AheadOfDatabase {
                what,
                given,
                current,
            } => write!(
                f,
                "`{what}` is {given}, the database is at {current}: take a snapshot."
            ),
            Self::SwitchStands {
                engaged: false,
                generation,
                ..
            } => write!(
                f,
                "The kill switch is released already, since its turn {generation}."
            ),
            Self::SwitchStands {
                generation,
                until: None,
                ..
            } => write!(
                f,
                "The kill switch is engaged already, since its turn {generation}, without an end. An \
                 end is given to it by a release and a new engagement."
            ),
            Self::SwitchStands {
                generation,
                until: Some(until),
                ..
            } => write!(
                f,
                "The kill switch is engaged already, since its turn {generation}, until {}. Only a later \
                 end, or none, is taken; to let software go on before, release it.",
                instant(*until)
            ),
            Self::WindowOver { ended_at } => write!(
                f,
                "The window ended at {}. Propose another one.",
                instant(*ended_at)
            ),
            Self::ReopenWindowOver { ended_at } => write!(
                f,
                "The ticket could be reopened until {}. Open a new ticket.",
                instant(*ended_at)
            ),
            Self::TenantState { operation, state } => write!(
                f,
                "`{operation}` is not possible while the tenant is {state}. Possible now: {}.",
                list(leading_on(*state))
            ),
            Self::TenantSuspended {
                state: TenantState::Erased,
            } => f.write_str("This tenant was erased. Nothing of it can be changed any more."),
            Self::TenantSuspended { state } => write!(
                f,
                "This tenant is {state}: everything can be read, and nothing is changed. A platform \
                 administrator lets it work again; then send this again."
            ),
            Self::GraceNotOver { erase_after } => write!(
                f,
                "The tenant's time of grace is over at {}: nothing is erased before. Until then the \
                 deletion can be called off.",
                instant(*erase_after)
            ),
            Self::SlugTaken => f.write_str(
                "Another tenant has this slug, or had it before it was erased: records still name it. \
                 Choose another one.",
            ),
            Self::KeyTaken => f.write_str(
                "There is a key with this hash, here or in another tenant, or there was one. Draw \
                 another key: one is never used twice.",
            ),
            Self::PrefixTaken => f.write_str(
                "A key of this tenant has this prefix, or had it: it is what a key is known by where \
                 nobody may see the whole of it. Draw another key.",
            ),
            Self::OfThePlatform => f.write_str(
                "An account that is a workflow, acts in any tenant or has role platform_admin is made, \
                 changed and given keys by platform_admin alone.",
            ),
            Self::TemplateMissing(template) => write!(
                f,
                "The active policy bundle has no template `{template}`. Activate a bundle that \
                 has it, then try again."
            ),
            Self::CalendarUnusable(error) => write!(
                f,
                "No deadline can be computed from the tenant's office hours: {error}. Correct \
                 the tenant's settings, then try again."
            ),
            Self::Broken { what } => write!(f, "The service lost track of {what}."),
        }
    }
}

/// Roles, one of which is needed.
fn one_of(roles: &[Role]) -> String {
    let names: Vec<_> = roles.iter().map(ToString::to_string).collect();
    names.join(" or ")
}

fn list(operations: &[Operation]) -> String {
    if operations.is_empty() {
        return "no change".to_owned();
    }
    let names: Vec<_> = operations.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, slug};

    #[test]
    fn a_refusal_is_a_sentence_with_its_facts_beside_it() {
        let ended_at = at("2026-11-23T08:00:00Z");
        let approval_id = ApprovalId::from_uuid(Default::default());
        let transition = |obstacle| Rejection::IllegalTransition {
            operation: Operation::Dispatch,
            state: TicketState::Triaged,
            obstacle,
            legal: vec![Operation::Cancel],
        };
        let key = SlaRecordKey {
            clock: slug("response"),
            kind: SlaRecordKind::Breach,
            revision: 1,
        };
        let cases = [
            (Rejection::NotFound, 404, 0),
            (
                Rejection::VersionConflict {
                    expected: 1,
                    actual: 2,
                },
                409,
                2,
            ),
            (transition(Obstacle::State), 409, 3),
            (transition(Obstacle::NoDirectDispatch), 409, 3),
            (transition(Obstacle::CustomerAwaited), 409, 3),
            (transition(Obstacle::CustomerNotAwaited), 409, 3),
            (
                transition(Obstacle::ClockNotRunning(slug("response"))),
                409,
                4,
            ),
            (
                Rejection::invalid("/eta", "must not lie in the past"),
                422,
                0,
            ),
            (
                Rejection::AlreadyDecided {
                    approval_id,
                    state: ApprovalState::Withdrawn,
                    by: None,
                    at: None,
                },
                409,
                4,
            ),
            (
                Rejection::ApprovalStale {
                    approval_id,
                    why: slug("amended"),
                },
                409,
                2,
            ),
            (
                Rejection::ApprovalExpired {
                    approval_id,
                    at: ended_at,
                    released: false,
                },
                410,
                3,
            ),
            (
                Rejection::ApprovalClaimed {
                    approval_id,
                    by: "user:ann".into(),
                    until: ended_at,
                },
                409,
                3,
            ),
            (
                Rejection::HeldAlready {
                    approval_id,
                    state: ApprovalState::Pending,
                    asked_at: ended_at,
                },
                409,
                3,
            ),
            (Rejection::NotClaimed(approval_id), 409, 1),
            (
                Rejection::NotAnApprover {
                    approval_id,
                    roles: vec![Role::Approver, Role::Qa],
                },
                403,
                2,
            ),
            (Rejection::NotTheProposer(approval_id), 403, 1),
            (Rejection::NotReleased(approval_id), 409, 1),
            (
                Rejection::NotTheLender(DelegationId::from_uuid(Default::default())),
                403,
                1,
            ),
            (Rejection::AlreadyRecorded(key), 409, 3),
            (
                Rejection::PromiseReplaced {
                    clock: slug("response"),
                    given: 1,
                    current: 2,
                },
                410,
                3,
            ),
            (
                Rejection::AheadOfDatabase {
                    what: "applied_seq",
                    given: 2,
                    current: 1,
                },
                409,
                3,
            ),
            (
                Rejection::SwitchStands {
                    engaged: true,
                    generation: 1,
                    until: Some(ended_at),
                },
                409,
                3,
            ),
            (Rejection::WindowOver { ended_at }, 410, 1),
            (Rejection::ReopenWindowOver { ended_at }, 410, 1),
            (
                Rejection::TemplateMissing(TemplateId::new("glass").unwrap()),
                503,
                1,
            ),
            (
                Rejection::CalendarUnusable(CalendarError::NeverOpens),
                503,
                1,
            ),
            (Rejection::Broken { what: "a visit" }, 500, 0),
        ];
        for (rejection, status, facts) in cases {
            let detail = rejection.detail();
            assert!(detail.ends_with('.') && !detail.contains("  "), "{detail}");
            assert_eq!(rejection.code().status(), status, "{detail}");
            assert_eq!(rejection.meta().len(), facts, "{detail}");
            assert_eq!(rejection.field().is_some(), status == 422, "{detail}");
        }
    }
}
