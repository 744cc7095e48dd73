//! The ticket workflow's rules, without the SDK.
//!
//! [`TicketFollower`] is told what came ([`receive`](TicketFollower::receive)) and how its last
//! step ended, and says what comes next ([`next_step`](TicketFollower::next_step)). Time is an
//! argument. It serialises whole: that is what a continued run carries.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use contracts::{
    Operation, TenantId, TicketId,
    event::TicketLevel,
    kill_switch::KillState,
    proposal::ProposalKind,
    signal::{SignalEnvelope, TicketWorkflowStart, WorkflowView},
    sla::SlaRecordKey,
};
use serde::{Deserialize, Serialize};

use super::{
    backlog::{Attempts, Duty, When, approval_duties, deadlines, first_advice_due},
    inbox::{Distrust, Inbox},
};
use crate::activity::{
    AdviseCall, ApprovalStepCall, CarryOutCall, Outcome, RecordSlaCall, SnapshotCall,
    SnapshotOutcome,
};

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the truth.
    Snapshot(SnapshotCall),
    /// Record a warning or breach.
    RecordSla(RecordSlaCall),
    /// Propose something, and act on it where software may.
    Advise(AdviseCall),
    /// Remind of an approval, escalate or end it.
    TakeApprovalStep(ApprovalStepCall),
    /// Carry out what was approved.
    CarryOut(CarryOutCall),
    /// Sleep until then, or until something comes.
    Wait(Option<DateTime<Utc>>),
    /// The ticket has ended, or never was.
    Finish,
}

/// An activity that did not get through, perhaps only this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whether trying again can help.
    pub retryable: bool,
    /// What was wrong; no personal data.
    pub reason: String,
}

/// Follows one ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketFollower {
    tenant_id: TenantId,
    ticket_id: TicketId,
    inbox: Inbox,
    #[serde(default)]
    sla_recorded: BTreeSet<SlaRecordKey>,
    #[serde(default)]
    proposed: BTreeSet<(ProposalKind, u64)>,
    #[serde(default)]
    escalated: BTreeSet<SlaRecordKey>,
    /// Whether every kind of advice is asked for; [`EVERY_KIND`](super::backlog::EVERY_KIND).
    #[serde(default)]
    every_kind: bool,
    /// Whether approvals are followed, and advice where it may be;
    /// [`APPROVALS`](super::backlog::APPROVALS).
    #[serde(default)]
    approvals: bool,
    /// Whether what answers say of the kill switches is adopted;
    /// [`ANSWERS`](super::backlog::ANSWERS).
    #[serde(default)]
    answers: bool,
    /// Whether what was held back is tried again at another version of the ticket;
    /// [`HELD_BACK`](super::backlog::HELD_BACK).
    #[serde(default)]
    versions: bool,
    /// How the kill switches stood at the last answer that told.
    #[serde(default)]
    heard: Option<KillState>,
    /// Advice that software acted on, or tried to: there is no second time at one version.
    #[serde(default)]
    acted: BTreeSet<(ProposalKind, u64)>,
    #[serde(default)]
    attempts: Attempts,
    #[serde(default)]
    trouble: Option<String>,
    #[serde(default)]
    gone: bool,
}

impl TicketFollower {
    /// Follows a ticket of which nothing is known yet.
    pub fn new(start: &TicketWorkflowStart) -> Self {
        Self {
            tenant_id: start.tenant_id,
            ticket_id: start.ticket_id,
            inbox: Inbox::new(start.epoch),
            sla_recorded: BTreeSet::new(),
            proposed: BTreeSet::new(),
            escalated: BTreeSet::new(),
            every_kind: false,
            approvals: false,
            answers: false,
            versions: false,
            heard: None,
            acted: BTreeSet::new(),
            attempts: Attempts::default(),
            trouble: None,
            gone: false,
        }
    }

    /// Says whether this run asks for every kind of advice; it is the same all through the run.
    pub fn ask_every_kind(&mut self, every_kind: bool) {
        self.every_kind = every_kind;
    }

    /// Says whether this run follows approvals, and acts where it may.
    pub fn follow_approvals(&mut self, approvals: bool) {
        self.approvals = approvals;
    }

