//! Puts key, ticket, policy and domain in their order and says what becomes of the attempt.
//!
//! The first that objects answers: a key used for something else; a ticket that is not there (it
//! beats a missing right, or a right would tell who has which tickets); the policy; the domain.

use chrono::{DateTime, Utc};
use contracts::{
    ActorKind, Command, ErrorCode, TemplateId, TicketId,
    command::CommandClass,
    policy::{PolicyDecision, PolicyResult, Reason},
    problem::FieldError,
    schedule::TenantSettings,
    template::IncidentTemplate,
    ticket::Ticket,
};
use domain::{Decided, Facts, Filing, FilingFacts, Rejection, Route, TicketKey};
use policy::{Bundle, primary_code};
use serde_json::{Map, Value};
use store::command::{FilingRow, LockedTicket, OpenFacts, Stored};

use super::{Call, Minted, intent::Intent};

/// Everything that the outcome depends on.
pub(super) struct Situation<'a> {
    pub call: &'a Call,
    pub at: DateTime<Utc>,
    pub ids: &'a Minted,
    pub intent: &'a Intent,
    pub mismatch: Option<&'a Stored>,
    pub ticket: Option<&'a LockedTicket>,
    pub facts: &'a mut OpenFacts,
    pub settings: TenantSettings,
    pub bundle: &'a Bundle,
    pub decision: &'a PolicyDecision,
    /// The ticket that is meant.
    pub target: Option<TicketId>,
    /// Where an inbound message belongs.
    pub route: Option<Route>,
}

/// What becomes of the attempt.
pub(super) enum Outcome {
    /// Of a ticket.
    Accepted(Box<Decided>),
    /// Of something else.
    Filed(Box<Filing>),
    Refused(Refusal),
}

/// Why not.
pub(super) struct Refusal {
    pub code: ErrorCode,
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub reasons: Vec<Reason>,
    pub meta: Map<String, Value>,
}

impl Outcome {
    pub(super) fn accepted(&self) -> Option<&Decided> {
        match self {
            Self::Accepted(decided) => Some(decided),
            Self::Filed(_) | Self::Refused(_) => None,
        }
    }

    pub(super) fn filed(&self) -> Option<&Filing> {
        match self {
            Self::Filed(filing) => Some(filing),
            Self::Accepted(_) | Self::Refused(_) => None,
        }
    }

    pub(super) fn refused(&self) -> Option<&Refusal> {
        match self {
            Self::Accepted(_) | Self::Filed(_) => None,
            Self::Refused(refusal) => Some(refusal),
        }
    }

    /// Whether a repetition gets this answer, or a new attempt.
    ///
    /// A mismatch leaves the key to the request that has it. A workflow's key names what must be on
    /// record in the end, and a refusal put nothing on record: kept, it would bar the way once the
    /// reason is gone (the database was set back, the clock was paused). Nor do our own faults last.
    pub(super) fn is_stored(&self, call: &Call) -> bool {
        let Some(refusal) = self.refused() else {
            return true;
        };
        let bookkeeping = call.command.operation().class() == CommandClass::Bookkeeping;
        let by_workflow = call.actor.kind == ActorKind::Workflow && bookkeeping;
        let passing = matches!(
            refusal.code,
            ErrorCode::IdempotencyMismatch | ErrorCode::AheadOfDatabase
        );
        !by_workflow && !passing && refusal.code.status() < 500
    }
}

pub(super) fn judge(situation: Situation<'_>) -> Outcome {
    match refusal(&situation) {
        Some(refusal) => Outcome::Refused(refusal),
        None => decide(situation),
    }
}

fn refusal(situation: &Situation<'_>) -> Option<Refusal> {
    if let Some(stored) = situation.mismatch {
        return Some(mismatch(situation.call, situation.intent, stored));
    }
    if situation.target.is_some() && situation.ticket.is_none() {
        return Some(Refusal::from(Rejection::NotFound));
    }
    match situation.decision.result {
        PolicyResult::Allow => None,
        PolicyResult::Deny => Some(denied(situation.decision)),
        // Nobody can release a held command yet: what needs an approval is refused.
        PolicyResult::RequireApproval => Some(Refusal {
            code: ErrorCode::PolicyDenied,
            ..denied(situation.decision)
        }),
    }
}

