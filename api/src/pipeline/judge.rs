//! Puts key, ticket, policy and domain in their order and says what becomes of the attempt.
//!
//! The first that objects answers: a key used for something else; a ticket that is not there (it
//! beats a missing right, or a right would tell who has which tickets); the policy; the domain.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use contracts::{
    ActorKind, ApiPermission, Command, ErrorCode, Operation, ReadPermission, Role, Slug,
    TemplateId, TicketId,
    approval::{Approval, ApprovalKind, ApprovalState},
    command::CommandClass,
    filing::Filed,
    kill_switch::KillScope,
    policy::{PolicyDecision, PolicyResult, Reason},
    problem::FieldError,
    schedule::TenantSettings,
    template::IncidentTemplate,
    tenant::TenantState,
    ticket::Ticket,
};
use domain::{
    Autonomy, Decided, Effect, Facts, Filing, FilingFacts, Rejection, Route, TenantFacts,
    TicketKey,
    approval::{Amended, ApprovalFacts},
    comms::Peace,
    filing::ControlFacts,
};
use policy::{Bundle, Held, primary_code};
use serde_json::{Map, Value};
use store::command::{FilingRow, LockedTicket, OpenFacts, Stored};
use strum::VariantArray;

use super::{
    Call, Minted,
    held::{About, Hold, approval_for, sha256, text},
    in_scope,
    input::report_of,
    intent::{Intent, body},
};
use crate::identity::lacks;

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
    /// The approval that the command is about.
    pub about: Option<&'a About>,
    /// What policy says to the command that the approval holds.
    pub inner: Option<&'a PolicyDecision>,
    /// That command's body, masked.
    pub inner_payload: Option<&'a Value>,
    /// What policy says to a change order that another bundle let be asked for, at its last yes.
    pub anew: Option<&'a PolicyDecision>,
    /// Whether a person overrides a kill switch that stops it.
    pub overrides: bool,
    /// Stages and kill switches as they stand.
    pub autonomy: &'a Autonomy,
    /// The bundle that an upload brought, or that is to be activated.
    pub brought: Option<Brought>,
}

/// A checked bundle, or why it cannot decide; none when there is no such bundle.
pub(super) type Brought = Result<Option<Arc<Bundle>>, String>;

/// What becomes of the attempt.
pub(super) enum Outcome {
    /// Of a ticket.
    Accepted(Box<Decided>),
    /// Of something else.
    Filed(Box<Filing>),
    /// Of a ticket, held until people decide.
    Held(Box<Decided>),
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
            Self::Accepted(decided) | Self::Held(decided) => Some(decided),
            Self::Filed(_) | Self::Refused(_) => None,
        }
    }

    pub(super) fn filed(&self) -> Option<&Filing> {
        match self {
            Self::Filed(filing) => Some(filing),
            Self::Accepted(_) | Self::Held(_) | Self::Refused(_) => None,
        }
    }

    /// What is held: the approval that was asked for.
    pub(super) fn held(&self) -> Option<&Approval> {
        let effects = match self {
            Self::Held(decided) => &decided.effects,
            Self::Filed(filing) if matches!(filing.filed, Filed::Held { .. }) => &filing.effects,
            _ => return None,
        };
        effects.iter().find_map(|effect| match effect {
            Effect::OpenApproval(approval) => Some(&**approval),
            _ => None,
        })
    }

    /// Whether this yes was the last one for what its transaction carries out, or finds void.
    pub(super) fn releases(&self, command: &Command) -> bool {
        let over = [ApprovalState::Executed, ApprovalState::Stale];
        matches!(command, Command::DecideApproval(_))
            && self.filed().is_some_and(|filing| {
                matches!(&filing.filed, Filed::ApprovalChanged { state, .. } if over.contains(state))
            })
    }

    pub(super) fn refused(&self) -> Option<&Refusal> {
        match self {
            Self::Accepted(_) | Self::Held(_) | Self::Filed(_) => None,
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
        let class = call.command.operation().class();
        let beside = class != CommandClass::Change;
        let by_workflow = call.actor.kind == ActorKind::Workflow && beside;
        // What the workflow may not do now it may do when the switch or the stage is another.
        let for_now = call.actor.kind == ActorKind::Workflow
            && matches!(refusal.code, ErrorCode::KillSwitch | ErrorCode::Stage);
        let passing = matches!(
            refusal.code,
            ErrorCode::IdempotencyMismatch
                | ErrorCode::AheadOfDatabase
                | ErrorCode::TenantSuspended
                | ErrorCode::OutOfScope
        ) || for_now;
        !by_workflow && !passing && refusal.code.status() < 500
    }
}

