//! Approvals, rebuilt from what the chains tell of them and compared with their rows.
//!
//! An approval of a ticket is told of by the ticket's events; one without by the filings on its own
//! chain, which name where it stands and leave the rest to the attempt's body. What an amendment asks
//! for stands in the decision that its attempt names. What no chain tells (the demands of a change order)
//! is not compared; the words of a held command cannot be read here, so its hash is held against the
//! approval's.
//!
//! Who released something is looked at anew: each word was given while one was still to be given, by
//! somebody whom the policy had asked for, and never by the one who asked; with a last yes there were
//! enough people, none of them twice, be it through somebody who stood in for them; and what the policy
//! was told when it let pass what they had released is what they had said. So are the facts that it was
//! approved on: they are those of the ticket from which it was carried out.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use contracts::{
    ActorKind, ApprovalId, DecisionId, Operation, Role, Slug, TenantId, TicketId,
    approval::{
        Approval, ApprovalKind, ApprovalNeed, ApprovalState, ApprovalStep, Claim, Demand, OnExpiry,
        StepKind, Verdict, Vote,
    },
    canonical::canonical_sha256,
    command::HeldReceipt,
    event::{TicketChange, TicketEvent},
    filing::Filed,
    ticket::Ticket,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{Findings, Invariant, MOST_PER_CHECK};
use crate::{Error, audit::AuditRow};

/// An attempt with what was decided about it.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub place: &'a str,
    pub row: &'a AuditRow,
    /// `contracts::policy::PolicyDecision`
    pub decision: Option<&'a Value>,
    /// The canonical input of it.
    pub input: Option<&'a str>,
    /// The decision on what an approval is about, and its input, where one was made besides.
    pub named: Option<(&'a Value, &'a str)>,
}

type Key = (TenantId, ApprovalId);

/// What the chains told so far.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    told: BTreeMap<Key, Told>,
}

/// An approval as far as it was told.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub approval: Approval,
    command_id: Uuid,
    decided_command_id: Option<Uuid>,
    /// Columns that no chain tells.
    unknown: BTreeSet<&'static str>,
    /// For each vote what else counts: the sort of actor, and what others had lent to them.
    voters: Vec<(String, Vec<Loan>)>,
    /// Of before version 0.3: its row was not kept in full.
    pub before_0_3: bool,
}

#[derive(Debug, Clone, serde::Deserialize)]
struct Loan {
    from: String,
    roles: BTreeSet<Role>,
}

impl Approvals {
    /// An approval that was told of.
    pub(super) fn get_mut(&mut self, tenant: TenantId, id: ApprovalId) -> Option<&mut Told> {
        self.told.get_mut(&(tenant, id))
    }

    /// Takes what an accepted attempt changed of a ticket; `before` is the ticket before it.
    pub(super) fn changed(
        &mut self,
        attempt: Attempt<'_>,
        changes: &[TicketChange],
        before: Option<&Ticket>,
        found: &mut Findings,
    ) {
        let about = |change: &&TicketChange| is_about_approval(&change.event);
        let mut about = changes.iter().filter(about).peekable();
        if about.peek().is_none() {
            return;
        }
        let asked = attempt.asked();
        self.learn_roles(attempt.row, &asked);
        for change in about {
            self.event(attempt, &asked, &change.event, before, found);
        }
    }

    /// What an approval's demands come to stands in the questions that policy was asked about it.
    fn learn_roles(&mut self, row: &AuditRow, asked: &Value) {
        let Some(id) = read::<ApprovalId>(&asked["approval"]["id"]) else {
            return;
        };
        if let Some(told) = self.get_mut(row.tenant_id, id)
            && told.unknown.contains("required_roles")
            && let Some(roles) = read(&asked["approval"]["required_roles"])
        {
            told.approval.required_roles = roles;
            told.unknown.remove("required_roles");
        }
    }

    fn event(
        &mut self,
        attempt: Attempt<'_>,
        asked: &Value,
        event: &TicketEvent,
        before: Option<&Ticket>,
        found: &mut Findings,
    ) {
        let row = attempt.row;
        let key = |id: &ApprovalId| (row.tenant_id, *id);
        match event {
            TicketEvent::ChangeRequested {
                approval_id,
                scope,
                price_delta_cents,
                ..
            } => {
                let request = json!({ "scope": scope, "price_delta_cents": price_delta_cents });
                let told = Told::change_order(row, asked, *approval_id, request);
                self.told.insert(key(approval_id), told);
            }
            TicketEvent::ApprovalRequested {
                approval_id,
                kind,
                operation,
                facts_sha256,
                steps,
                ..
            } => {
                let told = self
                    .told
                    .entry(key(approval_id))
                    .or_insert_with(|| Told::held(attempt, asked, *approval_id, *operation));
                told.before_0_3 = false;
                told.approval.kind = *kind;
                told.approval.decision_id = Some(row.decision_id);
                told.approval.facts_sha256.clone_from(facts_sha256);
                told.plan(steps.clone());
            }
            TicketEvent::Cancelled { .. } => {
                let open = before.and_then(|ticket| ticket.open_change.as_ref());
                let open = open.and_then(|open| self.told.get_mut(&key(&open.approval_id)));
                if let Some(told) = open.filter(|told| told.before_0_3) {
                    told.approval.state = ApprovalState::Withdrawn;
                    told.decided_command_id = Some(row.command_id.as_uuid());
                }
            }
            event => {
                if let Some(id) = approval_of(event)
                    && let Some(told) = self.told.get_mut(&key(&id))
                {
                    told.approval.revision += 1;
                    told.event(attempt, asked, event, before, found);
                }
            }
        }
    }