    /// Whether it has met something that it can only do once it follows approvals.
    pub fn meets_approvals(&self) -> bool {
        let level = self.inbox.level.as_ref();
        !self.approvals
            && level.is_some_and(|level| {
                !level.approvals.is_empty()
                    || !level.acts_on.is_empty()
                    || !level.silent_on.is_empty()
            })
    }

    /// Says whether this run adopts what answers say of the kill switches.
    pub fn follow_answers(&mut self, answers: bool) {
        self.answers = answers;
    }

    /// Takes what an answer said of the kill switches. Calls are made one after the other, so the last
    /// answer is the newest.
    pub fn hear(&mut self, told: Option<KillState>) {
        self.heard = told.or_else(|| self.heard.take());
    }

    /// Whether it has heard of the kill switches what it can only adopt once it follows answers.
    pub fn meets_answers(&self) -> bool {
        !self.answers && self.news().is_some()
    }

    /// What was heard of the kill switches and is newer than the level. Events may tell less than an
    /// answer did: they were committed before, or decided by somebody who read the switches before.
    fn news(&self) -> Option<&KillState> {
        let known = self.inbox.level.as_ref()?.kill_generation;
        self.heard.as_ref().filter(|heard| heard.generation > known)
    }

    /// Stops at once what an answer said is stopped. What may go on again has to be read anew: the
    /// level does not know what else was let go meanwhile.
    fn adopt_news(&mut self) {
        let Some(news) = self.news().filter(|_| self.answers).cloned() else {
            return;
        };
        let Some(level) = &mut self.inbox.level else {
            return;
        };
        let is_freed = level.stopped.as_ref().is_some_and(|before| {
            let all = news.stopped.as_ref().is_some_and(|it| it.all);
            let mut each = before.operations.iter();
            before.all && !all || each.any(|operation| !news.stops(*operation))
        });
        level.acts_on.retain(|kind| {
            let operation = domain::autonomy::operation_of(*kind);
            operation.is_some_and(|operation| !news.stops(operation))
        });
        level.kill_generation = news.generation;
        level.stopped = news.stopped;
        if is_freed {
            self.inbox.doubt(Distrust::Resync);
        }
    }

    /// Says whether this run tries what was held back again at another version of the ticket.
    pub fn follow_versions(&mut self, versions: bool) {
        self.versions = versions;
    }

    /// Whether the ticket is at another version than when something was held back that is still to be
    /// carried out, which it can only try again once it follows versions.
    pub fn meets_version(&self) -> bool {
        let level = self.inbox.level.as_ref();
        !self.versions
            && self.approvals
            && level.is_some_and(|level| {
                let mut duties = approval_duties(level).into_iter();
                duties.any(|duty| self.attempts.was_held(&duty, level.version))
            })
    }

    /// Whether it follows the ticket that the run was started for.
    pub fn is_of(&self, start: &TicketWorkflowStart) -> bool {
        (self.tenant_id, self.ticket_id) == (start.tenant_id, start.ticket_id)
    }

    /// Whose ticket.
    pub fn tenant_id(&self) -> TenantId {
        self.tenant_id
    }

    /// The ticket as it is known; `None` before the first event or snapshot.
    pub fn level(&self) -> Option<&TicketLevel> {
        self.inbox.level.as_ref()
    }

    /// What it knows.
    pub fn view(&self) -> WorkflowView {
        WorkflowView {
            epoch: self.inbox.epoch,
            applied_seq: self.inbox.applied_seq,
            level: self.inbox.level.clone(),
            buffered: self.inbox.early().collect(),
            healed: self.inbox.healed,
            sla_recorded: self.sla_recorded.iter().cloned().collect(),
            proposed: self.proposed.iter().copied().collect(),
            escalated: self.escalated.iter().cloned().collect(),
            trouble: self.trouble.clone(),
        }
    }

    /// The nearest deadline of which nothing is on record yet.
    pub fn next_deadline(&self) -> Option<(SlaRecordKey, DateTime<Utc>)> {
        deadlines(self.level()?)
            .into_iter()
            .find(|(key, _)| !self.sla_recorded.contains(key))
    }