fn mismatch(call: &Call, intent: &Intent, stored: &Stored) -> Refusal {
    let operation = call.command.operation();
    let mut meta = Map::new();
    meta.insert("operation".into(), operation.to_string().into());
    meta.insert("request_id".into(), call.request_id.clone().into());
    meta.insert(
        "expected_sha256".into(),
        hex::encode(&stored.intent_sha256).into(),
    );
    meta.insert("got_sha256".into(), hex::encode(intent.sha256).into());
    meta.insert(
        "first_command_id".into(),
        stored.command_id.to_string().into(),
    );
    meta.insert("first_status".into(), stored.status.into());
    Refusal {
        code: ErrorCode::IdempotencyMismatch,
        detail: format!(
            "The request id was used for another `{operation}`. Repeat that one unchanged, or send \
             this one with a request id of its own."
        ),
        errors: Vec::new(),
        reasons: Vec::new(),
        meta,
    }
}

fn denied(decision: &PolicyDecision) -> Refusal {
    let sentences: Vec<_> = decision
        .reasons
        .iter()
        .map(|reason| reason.message.as_str())
        .collect();
    Refusal {
        code: primary_code(decision),
        detail: sentences.join(" "),
        errors: decision
            .reasons
            .iter()
            .filter_map(|reason| {
                Some(FieldError {
                    pointer: reason.pointer.clone()?,
                    message: reason.to_pass.clone(),
                })
            })
            .collect(),
        reasons: decision.reasons.clone(),
        meta: Map::new(),
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self {
            code: rejection.code(),
            detail: rejection.detail(),
            errors: rejection.field().into_iter().collect(),
            reasons: Vec::new(),
            meta: rejection.meta(),
        }
    }
}

/// Whether the command is about something other than a ticket: a filing, unless it is a message
/// that has one or opens one.
fn is_filing(call: &Call, route: Option<&Route>) -> bool {
    call.command.operation().class() == CommandClass::Filing
        && !matches!(route, Some(Route::Attach { .. } | Route::Open { .. }))
}

fn file(situation: Situation<'_>) -> Outcome {
    let Situation {
        call,
        at,
        ids,
        facts,
        bundle,
        route,
        ..
    } = situation;
    let row = facts.filing.as_ref();
    let filing_facts = FilingFacts {
        now: at,
        fresh: ids.fresh,
        message: ids.rows.message,
        expected_version: call.expected_version,
        known: row.and_then(FilingRow::known),
        site_known: row.is_none_or(|row| row.site_known),
        contact_known: facts.contact_known,
        absences: row.map(|row| row.absences.clone()).unwrap_or_default(),
        kill_switch: row.map(FilingRow::kill_switch).unwrap_or_default(),
        comms: bundle.comms().clone(),
        route,
    };
    match domain::filing::decide(&call.command, &filing_facts) {
        Ok(filing) => Outcome::Filed(Box::new(filing)),
        Err(rejection) => Outcome::Refused(rejection.into()),
    }
}