    /// Takes what an accepted attempt without a ticket led to.
    pub(super) fn filed(&mut self, attempt: Attempt<'_>, filed: &Filed, found: &mut Findings) {
        let row = attempt.row;
        match filed {
            Filed::Held {
                approval_id,
                operation,
                facts_sha256,
                ends_at,
            } => {
                let asked = attempt.asked();
                let mut told = Told::held(attempt, &asked, *approval_id, *operation);
                told.approval.facts_sha256.clone_from(facts_sha256);
                if let Some(end) = ends_at {
                    told.put_off(*end);
                }
                self.told.insert((row.tenant_id, *approval_id), told);
            }
            Filed::ApprovalChanged {
                approval_id,
                state,
                executed,
            } => {
                let Some(told) = self.told.get_mut(&(row.tenant_id, *approval_id)) else {
                    let what = "something became of an approval that nobody had asked for";
                    found.add(Invariant::I2, attempt.place, what);
                    return;
                };
                if executed.is_none() && row.applied_to_version != told.approval.revision {
                    let what = "it was not applied to the version that was there";
                    found.add(Invariant::I3, attempt.place, what);
                }
                told.approval.revision += 1;
                told.filed(attempt, *state, found);
            }
            _ => {}
        }
    }
}

impl Attempt<'_> {
    fn asked(&self) -> Value {
        parsed(self.input)
    }

    /// What the policy was asked about what the approval is about.
    fn asked_besides(&self) -> Value {
        parsed(self.named.map(|(_, input)| input))
    }

    fn need(&self) -> Option<ApprovalNeed> {
        read(&self.decision?["approval"])
    }
}

fn parsed(input: Option<&str>) -> Value {
    let input = input.and_then(|input| serde_json::from_str(input).ok());
    input.unwrap_or_default()
}

fn shares(wanted: &[Role], given: &[Role]) -> bool {
    wanted.iter().any(|role| given.contains(role))
}

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}

fn word(value: &Value) -> Option<Slug> {
    read::<Option<Slug>>(value).flatten()
}

fn is_about_approval(event: &TicketEvent) -> bool {
    approval_of(event).is_some() || matches!(event, TicketEvent::Cancelled { .. })
}

/// The approval that an event tells of.
pub(super) fn approval_of(event: &TicketEvent) -> Option<ApprovalId> {
    use TicketEvent as E;
    match event {
        E::ChangeRequested { approval_id, .. }
        | E::ChangeDecided { approval_id, .. }
        | E::ApprovalRequested { approval_id, .. }
        | E::ApprovalVoted { approval_id, .. }
        | E::ApprovalDecided { approval_id, .. }
        | E::ApprovalAmended { approval_id, .. }
        | E::ApprovalWithdrawn { approval_id, .. }
        | E::ApprovalStale { approval_id, .. }
        | E::ApprovalStepTaken { approval_id, .. }
        | E::ApprovalDueChanged { approval_id, .. }
        | E::ApprovalExpired { approval_id }
        | E::ApprovalExecuted { approval_id, .. }
        | E::ApprovalClaimed { approval_id, .. }
        | E::ApprovalReleased { approval_id }
        | E::ApprovalCommented { approval_id, .. } => Some(*approval_id),
        _ => None,
    }
}

impl Told {
    fn change_order(row: &AuditRow, asked: &Value, id: ApprovalId, request: Value) -> Self {
        let mut told = Self::asked_for(row, asked, id, Operation::RequestChange);
        told.approval.kind = ApprovalKind::ChangeOrder;
        told.approval.request_sha256 = sha256(&request);
        told.approval.request = request;
        // Whom the bundle asks about change orders stands in no decision.
        told.unknown = BTreeSet::from(["demands", "required_roles", "on_expiry"]);
        told.before_0_3 = true;
        told
    }

    fn held(attempt: Attempt<'_>, asked: &Value, id: ApprovalId, operation: Operation) -> Self {
        let row = attempt.row;
        let mut told = Self::asked_for(row, asked, id, operation);
        told.approval.kind = ApprovalKind::of_held(operation).unwrap_or(ApprovalKind::HeldCommand);
        told.approval.request = row.payload.clone();
        told.approval.decision_id = Some(row.decision_id);
        told.unknown = BTreeSet::from(["request_sha256"]);
        match attempt.need() {
            Some(need) => {
                told.plan(domain::approval::steps(&need.plan, row.at));
                told.needs(need);
            }
            None => told.unknown.extend(NEEDED),
        }
        told
    }