    /// Why the truth has to be read, while it has to.
    pub fn distrust(&self) -> Option<Distrust> {
        self.inbox.distrust
    }

    /// Takes what the relay sent.
    pub fn receive(&mut self, envelope: SignalEnvelope, now: DateTime<Utc>) {
        // The relay has just spoken, so dispatch-api may answer again: a wanted snapshot is not
        // put off any longer.
        self.attempts.forget(&Duty::Snapshot);
        self.inbox.receive(envelope, now);
    }

    /// What comes next at this moment. A returned call is made and reported back by the function
    /// named after it before the next step is asked for.
    pub fn next_step(&mut self, now: DateTime<Utc>) -> Step {
        if self.gone {
            return Step::Finish;
        }
        self.adopt_news();
        if self.inbox.must_heal(now) {
            return match self.attempts.when(&Duty::Snapshot, now) {
                When::At(at) => Step::Wait(Some(at)),
                When::Now | When::Never => {
                    self.inbox.ask();
                    Step::Snapshot(SnapshotCall {
                        tenant_id: self.tenant_id,
                        ticket_id: self.ticket_id,
                        cause: self.inbox.cause.clone(),
                    })
                }
            };
        }
        let mut wake = self.inbox.gap_expires();
        let duties = match &self.inbox.level {
            Some(level) if level.state.is_terminal() => {
                self.trouble = None;
                // An event is missing between the end and a later one, which is a reopening.
                return wake.map_or(Step::Finish, |at| Step::Wait(Some(at)));
            }
            Some(level) => self.duties(level),
            None => Vec::new(),
        };
        self.attempts.retain(|duty| duties.contains(duty));
        if let Some(level) = self.inbox.level.as_ref().filter(|_| self.versions) {
            self.attempts.free(level.version);
        }
        if self.attempts.is_empty() {
            // What gave trouble is not called for any more.
            self.trouble = None;
        }
        for duty in duties {
            match self.attempts.when(&duty, now) {
                When::Now => return self.call(duty),
                When::At(at) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                When::Never => {}
            }
        }
        Step::Wait(wake)
    }

    /// A snapshot was answered.
    pub fn on_snapshot(&mut self, answer: Result<SnapshotOutcome, Failure>, now: DateTime<Utc>) {
        match answer {
            Ok(SnapshotOutcome::Found { snapshot }) => {
                self.attempts.forget(&Duty::Snapshot);
                self.attempts.reopen();
                self.trouble = None;
                self.sla_recorded = snapshot.sla_recorded.iter().cloned().collect();
                self.proposed = snapshot.proposed.iter().copied().collect();
                self.escalated = snapshot.escalated.iter().cloned().collect();
                self.heard = Some(KillState {
                    generation: snapshot.level.kill_generation,
                    stopped: snapshot.level.stopped.clone(),
                });
                self.inbox.adopt(*snapshot, now);
            }
            Ok(SnapshotOutcome::Gone) => {
                self.trouble = Some("ticket_snapshot: there is no such ticket".into());
                self.gone = true;
            }
            // Without the truth nothing else can be done, so even a refusal is tried again.
            Err(failure) => {
                self.trouble = Some(format!("ticket_snapshot: {}", failure.reason));
                self.postpone(Duty::Snapshot, now);
            }
        }
    }

    /// A record of a warning or breach was answered.
    pub fn on_sla(
        &mut self,
        call: RecordSlaCall,
        answer: Result<Outcome, Failure>,
        now: DateTime<Utc>,
    ) {
        let duty = Duty::Sla {
            key: call.key.clone(),
            at: call.effective_at,
        };
        if self.settle("record_sla", duty, answer, now) {
            self.sla_recorded.insert(call.key);
        }
    }