fn decide(situation: Situation<'_>) -> Outcome {
    if is_filing(situation.call, situation.route.as_ref()) {
        return file(situation);
    }
    let Situation {
        call,
        at,
        ids,
        ticket,
        facts,
        settings,
        bundle,
        route,
        ..
    } = situation;
    let key = TicketKey {
        tenant_id: call.actor.tenant_id,
        ticket_id: ids.ticket,
    };
    let event_seq = ticket.map_or(0, |locked| locked.event_seq);
    let ticket = ticket.map(|locked| &locked.ticket);
    let facts = Facts {
        now: at,
        ids: ids.rows,
        actor_id: call.actor.id.clone(),
        actor_kind: call.actor.kind,
        actor_roles: call.actor.roles.iter().copied().collect(),
        command_id: ids.command,
        template: template(call, ticket, bundle).cloned(),
        calendar: settings.calendar,
        site_known: facts.site_known,
        asset_known: facts.asset_known,
        contact_known: facts.contact_known,
        technician_known: facts.technician_known,
        approval: facts.approval.take(),
        merge_target: facts.merge_target,
        invoice_number: facts.numbers.invoice_number(),
        credit_note_number: facts.numbers.credit_note_number(),
        open_proposals: facts.open_proposals(),
        sla_recorded: std::mem::take(&mut facts.sla_recorded),
        route,
        message_held: facts.message_held,
        contact_reachable: facts.contact_reachable,
        comms: bundle.comms().clone(),
        event_seq,
        expected_version: call.expected_version,
    };
    match domain::decide(key, ticket, &call.command, &facts) {
        Ok(decided) => Outcome::Accepted(Box::new(decided)),
        Err(rejection) => {
            if rejection.code() == ErrorCode::Internal {
                tracing::error!(command_id = %ids.command, %rejection, "a guaranteed fact is missing");
            }
            Outcome::Refused(rejection.into())
        }
    }
}

/// The template that the body names, else the ticket's.
pub(super) fn template<'a>(
    call: &Call,
    ticket: Option<&Ticket>,
    bundle: &'a Bundle,
) -> Option<&'a IncidentTemplate> {
    let named: Option<&TemplateId> = match &call.command {
        Command::CreateTicket(body) => Some(&body.template),
        Command::Triage(body) => body.template.as_ref(),
        Command::CommsInbound(body) if ticket.is_none() => {
            let intake = &bundle.comms().intake_template;
            Some(body.template.as_ref().unwrap_or(intake))
        }
        _ => None,
    };
    bundle.template(named.or_else(|| ticket.map(|ticket| &ticket.template))?)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use contracts::{
        FreeText, Slug,
        command::{AddNote, Cancel, RecordSla},
        sla::SlaRecordKind,
    };

    use super::{super::call::sample, *};

    fn cancel(kind: ActorKind) -> Call {
        let reason = Slug::new("duplicate").unwrap();
        sample(kind, Cancel { reason })
    }

    fn breach(kind: ActorKind) -> Call {
        sample(
            kind,
            RecordSla {
                clock: Slug::new("response").unwrap(),
                kind: SlaRecordKind::Breach,
                revision: 1,
                effective_at: DateTime::UNIX_EPOCH,
                applied_seq: 1,
            },
        )
    }

    fn refused(code: ErrorCode) -> Outcome {
        Outcome::Refused(Refusal {
            code,
            detail: String::new(),
            errors: Vec::new(),
            reasons: Vec::new(),
            meta: Map::new(),
        })
    }

    #[test]
    fn a_refusal_is_stored_and_a_passing_trouble_is_not() {
        let call = cancel(ActorKind::Person);
        for code in [
            ErrorCode::Forbidden,
            ErrorCode::PolicyDenied,
            ErrorCode::NotFound,
            ErrorCode::IllegalTransition,
            ErrorCode::VersionConflict,
            ErrorCode::InvalidField,
            ErrorCode::Expired,
        ] {
            assert!(refused(code).is_stored(&call), "{code}");
        }
        for code in [
            ErrorCode::IdempotencyMismatch,
            ErrorCode::AheadOfDatabase,
            ErrorCode::Internal,
            ErrorCode::PolicyUnavailable,
        ] {
            assert!(!refused(code).is_stored(&call), "{code}");
        }
    }

    #[test]
    fn a_workflow_may_try_its_bookkeeping_again_but_not_what_is_forbidden() {
        let illegal = refused(ErrorCode::IllegalTransition);
        assert!(!illegal.is_stored(&breach(ActorKind::Workflow)));
        assert!(illegal.is_stored(&breach(ActorKind::Person)));
        assert!(refused(ErrorCode::Stage).is_stored(&cancel(ActorKind::Workflow)));
        let text = FreeText::new("x").unwrap();
        let note = sample(ActorKind::Agent, AddNote { text });
        assert!(refused(ErrorCode::Forbidden).is_stored(&note));
    }
}