    fn asked_for(row: &AuditRow, asked: &Value, id: ApprovalId, operation: Operation) -> Self {
        // What an approval carries out is its proposer's, not the one's who carries it out.
        let actor = &asked["actor"];
        let requested_by = read(&actor["id"]).unwrap_or_else(|| row.actor_id.clone());
        let kind = read(&actor["kind"]).or_else(|| row.actor_kind.parse().ok());
        Self {
            approval: Approval {
                id,
                ticket_id: row.ticket_id,
                kind: ApprovalKind::HeldCommand,
                state: ApprovalState::Pending,
                operation,
                requested_by,
                requested_by_kind: kind.unwrap_or(ActorKind::Person),
                required_roles: Vec::new(),
                demands: Vec::new(),
                votes: Vec::new(),
                version: 1,
                revision: 0,
                request_sha256: String::new(),
                request: Value::Null,
                facts_sha256: None,
                requested_at: row.at,
                expires_at: None,
                on_expiry: OnExpiry::Deny,
                steps: Vec::new(),
                claim: None,
                decision_id: None,
                decided_by: None,
                decided_at: None,
                reason: None,
                executed_command_id: None,
            },
            command_id: row.command_id.as_uuid(),
            decided_command_id: None,
            unknown: BTreeSet::new(),
            voters: Vec::new(),
            before_0_3: false,
        }
    }

    fn needs(&mut self, need: ApprovalNeed) {
        self.approval.required_roles = roles_of(&need.demands);
        self.approval.on_expiry = need.plan.on_expiry;
        self.approval.demands = need.demands;
    }

    fn plan(&mut self, steps: Vec<ApprovalStep>) {
        self.approval.expires_at = steps.last().map(|step| step.at);
        self.approval.steps = steps;
    }

    fn event(
        &mut self,
        attempt: Attempt<'_>,
        asked: &Value,
        event: &TicketEvent,
        before: Option<&Ticket>,
        found: &mut Findings,
    ) {
        let row = attempt.row;
        let body = &row.payload;
        match event {
            TicketEvent::ApprovalVoted { verdict, .. } => {
                self.vote(attempt, asked, *verdict, found);
            }
            TicketEvent::ApprovalDecided {
                verdict, reason, ..
            } => {
                self.vote(attempt, asked, *verdict, found);
                self.decide(attempt, *verdict, reason.clone(), found);
            }
            TicketEvent::ChangeDecided {
                verdict,
                void,
                reason,
                ..
            } => match row.operation.parse() {
                Ok(Operation::WithdrawApproval) => {
                    self.end(row, ApprovalState::Withdrawn, row.at, word(&body["reason"]));
                }
                Ok(Operation::RecordApprovalStep) => {
                    let at = read(&body["at"]).unwrap_or(row.at);
                    self.end(row, ApprovalState::Expired, at, None);
                }
                _ => {
                    // The yes was the last one, and nothing came of it.
                    let said = match void {
                        true => Verdict::Approve,
                        false => *verdict,
                    };
                    self.vote(attempt, asked, said, found);
                    self.decide(attempt, said, reason.clone(), found);
                    self.approval.steps.clear();
                    if *void {
                        self.approval.state = ApprovalState::Stale;
                    }
                }
            },
            TicketEvent::ApprovalAmended {
                version,
                facts_sha256,
                steps,
                ..
            } => {
                self.amended(attempt, *version);
                self.approval.facts_sha256.clone_from(facts_sha256);
                self.plan(steps.clone());
                self.unknown.remove("steps");
                self.unknown.remove("expires_at");
            }
            TicketEvent::ApprovalWithdrawn { reason, .. } => {
                self.end(row, ApprovalState::Withdrawn, row.at, Some(reason.clone()));
            }
            TicketEvent::ApprovalStale { reason, .. } => {
                self.end(row, ApprovalState::Stale, row.at, Some(reason.clone()));
            }
            TicketEvent::ApprovalStepTaken { roles, steps, .. } => {
                self.admit(roles);
                self.plan(steps.clone());
            }
            TicketEvent::ApprovalDueChanged { steps, .. } => self.plan(steps.clone()),
            TicketEvent::ApprovalExpired { .. } => {
                let at = read(&body["at"]).unwrap_or(row.at);
                self.end(row, ApprovalState::Expired, at, None);
            }
            TicketEvent::ApprovalExecuted { .. } => {
                self.executed(attempt, asked, event, found);
                self.stands_on_its_facts(attempt, before, found);
            }
            TicketEvent::ApprovalClaimed { until, .. } => {
                self.approval.claim = Some(Claim {
                    by: row.actor_id.clone(),
                    until: *until,
                });
            }
            TicketEvent::ApprovalReleased { .. } => self.approval.claim = None,
            _ => {}
        }
    }