    /// A proposal was answered.
    pub fn on_advice(
        &mut self,
        call: &AdviseCall,
        answer: Result<Outcome, Failure>,
        now: DateTime<Utc>,
    ) {
        let duty = |kinds: &[ProposalKind], escalations: &[SlaRecordKey]| Duty::Proposals {
            kinds: kinds.to_vec(),
            escalations: escalations.to_vec(),
            version: call.version,
            act: call.act.clone(),
            kill_generation: call.kill_generation,
        };
        let asked = match (self.every_kind, call.kinds.as_slice()) {
            (false, [kind]) => Duty::Advice {
                kind: *kind,
                version: call.version,
            },
            (_, kinds) => duty(kinds, &call.escalations),
        };
        // What was held is left of it.
        let duty = match &answer {
            Ok(Outcome::Held { .. }) => duty(&[], &[]),
            _ => asked,
        };
        let held = matches!(answer, Ok(Outcome::Held { .. }));
        if self.settle("advise", duty, answer, now) || held {
            let version = call.version;
            let of = |kinds: &[ProposalKind]| -> Vec<_> {
                kinds.iter().map(|kind| (*kind, version)).collect()
            };
            self.proposed.extend(of(&call.kinds));
            self.escalated.extend(call.escalations.iter().cloned());
            if !held {
                self.acted.extend(of(&call.act));
            }
        }
    }

    /// A step of an approval was answered. What is left of the plan comes with the next event.
    pub fn on_approval_step(
        &mut self,
        call: &ApprovalStepCall,
        answer: Result<Outcome, Failure>,
        now: DateTime<Utc>,
    ) {
        let duty = Duty::ApprovalStep {
            approval_id: call.approval_id,
            version: call.version,
            step: call.step,
            at: call.at,
        };
        if self.settle("approval_step", duty.clone(), answer, now) {
            self.attempts.settle(duty);
        }
    }

    /// The carrying out of what was approved was answered. What became of it comes with the next
    /// event.
    pub fn on_carried_out(
        &mut self,
        call: &CarryOutCall,
        answer: Result<Outcome, Failure>,
        now: DateTime<Utc>,
    ) {
        let duty = Duty::CarryOut {
            approval_id: call.approval_id,
            version: call.version,
            operation: call.operation,
            kill_generation: call.kill_generation,
            acts_on: call.acts_on.clone(),
        };
        let is_held = matches!(answer, Ok(Outcome::Held { .. }));
        if self.settle("execute_approval", duty.clone(), answer, now) {
            self.attempts.settle(duty);
        } else if is_held {
            // Of the call, not of the level: an event may have come while it was under way.
            self.attempts.hold(duty, call.ticket_version);
        }
    }

    /// All that the level calls for and that is not on record: what people have released, then
    /// deadlines, then advice.
    fn duties(&self, level: &TicketLevel) -> Vec<Duty> {
        let approvals = match self.approvals {
            true => approval_duties(level),
            false => Vec::new(),
        };
        let sla = deadlines(level)
            .into_iter()
            .filter(|(key, _)| !self.sla_recorded.contains(key))
            .map(|(key, at)| Duty::Sla { key, at });
        let all = approvals.into_iter().chain(sla);
        all.chain(self.advice(level)).collect()
    }

    /// Advice that software may act on at this level, in the order in which it does: whoever can be
    /// sent at once is sent, before a window is offered. What is held already is left to people.
    fn to_act_on(&self, level: &TicketLevel) -> Vec<ProposalKind> {
        if !self.approvals {
            return Vec::new();
        }
        let may = |operation: Operation| {
            let is_stopped = level.stopped.as_ref().is_some_and(|s| s.stops(operation));
            let is_held = level.approvals.iter().any(|it| it.operation == operation);
            !is_stopped && !is_held
        };
        let mut kinds: Vec<_> = domain::advice_due(level)
            .into_iter()
            .filter(|kind| level.acts_on.contains(kind))
            .filter(|kind| domain::autonomy::operation_of(*kind).is_some_and(may))
            .filter(|kind| !self.acted.contains(&(*kind, level.version)))
            .collect();
        kinds.sort_by_key(|kind| (*kind != ProposalKind::Technician, *kind));
        kinds
    }