pub(super) fn judge(situation: Situation<'_>) -> Outcome {
    match refusal(&situation) {
        Some(refusal) => Outcome::Refused(refusal),
        None => decide(situation).unwrap_or_else(|refusal| Outcome::Refused(*refusal)),
    }
}

fn refusal(situation: &Situation<'_>) -> Option<Refusal> {
    if !in_scope(situation.call) {
        return Some(out_of_scope(situation.call));
    }
    // Before what was asked under the same request id, which is nobody's to know there any more.
    if let Some(refusal) = stopped(situation, |state| state == TenantState::Erased) {
        return Some(refusal);
    }
    if let Some(stored) = situation.mismatch {
        return Some(mismatch(situation.call, situation.intent, stored));
    }
    if situation.target.is_some() && situation.ticket.is_none() {
        return Some(Refusal::from(Rejection::NotFound));
    }
    // A switch over a ticket that is not there would seem to stop something.
    if let Command::EngageKillSwitch(body) = &situation.call.command
        && matches!(body.scope, KillScope::Ticket { .. })
        && let Some(row) = &situation.facts.filing
        && row.scope_seen == Some(false)
    {
        return Some(Refusal::from(Rejection::NotFound));
    }
    // An approval that is not there; one of another ticket than the path names is found out there.
    if situation.call.command.approval_id().is_some() && situation.about.is_none() {
        return Some(Refusal::from(Rejection::NotFound));
    }
    // Another tenant, or none: who may act on it was placed there.
    let meant = situation.call.command.tenant_id();
    if meant.is_some_and(|tenant| tenant != situation.call.actor.tenant_id) {
        return Some(no_such_tenant());
    }
    if let Some(refusal) = stopped(situation, |_| true) {
        return Some(refusal);
    }
    if let Some(refusal) = not_offered(situation) {
        return Some(refusal);
    }
    match situation.decision.result {
        PolicyResult::Allow | PolicyResult::RequireApproval => unusable(situation),
        PolicyResult::Deny => Some(Refusal {
            meta: lacking(situation.call, situation.decision),
            ..denied(situation.decision)
        }),
    }
}

/// What the tenant does not admit where it stands, if it stands at one of these.
fn stopped(situation: &Situation<'_>, at: impl Fn(TenantState) -> bool) -> Option<Refusal> {
    let state = situation.facts.tenant.as_ref()?.state;
    let stops = at(state) && !state.admits(situation.call.command.operation());
    stops.then(|| Refusal::from(Rejection::TenantSuspended { state }))
}

/// A bundle that was brought and cannot decide. What an approval releases is judged with it.
fn unusable(situation: &Situation<'_>) -> Option<Refusal> {
    let pointer = match situation.call.command {
        Command::UploadBundle(_) => "/archive",
        Command::ActivateBundle(_) => "/sha256",
        _ => return None,
    };
    let reason = situation.brought.as_ref()?.as_ref().err()?;
    Some(Refusal {
        code: ErrorCode::InvalidBundle,
        detail: format!("{reason}. `dispatch policy check` finds the same before it is sent."),
        errors: vec![FieldError {
            pointer: pointer.into(),
            message: reason.clone(),
        }],
        reasons: Vec::new(),
        meta: Map::new(),
    })
}