    /// What became of one that has no ticket.
    fn filed(&mut self, attempt: Attempt<'_>, state: ApprovalState, found: &mut Findings) {
        let row = attempt.row;
        let body = &row.payload;
        match row.operation.parse() {
            Ok(Operation::DecideApproval) => {
                let verdict = read(&body["verdict"]).unwrap_or(Verdict::Reject);
                self.vote(attempt, &attempt.asked(), verdict, found);
                if state == ApprovalState::Pending && verdict == Verdict::Approve {
                    return;
                }
                self.decide(attempt, verdict, word(&body["reason"]), found);
                let carried_out = state == ApprovalState::Executed;
                let unlike = attempt.named.is_some()
                    && !self.is_release(&attempt.asked_besides()["release"]);
                if carried_out && (verdict == Verdict::Reject || unlike) {
                    found.add(Invariant::I5, attempt.place, NOT_RELEASED);
                }
                if verdict == Verdict::Approve {
                    // Carried out, or void, in the same transaction.
                    self.approval.state = state;
                }
                self.approval.steps.clear();
                match state {
                    ApprovalState::Executed => {
                        self.approval.executed_command_id = Some(row.command_id);
                    }
                    ApprovalState::Stale => {
                        self.unknown.insert("reason");
                    }
                    _ => {}
                }
            }
            Ok(Operation::ClaimApproval | Operation::TakeOverApproval) => {
                let minutes = body["minutes"].as_i64().unwrap_or_default();
                self.approval.claim = Some(Claim {
                    by: row.actor_id.clone(),
                    until: row.at + TimeDelta::minutes(minutes),
                });
            }
            Ok(Operation::ReleaseApproval) => self.approval.claim = None,
            Ok(Operation::AmendApproval) => {
                self.amended(attempt, self.approval.version + 1);
                self.unknown.extend(["steps", "expires_at"]);
            }
            Ok(Operation::WithdrawApproval) => {
                self.end(row, ApprovalState::Withdrawn, row.at, word(&body["reason"]));
            }
            Ok(Operation::ChangeApprovalDue) => {
                if let Some(end) = read::<DateTime<Utc>>(&body["expires_at"]) {
                    self.put_off(end.round_subsecs(6));
                }
            }
            Ok(Operation::RecordApprovalStep) => match state {
                ApprovalState::Expired => {
                    let at = read(&body["at"]).unwrap_or(row.at);
                    self.end(row, state, at, None);
                }
                _ => self.step(),
            },
            _ => {}
        }
        if self.approval.state != state {
            let what = "an approval that is told to stand elsewhere than what was done leads to";
            found.add(Invariant::I3, attempt.place, what);
        }
    }

    fn vote(
        &mut self,
        attempt: Attempt<'_>,
        asked: &Value,
        verdict: Verdict,
        found: &mut Findings,
    ) {
        let row = attempt.row;
        let vote = Vote {
            actor_id: row.actor_id.clone(),
            roles: read(&row.actor_roles).unwrap_or_default(),
            verdict,
            at: row.at,
            reason: word(&row.payload["reason"]),
            on_behalf_of: None,
            command_id: row.command_id,
        };
        let voter = (
            row.actor_kind.clone(),
            read(&asked["lent"]).unwrap_or_default(),
        );
        if self.is_over(row.at) {
            let what = "a word on an approval about which nothing was to be said any more";
            found.add(Invariant::I5, attempt.place, what);
        }
        if !self.may_say(&vote, &voter) {
            let what = "a word on an approval by somebody who had none";
            found.add(Invariant::I5, attempt.place, what);
        }
        self.approval.votes.push(vote);
        self.approval.claim = None;
        self.voters.push(voter);
    }

    /// Whether it was decided before that moment, or had come to its end.
    fn is_over(&self, at: DateTime<Utc>) -> bool {
        self.approval.state != ApprovalState::Pending || self.has_ended(at)
    }

    fn has_ended(&self, at: DateTime<Utc>) -> bool {
        let end = self.approval.expires_at.filter(|end| *end <= at);
        end.is_some() && !self.unknown.contains("expires_at")
    }

    /// Whether somebody has a word on it: a person who did not ask, has said nothing yet, and has one of
    /// the roles that are asked for, or was lent one.
    fn may_say(&self, vote: &Vote, (kind, lent): &(String, Vec<Loan>)) -> bool {
        // What was decided then is looked at where it was given, not what was not.
        if self.before_0_3 && vote.verdict == Verdict::Reject {
            return true;
        }
        let approval = &self.approval;
        let wanted = match approval.demands.is_empty() || self.unknown.contains("demands") {
            false => Some(roles_of(&approval.demands)),
            true if self.unknown.contains("required_roles") => None,
            true => Some(approval.required_roles.clone()),
        };
        let counts = |roles: &[Role]| wanted.as_ref().is_none_or(|wanted| shares(wanted, roles));
        let by_loan = |loan: &Loan| loan.from != approval.requested_by && counts(&loan.roles());
        kind.parse() == Ok(ActorKind::Person)
            && vote.actor_id != approval.requested_by
            && approval
                .votes
                .iter()
                .all(|said| said.actor_id != vote.actor_id)
            && (counts(&vote.roles) || lent.iter().any(by_loan))
    }

    fn decide(
        &mut self,
        attempt: Attempt<'_>,
        verdict: Verdict,
        reason: Option<Slug>,
        found: &mut Findings,
    ) {
        let row = attempt.row;
        self.decided_command_id = Some(row.command_id.as_uuid());
        self.approval.decided_by = Some(row.actor_id.clone());
        self.approval.decided_at = Some(row.at);
        self.approval.reason = reason;
        match verdict {
            Verdict::Reject => {
                self.approval.state = ApprovalState::Rejected;
                self.approval.steps.clear();
            }
            Verdict::Approve => {
                self.approval.state = ApprovalState::Approved;
                let steps = &mut self.approval.steps;
                steps.retain(|step| step.step == StepKind::Expiry);
                if !self.is_released() {
                    let what = "an approval counts as given without the people whom it asks for";
                    found.add(Invariant::I5, attempt.place, what);
                }
            }
        }
    }