    /// The proposals that are due and not on record: one duty, as they are made in one call.
    fn advice(&self, level: &TicketLevel) -> Option<Duty> {
        let version = level.version;
        let is_new = |kind: &ProposalKind| !self.proposed.contains(&(*kind, version));
        if !self.every_kind {
            let kind = first_advice_due(level).filter(is_new)?;
            return Some(Duty::Advice { kind, version });
        }
        let is_wanted = |kind: &ProposalKind| !self.approvals || !level.silent_on.contains(kind);
        let kinds: Vec<_> = domain::advice_due(level)
            .into_iter()
            .filter(is_new)
            .filter(is_wanted)
            .collect();
        let act = self.to_act_on(level);
        let escalations: Vec<_> = domain::escalations_due(&level.sla, &self.sla_recorded)
            .into_iter()
            .filter(|record| !self.escalated.contains(record))
            .collect();
        let nothing = kinds.is_empty() && escalations.is_empty() && act.is_empty();
        (!nothing).then_some(Duty::Proposals {
            kinds,
            escalations,
            version,
            kill_generation: match act.is_empty() {
                true => 0,
                false => level.kill_generation,
            },
            act,
        })
    }

    fn call(&self, duty: Duty) -> Step {
        let (tenant_id, ticket_id) = (self.tenant_id, self.ticket_id);
        let (applied_seq, cause) = (self.inbox.applied_seq, self.inbox.cause.clone());
        match duty {
            Duty::Snapshot => Step::Snapshot(SnapshotCall {
                tenant_id,
                ticket_id,
                cause,
            }),
            Duty::Sla { key, at } => Step::RecordSla(RecordSlaCall {
                tenant_id,
                ticket_id,
                key,
                effective_at: at,
                applied_seq,
                cause,
            }),
            Duty::Advice { kind, version } => Step::Advise(AdviseCall {
                tenant_id,
                ticket_id,
                kinds: vec![kind],
                escalations: Vec::new(),
                version,
                applied_seq,
                cause,
                act: Vec::new(),
                kill_generation: 0,
            }),
            Duty::Proposals {
                kinds,
                escalations,
                version,
                act,
                kill_generation,
            } => Step::Advise(AdviseCall {
                tenant_id,
                ticket_id,
                kinds,
                escalations,
                version,
                applied_seq,
                cause,
                act,
                kill_generation,
            }),
            Duty::ApprovalStep {
                approval_id,
                version,
                step,
                at,
            } => Step::TakeApprovalStep(ApprovalStepCall {
                tenant_id,
                ticket_id,
                approval_id,
                version,
                step,
                at,
                applied_seq,
                cause,
            }),
            Duty::CarryOut {
                approval_id,
                version,
                operation,
                kill_generation,
                acts_on,
            } => Step::CarryOut(CarryOutCall {
                tenant_id,
                ticket_id,
                approval_id,
                version,
                operation,
                applied_seq,
                kill_generation,
                acts_on,
                ticket_version: self.level().map_or(0, |level| level.version),
                cause,
            }),
        }
    }

    /// Notes how a bookkeeping call ended; `true` when it is on record.
    fn settle(
        &mut self,
        what: &str,
        duty: Duty,
        answer: Result<Outcome, Failure>,
        now: DateTime<Utc>,
    ) -> bool {
        match answer {
            Ok(Outcome::Recorded) => {
                self.attempts.forget(&duty);
                self.trouble = None;
                return true;
            }
            Ok(Outcome::Moot { .. }) => self.attempts.settle(duty),
            Ok(Outcome::Ahead) => {
                self.postpone(duty, now);
                self.inbox.doubt(Distrust::Ahead);
            }
            Ok(Outcome::Refused { reason } | Outcome::Held { reason }) => {
                self.trouble = Some(format!("{what}: {reason}"));
                self.attempts.settle(duty);
            }
            Err(failure) => {
                self.trouble = Some(format!("{what}: {}", failure.reason));
                if failure.retryable {
                    self.postpone(duty, now);
                } else {
                    self.attempts.settle(duty);
                }
            }
        }
        false
    }

    fn postpone(&mut self, duty: Duty, now: DateTime<Utc>) {
        let salt = self.ticket_id.as_uuid().as_u128();
        self.attempts.postpone(duty, now, salt);
    }
}

#[cfg(test)]
mod tests;