/// A template that the tenant does not offer. Jobs that have it already go on with it.
fn not_offered(situation: &Situation<'_>) -> Option<Refusal> {
    let offered = situation.facts.tenant.as_ref()?.templates.as_ref()?;
    let named = match &situation.call.command {
        Command::CreateTicket(body) => Some(&body.template),
        Command::Triage(body) => body.template.as_ref(),
        Command::CommsInbound(body) => body.template.as_ref(),
        _ => None,
    };
    named.filter(|named| !offered.contains(named))?;
    let names: Vec<_> = offered.iter().map(ToString::to_string).collect();
    Some(Refusal::from(Rejection::InvalidField {
        pointer: "/template".into(),
        message: format!("must be a template of this tenant: {}", names.join(", ")),
    }))
}

/// The key that it was sent with is for other things.
fn out_of_scope(call: &Call) -> Refusal {
    let permission = ApiPermission::Command(call.command.operation());
    let named = ("permission".to_owned(), permission.to_string().into());
    Refusal {
        code: ErrorCode::OutOfScope,
        detail: lacks(permission),
        errors: Vec::new(),
        reasons: Vec::new(),
        meta: Map::from_iter([named]),
    }
}

/// More than the bundle gives: a role that means nothing for an account of this kind, a scope that the
/// account has no right to.
fn beyond(situation: &Situation<'_>) -> Option<Refusal> {
    let bundle = situation.bundle;
    let wrong = |pointer: &str, message: String| {
        Some(Refusal::from(Rejection::InvalidField {
            pointer: pointer.into(),
            message,
        }))
    };
    match &situation.call.command {
        Command::UpsertServiceAccount(body) => {
            let kind = body.kind;
            let nothing = body
                .roles
                .iter()
                .find(|role| !gives(bundle, kind, **role))?;
            let message = format!(
                "has `{nothing}`, which gives an account of kind `{kind}` nothing under the active bundle"
            );
            wrong("/roles", message)
        }
        Command::IssueApiKey(body) => {
            let account = situation.facts.filing.as_ref()?.account()?;
            let includes = |scope: &&ApiPermission| {
                let holders = bundle.holders(**scope);
                holders.include(account.kind, &account.roles)
            };
            let lacking = body.scopes.iter().find(|scope| !includes(scope))?;
            let message = format!("has `{lacking}`, which the account may not do itself");
            wrong("/scopes", message)
        }
        _ => None,
    }
}

/// Whether the bundle gives callers of this kind anything for this role.
fn gives(bundle: &Bundle, kind: ActorKind, role: Role) -> bool {
    let commands = Operation::VARIANTS.iter().copied();
    let reads = ReadPermission::VARIANTS.iter().copied();
    let mut all = commands
        .map(ApiPermission::Command)
        .chain(reads.map(ApiPermission::Read));
    all.any(|permission| {
        let held = bundle.holders(permission).of(kind);
        matches!(held, Some(Held::Roles(roles)) if roles.contains(&role))
    })
}