    /// Whether those who said yes are enough: distinct people of the roles that were asked for, and
    /// not the one who asked.
    fn is_released(&self) -> bool {
        let approval = &self.approval;
        let people: BTreeSet<&str> = approval.votes.iter().map(|v| v.actor_id.as_str()).collect();
        let sound = approval
            .votes
            .iter()
            .zip(&self.voters)
            .all(|(vote, (kind, _))| {
                vote.verdict == Verdict::Approve
                    && vote.actor_id != approval.requested_by
                    && kind.parse() == Ok(ActorKind::Person)
            });
        let demands = match self.unknown.contains("demands") {
            true => &[],
            false => approval.demands.as_slice(),
        };
        let met = demands.iter().all(|demand| {
            let counts = |roles: &[Role]| shares(&demand.roles, roles);
            let yes = approval
                .votes
                .iter()
                .zip(&self.voters)
                .filter(|(vote, (_, lent))| {
                    let by_loan =
                        |loan: &Loan| loan.from != approval.requested_by && counts(&loan.roles());
                    counts(&vote.roles) || lent.iter().any(by_loan)
                });
            yes.count() >= usize::from(demand.count)
        });
        sound && met && !people.is_empty() && people.len() == approval.votes.len()
    }

    fn end(
        &mut self,
        row: &AuditRow,
        state: ApprovalState,
        at: DateTime<Utc>,
        reason: Option<Slug>,
    ) {
        let approval = &mut self.approval;
        approval.state = state;
        approval.steps.clear();
        approval.claim = None;
        approval.decided_at = approval.decided_at.or(Some(at));
        approval.reason = reason.or_else(|| approval.reason.take());
        self.decided_command_id = Some(row.command_id.as_uuid());
        self.unknown.remove("steps");
    }

    fn executed(
        &mut self,
        attempt: Attempt<'_>,
        asked: &Value,
        event: &TicketEvent,
        found: &mut Findings,
    ) {
        let row = attempt.row;
        let is_release = self.is_release(&asked["release"]);
        let in_time = !self.has_ended(row.at);
        let approval = &mut self.approval;
        let voters: Vec<&String> = approval.votes.iter().map(|vote| &vote.actor_id).collect();
        let told = json!({
            "approval_id": approval.id,
            "proposed_by": approval.requested_by,
            "approved_by": voters,
        });
        let TicketEvent::ApprovalExecuted {
            operation,
            proposed_by,
            approved_by,
            ..
        } = event
        else {
            return;
        };
        let sound = approval.state == ApprovalState::Approved
            && *operation == approval.operation
            && row.operation == approval.operation.to_string()
            && *proposed_by == approval.requested_by
            && approved_by.iter().eq(voters)
            && row.payload["approval"] == told
            && is_release
            && in_time;
        if !sound {
            found.add(Invariant::I5, attempt.place, NOT_RELEASED);
        }
        approval.state = ApprovalState::Executed;
        approval.steps.clear();
        approval.claim = None;
        approval.executed_command_id = Some(row.command_id);
        // What is carried out is what was asked for, also after an amendment.
        let mut request = row.payload.clone();
        if let Some(members) = request.as_object_mut() {
            members.remove("approval");
        }
        approval.request = request;
        self.unknown.remove("request");
    }

    /// Whether this is what the policy was to be told when it let pass what was released: who had asked,
    /// who said yes and with which roles, and about which rules they were asked.
    fn is_release(&self, release: &Value) -> bool {
        let approval = &self.approval;
        let told = release["votes"].as_array().map_or(&[][..], Vec::as_slice);
        let voters = approval.votes.iter().zip(&self.voters);
        let said_so = told.iter().zip(voters).all(|(told, (vote, (_, lent)))| {
            let roles: Option<BTreeSet<Role>> = read(&told["roles"]);
            let own = vote.roles.iter().copied().collect();
            told["actor_id"] == json!(vote.actor_id)
                && roles.is_some_and(|roles| {
                    roles == own || lent.iter().any(|loan| loan.roles == roles)
                })
        });
        release["approval_id"] == json!(approval.id)
            && release["proposer"]["id"] == json!(approval.requested_by)
            && told.len() == approval.votes.len()
            && said_so
            && self.was_asked_about(&release["codes"])
    }

    /// Whether these are the rules that people were asked about. What was carried out under earlier
    /// versions does not say.
    fn was_asked_about(&self, codes: &Value) -> bool {
        let asked: BTreeSet<&String> = self.approval.demands.iter().map(|it| &it.code).collect();
        codes.is_null() || self.unknown.contains("demands") || *codes == json!(asked)
    }

    /// Whether the ticket from which it was carried out is still what was approved: recomputed, for
    /// a hash that is only passed on proves nothing.
    fn stands_on_its_facts(
        &self,
        attempt: Attempt<'_>,
        before: Option<&Ticket>,
        found: &mut Findings,
    ) {
        let facts = before.and_then(|ticket| {
            domain::approval::facts_sha256(self.approval.operation, ticket).ok()
        });
        if facts.is_none() || facts != self.approval.facts_sha256 {
            let what =
                "something was carried out although the facts it was approved on had changed";
            found.add(Invariant::I5, attempt.place, what);
        }
    }

    fn amended(&mut self, attempt: Attempt<'_>, version: u32) {
        let approval = &mut self.approval;
        approval.version = version;
        approval.votes.clear();
        approval.claim = None;
        self.voters.clear();
        self.unknown.extend(["request", "request_sha256"]);
        self.unknown.extend(NEEDED);
        // The first ones of version 0.3 left no decision on what they ask for.
        let Some((decision, _)) = attempt.named else {
            return;
        };
        self.approval.decision_id = read(&attempt.row.payload["amended"]["decision_id"]);
        self.approval.request = attempt.asked_besides()["body"].take();
        self.unknown.remove("request");
        if let Some(need) = read(&decision["approval"]) {
            self.needs(need);
            self.unknown.retain(|column| !NEEDED.contains(column));
        }
    }

    /// These may decide besides.
    fn admit(&mut self, roles: &[Role]) {
        let add = |known: &mut Vec<Role>| {
            let all: BTreeSet<Role> = known.iter().chain(roles).copied().collect();
            *known = all.into_iter().collect();
        };
        if roles.is_empty() {
            return;
        }
        add(&mut self.approval.required_roles);
        for demand in &mut self.approval.demands {
            add(&mut demand.roles);
        }
    }

    /// The next step of the plan is taken.
    fn step(&mut self) {
        if self.unknown.contains("steps") || self.approval.steps.is_empty() {
            return;
        }
        let next = self.approval.steps.remove(0);
        self.admit(&next.roles);
    }

    fn put_off(&mut self, end: DateTime<Utc>) {
        let mut steps = std::mem::take(&mut self.approval.steps);
        steps.retain(|step| step.at < end && step.step != StepKind::Expiry);
        steps.push(ApprovalStep {
            at: end,
            step: StepKind::Expiry,
            roles: Vec::new(),
        });
        self.plan(steps);
        self.unknown.remove("expires_at");
    }

    /// Whether the body is the answer to the command that was held.
    pub(super) fn is_receipt(
        &mut self,
        body: &str,
        row: &AuditRow,
        decision: Option<&Value>,
    ) -> bool {
        let Ok(receipt) = serde_json::from_str::<HeldReceipt>(body) else {
            return false;
        };
        // The hash covers words that no chain has; from here on it is held to.
        self.approval
            .request_sha256
            .clone_from(&receipt.approval.request_sha256);
        self.unknown.remove("request_sha256");
        let reasons = decision.and_then(|decision| read(&decision["reasons"]));
        let expected = HeldReceipt {
            command_id: row.command_id,
            decision_id: row.decision_id,
            dry_run: false,
            approval: self.approval.clone(),
            reasons: reasons.unwrap_or_default(),
        };
        receipt == expected
    }

    /// The columns of the row that are not as they were told.
    fn differences(&self, row: &Value) -> Vec<&'static str> {
        let approval = &self.approval;
        let uuid = |id: Option<DecisionId>| id.map(|id| id.as_uuid());
        let mut told: Vec<(&'static str, Value)> = vec![
            ("command_id", json!(self.command_id)),
            ("kind", json!(approval.kind)),
            ("state", json!(approval.state)),
            ("operation", json!(approval.operation)),
            ("requested_by", json!(approval.requested_by)),
            ("requested_by_kind", json!(approval.requested_by_kind)),
            ("required_roles", json!(approval.required_roles)),
            ("version", json!(approval.version)),
            ("request_sha256", json!(approval.request_sha256)),
            ("request", approval.request.clone()),
            ("facts_sha256", json!(approval.facts_sha256)),
            ("requested_at", json!(micros(Some(approval.requested_at)))),
            ("on_expiry", json!(approval.on_expiry)),
            ("decided_by", json!(approval.decided_by)),
            ("decided_at", json!(micros(approval.decided_at))),
            ("reason", json!(approval.reason)),
            ("decided_command_id", json!(self.decided_command_id)),
            (
                "executed_command_id",
                json!(approval.executed_command_id.map(|id| id.as_uuid())),
            ),
        ];
        if !self.before_0_3 {
            let claim = approval.claim.as_ref();
            told.extend([
                ("revision", json!(approval.revision)),
                ("demands", json!(approval.demands)),
                ("expires_at", json!(micros(approval.expires_at))),
                ("steps", json!(approval.steps)),
                ("claimed_by", json!(claim.map(|claim| &claim.by))),
                (
                    "claimed_until",
                    json!(micros(claim.map(|claim| claim.until))),
                ),
                ("decision_id", json!(uuid(approval.decision_id))),
            ]);
        }
        let mut different: Vec<_> = told
            .into_iter()
            .filter(|(column, value)| !self.unknown.contains(column) && row[*column] != *value)
            .map(|(column, _)| column)
            .collect();
        if !self.before_0_3 && !self.are_votes(&row["votes"]) {
            different.push("votes");
        }
        // Of a change order no decision tells the demands; who may decide it they say all the same.
        let demands: Vec<Demand> = read(&row["demands"]).unwrap_or_default();
        let untold = self.unknown.contains("demands") && !demands.is_empty();
        if untold && row["required_roles"] != json!(roles_of(&demands)) {
            different.push("demands");
        }
        different
    }

    /// Whether it counts as given, and who is on its row as having said yes is not enough: each demand
    /// has its number of people, whoever stood in for them, and none of these is there twice.
    fn is_short_of_people(&self, row: &Value) -> bool {
        use ApprovalState::{Approved, Executed};
        if self.before_0_3 || !matches!(self.approval.state, Approved | Executed) {
            return false;
        }
        let demands = match self.unknown.contains("demands") {
            true => read(&row["demands"]).unwrap_or_default(),
            false => self.approval.demands.clone(),
        };
        let votes: Vec<Vote> = read(&row["votes"]).unwrap_or_default();
        let behind = votes
            .iter()
            .flat_map(|vote| [Some(&vote.actor_id), vote.on_behalf_of.as_ref()]);
        let behind: Vec<&String> = behind.flatten().collect();
        let distinct: BTreeSet<&String> = behind.iter().copied().collect();
        let met = demands.iter().all(|demand| {
            let yes = votes.iter().filter(|vote| {
                vote.verdict == Verdict::Approve && shares(&demand.roles, &vote.roles)
            });
            yes.count() >= usize::from(demand.count)
        });
        !met || distinct.len() != behind.len() || distinct.contains(&self.approval.requested_by)
    }

    /// Whether these are the votes that were given, with the roles that each had, or those that were
    /// lent to whoever stood in for another.
    fn are_votes(&self, stored: &Value) -> bool {
        let Some(stored) = read::<Vec<Vote>>(stored) else {
            return false;
        };
        let told = &self.approval.votes;
        stored.len() == told.len()
            && stored
                .iter()
                .zip(told)
                .zip(&self.voters)
                .all(|((vote, told), (_, lent))| {
                    let mut told = told.clone();
                    if let Some(from) = &vote.on_behalf_of {
                        let mut loans = lent.iter();
                        // Somebody may have lent twice: any of the loans will do.
                        let Some(loan) = loans
                            .find(|loan| loan.from == *from && loan.roles.iter().eq(&vote.roles))
                        else {
                            return false;
                        };
                        told.roles = loan.roles.iter().copied().collect();
                        told.on_behalf_of = Some(from.clone());
                    }
                    *vote == told
                })
    }
}