fn no_such_tenant() -> Refusal {
    Refusal {
        detail: "There is no such tenant, or it is not yours.".into(),
        ..Refusal::from(Rejection::NotFound)
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

/// What the starter's rules, and those made of them, say of a caller whom the roles table does not name.
const NOT_PERMITTED: &str = "NOT_PERMITTED";

/// The permission that the caller lacks, if that is why.
fn lacking(call: &Call, decision: &PolicyDecision) -> Map<String, Value> {
    let mut reasons = decision.reasons.iter();
    let lacks = reasons.any(|reason| reason.code == NOT_PERMITTED);
    let permission = ApiPermission::Command(call.command.operation());
    let named = lacks.then(|| ("permission".to_owned(), permission.to_string().into()));
    named.into_iter().collect()
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

type Judged = Result<Outcome, Box<Refusal>>;

impl From<Rejection> for Box<Refusal> {
    fn from(rejection: Rejection) -> Self {
        if rejection.code() == ErrorCode::Internal {
            tracing::error!(%rejection, "a guaranteed fact is missing");
        }
        Box::new(rejection.into())
    }
}

/// Whether the command is about something other than a ticket: a filing, unless it is a message
/// that has one or opens one; or an approval that has none.
fn is_filing(situation: &Situation<'_>) -> bool {
    let without_ticket = |about: &About| about.ticket_id().is_none();
    match situation.call.command.operation().class() {
        CommandClass::Filing => !matches!(
            situation.route,
            Some(Route::Attach { .. } | Route::Open { .. })
        ),
        CommandClass::Waiting | CommandClass::Bookkeeping => {
            situation.about.is_some_and(without_ticket)
        }
        CommandClass::Change => false,
    }
}

fn file(mut situation: Situation<'_>) -> Judged {
    let facts = filing_facts(&mut situation);
    let call = situation.call;
    if let Some(hold) = held(&situation, None) {
        // What could not be carried out is refused now: nobody should be asked about it.
        domain::filing::decide(&call.command, &facts)?;
        let mut approval = hold?;
        approval.facts_sha256 = Some(domain::filing::ground(&call.command, &facts)?);
        let filing = domain::filing::hold(&call.command, approval, &facts)?;
        return Ok(Outcome::Filed(Box::new(filing)));
    }
    let inner = situation.about.and_then(|about| about.carries_out(call));
    let filing = match inner {
        Some(inner) if matches!(call.command, Command::DecideApproval(_)) => {
            let carried_out = carry_out(&situation, inner, &facts);
            domain::filing::release(&call.command, carried_out?, &facts)?
        }
        _ => domain::filing::decide(&call.command, &facts)?,
    };
    match beyond(&situation) {
        Some(refusal) => Err(Box::new(refusal)),
        None => Ok(Outcome::Filed(Box::new(filing))),
    }
}

/// What the last yes sets going, or why it cannot be any more. Our own fault is no reason: the yes is
/// refused then, and may be said again.
fn carry_out(
    situation: &Situation<'_>,
    inner: &Command,
    facts: &FilingFacts,
) -> Result<Result<Filing, Slug>, Rejection> {
    let gone = |reason: &str| Ok(Err(word(reason)));
    let approval = facts.approval.as_ref();
    let about = situation
        .about
        .filter(|about| approval.is_some_and(|approval| about.is_intact(approval)));
    let Some(about) = about else {
        return gone("request_changed");
    };
    match situation.inner {
        Some(decision) if decision.result == PolicyResult::Allow => {}
        Some(decision) => return Ok(Err(about.void_by(decision))),
        None => return gone("policy_stricter"),
    }
    if matches!(situation.brought, Some(Err(_))) {
        return gone("invalid_bundle");
    }
    let asked_on = approval.and_then(|approval| approval.facts_sha256.as_ref());
    if Some(&domain::filing::ground(inner, facts)?) != asked_on {
        return gone("facts_changed");
    }
    let facts = FilingFacts {
        expected_version: None,
        ..facts.clone()
    };
    let mut filing = match domain::filing::decide(inner, &facts) {
        Ok(filing) => filing,
        Err(rejection) if rejection.code().status() >= 500 => return Err(rejection),
        Err(rejection) => return gone(&rejection.code().to_string().to_lowercase()),
    };
    filing.operation = Some(inner.operation());
    filing.row = Some(filing.row.unwrap_or_else(|| body(inner)));
    Ok(Ok(filing))
}

fn word(text: &str) -> Slug {
    Slug::new(text).expect("codes and these words are lowercase letters and underscores")
}

fn filing_facts(situation: &mut Situation<'_>) -> FilingFacts {
    let Situation {
        call,
        at,
        ids,
        facts,
        bundle,
        route,
        autonomy,
        about,
        brought,
        ..
    } = situation;
    let at = *at;
    let row = facts.filing.as_ref();
    let scope = |command: &Command| match command {
        Command::EngageKillSwitch(body) => Some(body.scope.key()),
        Command::ReleaseKillSwitch(body) => Some(body.scope.key()),
        _ => None,
    };
    let inner = about.and_then(About::inner);
    let scope = scope(&call.command).or_else(|| scope(inner?));
    let never_seen = row.is_some_and(|row| row.scope_seen == Some(false));
    let known_switch = facts
        .switches
        .iter()
        .find(|switch| Some(&switch.scope) == scope.as_ref());
    FilingFacts {
        now: at,
        fresh: ids.fresh,
        message: ids.rows.message,
        expected_version: call.expected_version,
        known: row.and_then(FilingRow::known),
        site_known: row.is_none_or(|row| row.site_known),
        contact_known: facts.contact_known,
        absences: row.map(|row| row.absences.clone()).unwrap_or_default(),
        kill_switch: domain::KillSwitch {
            engaged: known_switch.is_some_and(|switch| switch.stops(at)),
            generation: known_switch.map_or(0, |switch| switch.generation),
            never_seen,
        },
        comms: bundle.comms().clone(),
        route: route.take(),
        who: who(call, at, ids, facts),
        approval: facts.approval.clone(),
        asked_before: std::mem::take(&mut facts.asked_before),
        autonomy: (*autonomy).clone(),
        control: ControlFacts {
            report: facts
                .control
                .report
                .as_ref()
                .map(|report| report_of(report, at)),
            bundle: match brought {
                Some(Ok(Some(brought))) => Some(brought.reference().clone()),
                _ => facts.control.bundle.clone(),
            },
            signed_by: match brought {
                Some(Ok(Some(brought))) => brought.signer().map(ToOwned::to_owned),
                _ => None,
            },
            active_bundle: Some(bundle.reference().sha256.clone()),
            delegation: facts
                .control
                .delegation
                .as_ref()
                .map(|row| (row.from.clone(), row.revoked)),
            ledger: facts.control.ledger.take(),
            change: facts.control.change.take(),
            turned: std::mem::take(&mut facts.control.turned),
        },
        tenant: facts.tenant.as_ref().map(|tenant| TenantFacts {
            id: call.actor.tenant_id,
            slug: tenant.slug.clone(),
            state: tenant.state,
            version: tenant.version,
            erase_after: tenant.erase_after,
        }),
        account: row.and_then(FilingRow::account),
        taken: call.taken,
    }
}

/// Who acts, for what is about an approval.
pub(super) fn who(
    call: &Call,
    at: DateTime<Utc>,
    ids: &Minted,
    facts: &OpenFacts,
) -> ApprovalFacts {
    ApprovalFacts {
        now: at,
        actor_id: call.actor.id.clone(),
        actor_kind: call.actor.kind,
        actor_roles: call.actor.roles.iter().copied().collect(),
        lent: facts.lent.clone(),
        command_id: ids.command,
        comment: ids.rows.comment,
        amended: None,
    }
}

/// The approval that holds the command, when policy wants it held.
fn held(
    situation: &Situation<'_>,
    ticket: Option<&Ticket>,
) -> Option<Result<Approval, Box<Refusal>>> {
    if situation.decision.result != PolicyResult::RequireApproval {
        return None;
    }
    let approval = situation.decision.approval.as_ref().and_then(|need| {
        approval_for(&Hold {
            call: situation.call,
            at: situation.at,
            ids: situation.ids,
            payload: &situation.intent.payload,
            need,
            ticket,
        })
    });
    Some(match approval {
        Some(approval) => approval.map_err(Into::into),
        // Nobody can be asked about such a command: what needs an approval is refused.
        None => Err(Box::new(Refusal {
            code: ErrorCode::PolicyDenied,
            ..denied(situation.decision)
        })),
    })
}

fn decide(mut situation: Situation<'_>) -> Judged {
    if is_filing(&situation) {
        return file(situation);
    }
    let amended = amended(&situation)?;
    let key = TicketKey {
        tenant_id: situation.call.actor.tenant_id,
        ticket_id: situation.ids.ticket,
    };
    let before = situation.ticket.map(|locked| &locked.ticket);
    let hold = held(&situation, before).transpose()?;
    let facts = facts(&mut situation, before, amended);
    let call = situation.call;
    let inner = situation.about.and_then(|about| about.carries_out(call));
    let decided = match (before, inner, hold) {
        (Some(ticket), None, Some(approval)) => {
            let decided = domain::ticket::hold(key, ticket, &call.command, approval, &facts)?;
            return Ok(Outcome::Held(Box::new(decided)));
        }
        (Some(ticket), Some(inner), _) => execute(&situation, key, ticket, inner, &facts)?,
        (ticket, ..) => domain::decide(key, ticket, &call.command, &facts)?,
    };
    Ok(Outcome::Accepted(Box::new(decided)))
}

/// What became of an override that was not looked at: `Pipeline::inner` leaves it out then.
const FOR_THE_PLATFORM: &str = " The kill switch over everything is engaged: overriding it takes the \
                                role `platform_admin`.";

/// Carries out what was released. What only stands in the way for now (a kill switch, a stage) is
/// refused and tried again; what will not pass any more makes the approval stale.
fn execute(
    situation: &Situation<'_>,
    key: TicketKey,
    ticket: &Ticket,
    inner: &Command,
    facts: &Facts,
) -> Result<Decided, Box<Refusal>> {
    let Command::ExecuteApproval(body) = &situation.call.command else {
        return Err(Rejection::Broken {
            what: "the command that carries this out",
        }
        .into());
    };
    if situation
        .ticket
        .is_some_and(|locked| body.applied_seq > locked.event_seq)
    {
        return Err(Rejection::AheadOfDatabase {
            what: "applied_seq",
            given: body.applied_seq,
            current: situation.ticket.map_or(0, |locked| locked.event_seq),
        }
        .into());
    }
    let approval = facts.approval.as_ref().ok_or(Rejection::NotFound)?;
    if body.version != approval.version {
        return Err(Rejection::ApprovalStale {
            approval_id: approval.id,
            why: word("amended"),
        }
        .into());
    }
    let decision = situation.inner.ok_or(Rejection::Broken {
        what: "the decision on what is carried out",
    })?;
    let intact = situation
        .about
        .is_some_and(|about| about.is_intact(approval));
    let passing = matches!(
        primary_code(decision),
        ErrorCode::KillSwitch | ErrorCode::Stage
    );
    // Kept for a later switch it would let pass what nobody has looked at then.
    let overrides_nothing = body.override_kill_switch.is_some()
        && !situation.overrides
        && approval.state == ApprovalState::Approved;
    let verdict = match decision.result {
        _ if !intact => Err(word("request_changed")),
        PolicyResult::Deny if passing => {
            let mut refusal = denied(decision);
            let is_person = !situation.call.actor.kind.is_autonomous();
            if refusal.code == ErrorCode::KillSwitch && overrides_nothing && is_person {
                refusal.detail.push_str(FOR_THE_PLATFORM);
            }
            return Err(Box::new(refusal));
        }
        _ if overrides_nothing => {
            return Err(Rejection::InvalidField {
                pointer: "/override_kill_switch".into(),
                message: "overrides nothing, because no kill switch is engaged that stops this: \
                          leave it out"
                    .into(),
            }
            .into());
        }
        PolicyResult::Allow => Ok(body.override_kill_switch.clone()),
        PolicyResult::Deny | PolicyResult::RequireApproval => {
            let void_by = situation.about.map(|about| about.void_by(decision));
            Err(void_by.unwrap_or_else(|| word("policy_stricter")))
        }
    };
    Ok(domain::ticket::execute(
        key, ticket, inner, approval, verdict, facts,
    )?)
}

/// What an amendment asks for, when policy was asked about it.
fn amended(situation: &Situation<'_>) -> Result<Option<Amended>, Box<Refusal>> {
    let Command::AmendApproval(_) = situation.call.command else {
        return Ok(None);
    };
    let wrong = |message: &str| {
        Err(Box::from(Rejection::InvalidField {
            pointer: "/body".into(),
            message: message.into(),
        }))
    };
    let Some(inner) = situation.about.and_then(About::inner) else {
        let approval = situation.facts.approval.as_ref();
        return wrong(match approval.map(|approval| approval.kind) {
            Some(ApprovalKind::ChangeOrder) => {
                "cannot change a change order: withdraw it and ask for another"
            }
            _ => {
                "must be a whole body of the command that the approval holds, as its `command.body` is"
            }
        });
    };
    let Some(decision) = situation.inner else {
        return wrong("cannot be judged");
    };
    let ticket = situation.ticket.map(|locked| &locked.ticket);
    let need = match (decision.result, &decision.approval) {
        (PolicyResult::RequireApproval, Some(need)) => need.clone(),
        (PolicyResult::Deny, _) => return Err(Box::new(denied(decision))),
        _ => {
            return wrong(
                "needs no approval as it is now: withdraw this approval and send the command",
            );
        }
    };
    let operation = inner.operation();
    let facts_sha256 = ticket
        .map(|ticket| domain::approval::facts_sha256(operation, ticket))
        .transpose()?;
    Ok(Some(Amended {
        request: situation.inner_payload.cloned().unwrap_or_default(),
        request_sha256: sha256(&text(inner, ticket.map(|ticket| ticket.id))),
        facts_sha256,
        need,
        decision_id: situation.ids.beside,
    }))
}

fn facts(
    situation: &mut Situation<'_>,
    ticket: Option<&Ticket>,
    amended: Option<Amended>,
) -> Facts {
    let carried_out = situation
        .about
        .filter(|about| about.carries_out(situation.call).is_some());
    // What is carried out is the proposer's: their visits, their right to it.
    let proposer = carried_out.map(About::proposer);
    let inner = carried_out.and_then(About::inner);
    let Situation {
        call,
        at,
        ids,
        facts,
        settings,
        bundle,
        route,
        anew,
        ..
    } = situation;
    let command = inner.unwrap_or(&call.command);
    let who = proposer.as_ref();
    Facts {
        now: *at,
        ids: ids.rows,
        actor_id: who.map_or(&call.actor.id, |who| &who.id).clone(),
        actor_kind: who.map_or(call.actor.kind, |who| who.kind),
        actor_roles: who
            .map_or(&call.actor.roles, |who| &who.roles)
            .iter()
            .copied()
            .collect(),
        command_id: ids.command,
        template: template(command, ticket, bundle).cloned(),
        calendar: settings.calendar.clone(),
        site_known: facts.site_known,
        asset_known: facts.asset_known,
        contact_known: facts.contact_known,
        technician_known: facts.technician_known,
        approval: facts.approval.take(),
        asked_before: std::mem::take(&mut facts.asked_before),
        merge_target: facts.merge_target,
        invoice_number: facts.numbers.invoice_number(),
        credit_note_number: facts.numbers.credit_note_number(),
        open_proposals: facts.open_proposals(),
        sla_recorded: std::mem::take(&mut facts.sla_recorded),
        route: route.take(),
        message_held: facts.message_held,
        contact_reachable: facts.contact_reachable,
        peace: peace(command, ticket, settings, bundle),
        comms: bundle.comms().clone(),
        lent: facts.lent.clone(),
        amended,
        change_need: bundle.change_order_need(),
        change_anew: anew.map(|decision| decision.result),
        event_seq: situation.ticket.map_or(0, |locked| locked.event_seq),
        expected_version: call.expected_version,
    }
}

/// When the bundle's data leave customers in peace by what the command does, on a job of this kind.
fn peace(
    command: &Command,
    ticket: Option<&Ticket>,
    settings: &TenantSettings,
    bundle: &Bundle,
) -> Option<Peace> {
    let template = ticket.map(|ticket| &ticket.template);
    let peace = bundle.peace()?;
    let binds = peace.binds(command.operation(), template);
    binds.then(|| Peace {
        hours: settings.quiet_hours.unwrap_or_else(|| peace.hours()),
        on_days_off: peace.on_days_off(),
    })
}

/// The template that the body names, else the ticket's.
pub(super) fn template<'a>(
    command: &Command,
    ticket: Option<&Ticket>,
    bundle: &'a Bundle,
) -> Option<&'a IncidentTemplate> {
    let named: Option<&TemplateId> = match command {
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
            ErrorCode::TenantSuspended,
            ErrorCode::OutOfScope,
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
        assert!(refused(ErrorCode::Forbidden).is_stored(&cancel(ActorKind::Workflow)));
        for code in [ErrorCode::Stage, ErrorCode::KillSwitch] {
            assert!(
                !refused(code).is_stored(&cancel(ActorKind::Workflow)),
                "{code}"
            );
            assert!(refused(code).is_stored(&cancel(ActorKind::Agent)), "{code}");
        }
        let text = FreeText::new("x").unwrap();
        let note = sample(ActorKind::Agent, AddNote { text });
        assert!(refused(ErrorCode::Forbidden).is_stored(&note));
    }
}