impl Loan {
    fn roles(&self) -> Vec<Role> {
        self.roles.iter().copied().collect()
    }
}

fn roles_of(demands: &[Demand]) -> Vec<Role> {
    let roles = demands.iter().flat_map(|demand| &demand.roles);
    let distinct: BTreeSet<Role> = roles.copied().collect();
    distinct.into_iter().collect()
}

/// Said of whatever was carried out without the word of those who were asked.
const NOT_RELEASED: &str = "something was carried out that was not released so, or not any more";

/// What a policy's answer tells of an approval.
const NEEDED: [&str; 3] = ["demands", "required_roles", "on_expiry"];

/// What Postgres keeps of a moment.
fn micros(at: Option<DateTime<Utc>>) -> Option<i64> {
    at.map(|at| at.round_subsecs(6).timestamp_micros())
}

fn sha256(document: &Value) -> String {
    canonical_sha256(document).expect("a JSON value always serialises")
}

#[derive(FromRow)]
struct Row {
    tenant_id: Uuid,
    id: Uuid,
    doc: Value,
}

macro_rules! rows {
    ($of:literal) => {
        concat!(
            "select r.tenant_id, r.id, to_jsonb(r) || jsonb_build_object(
                 'requested_at', (extract(epoch from r.requested_at) * 1000000)::bigint,
                 'decided_at', (extract(epoch from r.decided_at) * 1000000)::bigint,
                 'expires_at', (extract(epoch from r.expires_at) * 1000000)::bigint,
                 'claimed_until', (extract(epoch from r.claimed_until) * 1000000)::bigint) as doc
             from approvals r ",
            $of
        )
    };
}

const OF_TICKETS: &str = rows!(
    "join unnest($1::uuid[], $2::uuid[]) t (tenant_id, ticket_id) using (tenant_id, ticket_id)"
);
const OF_NONE: &str = rows!("where r.ticket_id is null");

/// Compares the rows of some tickets with what their timelines told.
pub(super) async fn compare_of(
    tx: &mut PgConnection,
    tickets: &[(TenantId, TicketId)],
    told: Vec<Approvals>,
    found: &mut Findings,
) -> Result<(), Error> {
    let (tenants, ids): (Vec<_>, Vec<_>) = tickets
        .iter()
        .map(|(tenant, ticket)| (tenant.as_uuid(), ticket.as_uuid()))
        .unzip();
    let rows: Vec<Row> = sqlx::query_as(OF_TICKETS)
        .bind(tenants)
        .bind(ids)
        .fetch_all(tx)
        .await?;
    let told = told
        .into_iter()
        .flat_map(|approvals| approvals.told)
        .collect();
    settle(Approvals { told }, rows, found);
    Ok(())
}

/// Compares the rows that have no ticket.
pub(super) async fn compare_rest(
    tx: &mut PgConnection,
    told: Approvals,
    found: &mut Findings,
) -> Result<(), Error> {
    let rows: Vec<Row> = sqlx::query_as(OF_NONE).fetch_all(tx).await?;
    settle(told, rows, found);
    Ok(())
}

fn settle(mut approvals: Approvals, rows: Vec<Row>, found: &mut Findings) {
    for row in rows {
        let key = (
            TenantId::from_uuid(row.tenant_id),
            ApprovalId::from_uuid(row.id),
        );
        let place = format!("approvals {}", key.1);
        let Some(told) = approvals.told.remove(&key) else {
            let what = "a row that its timeline does not tell of";
            found.add(Invariant::I2, place, what);
            continue;
        };
        let different = told.differences(&row.doc);
        if !different.is_empty() {
            let columns = different.join(", ");
            let what = format!("a row that is not what its timeline tells: {columns}");
            found.add(Invariant::I1, place.as_str(), what);
        }
        if told.is_short_of_people(&row.doc) {
            let what =
                "an approval that counts as given by too few people, or by one of them twice";
            found.add(Invariant::I5, place, what);
        }
    }
    for (_, id) in approvals.told.into_keys() {
        let what = "a row that its timeline tells of is missing";
        found.add(Invariant::I1, format!("approvals {id}"), what);
    }
}

const CHECKS: &[(Invariant, &str, &str)] = &[
    (
        Invariant::I1,
        "an approval whose held command is missing, or is not what it is bound to",
        "select 'approvals ' || wire_id('apr', a.id) from approvals a
         left join held_commands h on h.tenant_id = a.tenant_id and h.approval_id = a.id
           and h.version = a.version
         where a.kind <> 'change_order'
           and (h.sha256 is distinct from a.request_sha256 or h.operation <> a.operation
                or h.proposer ->> 'id' is distinct from a.requested_by
                or h.proposer ->> 'kind' is distinct from a.requested_by_kind)",
    ),
    (
        Invariant::I1,
        "the versions of a held command are not 1..n up to that of its approval",
        "select 'approvals ' || wire_id('apr', a.id) from approvals a
         left join (select tenant_id, approval_id, count(*) as n, max(version) as most
                    from held_commands group by 1, 2) h
           on h.tenant_id = a.tenant_id and h.approval_id = a.id
         where case a.kind when 'change_order' then h.n is not null
                else h.n is distinct from a.version or h.most is distinct from a.version end",
    ),
    (
        Invariant::I2,
        "a held command without the attempt that was held, or amended",
        "select 'held_commands ' || wire_id('apr', h.approval_id) || ' #' || h.version
         from held_commands h
         left join approvals p on p.tenant_id = h.tenant_id and p.id = h.approval_id
         left join audit_events a on a.tenant_id = h.tenant_id and a.command_id = h.command_id
           and a.refused is null and a.ticket_id is not distinct from p.ticket_id
           and (case when h.version = 1 then a.command_id = p.command_id and a.operation = h.operation
                     else a.operation = 'amend_approval'
                      and a.payload ->> 'approval_id' = wire_id('apr', h.approval_id) end)
         where a.command_id is null",
    ),
    (
        Invariant::I5,
        "an approval that was carried out by no command, or by more than one",
        "select 'approvals ' || wire_id('apr', p.id) from approvals p
         left join lateral (
             select count(*) as n, count(*) filter (
                        where a.command_id = p.executed_command_id) as named
               from audit_events a
              where a.tenant_id = p.tenant_id and a.ticket_id = p.ticket_id and a.refused is null
                and a.operation = p.operation
                and a.payload #>> '{approval,approval_id}' = wire_id('apr', p.id)
                and exists (select from jsonb_path_query(a.changes, '$[*].event') e
                             where e ->> 'type' = 'approval.executed'
                               and e #>> '{data,approval_id}' = wire_id('apr', p.id))) e on true
         where p.ticket_id is not null
           and case p.state when 'executed' then e.n <> 1 or e.named <> 1 else e.n > 0 end",
    ),
    (
        Invariant::I5,
        "a command that was let pass as released, and carried out no approval",
        "select 'audit_events ' || a.command_id from audit_events a
         join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
         where a.refused is null and a.ticket_id is not null
           and (jsonb_typeof(d.input::jsonb -> 'release') = 'object' or a.payload ? 'approval')
           and not exists (
               select from jsonb_path_query(a.changes, '$[*].event') e
                where e ->> 'type' in ('approval.executed', 'approval.stale')
                  and e #>> '{data,approval_id}'
                      = coalesce(d.input::jsonb #>> '{release,approval_id}', '')
                  and e #>> '{data,approval_id}' = a.payload #>> '{approval,approval_id}')",
    ),
    (
        Invariant::I3,
        "a ticket that does not carry its open approvals",
        "select 'tickets ' || wire_id('tkt', coalesce(t.id, p.ticket_id))
         from (select t.tenant_id, t.id, row_id(n.id) as approval_id, n.kind, n.operation, n.version,
                      n.released, n.autonomous, n.facts_sha256, n.steps
                 from tickets t
                cross join lateral jsonb_to_recordset(
                    jsonb_path_query_array(t.doc, '$.approvals[*]')) as n (
                    id text, kind text, operation text, version integer, released boolean,
                    autonomous boolean, facts_sha256 text, steps jsonb)) t
         full join (select * from approvals
                     where ticket_id is not null and expires_at is not null
                       and (state = 'pending'
                            or state = 'approved' and kind <> 'change_order')) p
           on p.tenant_id = t.tenant_id and p.ticket_id = t.id and p.id = t.approval_id
         where t.id is null or p.id is null or t.kind <> p.kind or t.operation <> p.operation
            or t.version <> p.version or t.released <> (p.state = 'approved')
            or t.autonomous <> (p.kind <> 'change_order'
                                and p.requested_by_kind in ('agent', 'workflow'))
            or t.facts_sha256 is distinct from p.facts_sha256 or t.steps <> p.steps",
    ),
];

pub(super) async fn check(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    for (invariant, what, sql) in CHECKS {
        let places: Vec<String> = sqlx::query_scalar(*sql).fetch_all(&mut *tx).await?;
        for place in places.into_iter().take(MOST_PER_CHECK) {
            found.add(*invariant, place, *what);
        }
    }
    Ok(())
}
