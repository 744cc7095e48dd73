//! What was recorded of one kind of command over a range of time, and what it comes to.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use contracts::{
    CommandId, Operation, Priority, Slug, TemplateId, TicketId,
    approval::ApprovalState,
    autonomy::StageTarget,
    event::TicketChange,
    proposal::{Factor, OutcomeCounts, PairingOutcome},
    rollout::{LedgerAct, LedgerFigures, LedgerPair},
    sla::SlaRecordKind,
};

use super::{lower_bound_permille, undone};
use crate::Autonomy;

/// The rows of a range of time, about one kind of command.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LedgerFacts {
    /// The tickets that occur, as they are now: where nothing says of which risk class something was
    /// when it happened, it counts for the class of today.
    pub tickets: BTreeMap<TicketId, TicketRisk>,
    /// Proposals that were recorded in the range and paired before its end.
    pub pairs: Vec<PairFacts>,
    /// Proposals that were recorded in the range and not paired before its end.
    pub open: Vec<OpenFacts>,
    /// What software attempted in the range.
    pub attempts: Vec<AttemptFacts>,
    /// What software did in the range, by itself or released.
    pub acts: Vec<ActFacts>,
    /// What else happened to the tickets of those acts before the end of the range, in order.
    pub steps: BTreeMap<TicketId, Vec<StepFacts>>,
    /// Warnings and breaches whose moment lies in the range, of all tickets that occur.
    pub promises: Vec<PromiseFacts>,
    /// Approvals that software asked for in the range.
    pub approvals: Vec<ApprovalFacts>,
}

/// What the risk class of a ticket depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketRisk {
    /// How urgent.
    pub priority: Priority,
    /// Kind of incident.
    pub template: TemplateId,
}

/// A proposal that was compared with what people did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFacts {
    /// The two.
    pub pair: LedgerPair,
    /// The ticket as software looked at it.
    pub risk: TicketRisk,
}

/// A proposal that nobody has acted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFacts {
    /// On which ticket.
    pub ticket_id: TicketId,
    /// The ticket as software looked at it.
    pub risk: TicketRisk,
}

/// An approval that software asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalFacts {
    /// About which ticket.
    pub ticket_id: TicketId,
    /// What became of it.
    pub state: ApprovalState,
    /// The risk class that the decision to hold the command named.
    pub risk: Option<Slug>,
}

/// Something that software attempted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptFacts {
    /// On which ticket.
    pub ticket_id: TicketId,
    /// The risk class that its decision named: that of the ticket before it.
    pub risk: Option<Slug>,
    /// Whether policy denied it; else it was let pass, or held.
    pub denied: bool,
}

/// Something that software did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActFacts {
    /// The attempt.
    pub command_id: CommandId,
    /// On which ticket.
    pub ticket_id: TicketId,
    /// The risk class that its decision named: that of the ticket before it.
    pub risk: Option<Slug>,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether people had released it.
    pub released: bool,
    /// What it changed.
    pub changes: Vec<TicketChange>,
}

/// Something that happened to a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFacts {
    /// The attempt.
    pub command_id: CommandId,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether software wanted it.
    pub by_software: bool,
    /// What it changed.
    pub changes: Vec<TicketChange>,
}

/// A warning or a breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromiseFacts {
    /// Of which ticket.
    pub ticket_id: TicketId,
    /// Which of the two.
    pub kind: SlaRecordKind,
    /// The deadline that passed.
    pub effective_at: DateTime<Utc>,
}

impl LedgerFacts {
    /// What a stage governs: what was of its risk class when software spoke, asked or acted; of a
    /// stage for all classes that of classes without a stage of their own. What people make of the
    /// ticket afterwards, another class among it, takes nothing away from the stage that let it
    /// happen.
    pub fn governed_by(mut self, target: &StageTarget, autonomy: &Autonomy) -> Self {
        let governs = |risk: &Slug| match &target.risk {
            Some(wanted) => wanted == risk,
            None => !autonomy.has_stage_of_its_own(target.operation, risk),
        };
        let as_was =
            |ticket: &TicketRisk| governs(autonomy.risk_of(ticket.priority, &ticket.template));
        let tickets = std::mem::take(&mut self.tickets);
        let named = |risk: &Option<Slug>, id: &TicketId| match risk {
            Some(risk) => governs(risk),
            None => tickets.get(id).is_some_and(as_was),
        };
        self.pairs.retain(|pair| as_was(&pair.risk));
        self.open.retain(|open| as_was(&open.risk));
        self.attempts
            .retain(|attempt| named(&attempt.risk, &attempt.ticket_id));
        self.acts.retain(|act| named(&act.risk, &act.ticket_id));
        self.approvals
            .retain(|approval| named(&approval.risk, &approval.ticket_id));
        let occur = self.occurring();
        self.tickets = tickets;
        self.tickets.retain(|id, _| occur.contains(id));
        self.steps.retain(|id, _| occur.contains(id));
        self.promises
            .retain(|promise| occur.contains(&promise.ticket_id));
        self
    }

    /// The tickets of what software said, asked for and did.
    pub fn occurring(&self) -> BTreeSet<TicketId> {
        let pairs = self.pairs.iter().map(|pair| pair.pair.ticket_id);
        pairs
            .chain(self.open.iter().map(|open| open.ticket_id))
            .chain(self.attempts.iter().map(|attempt| attempt.ticket_id))
            .chain(self.acts.iter().map(|act| act.ticket_id))
            .chain(self.approvals.iter().map(|approval| approval.ticket_id))
            .collect()
    }

    /// What software did, and how people undid it.
    pub fn acts(&self, operation: Operation) -> Vec<LedgerAct> {
        let acts = self.acts.iter().map(|act| LedgerAct {
            command_id: act.command_id,
            ticket_id: act.ticket_id,
            at: act.at,
            released: act.released,
            undone: undone(
                operation,
                act,
                self.steps.get(&act.ticket_id).map_or(&[], Vec::as_slice),
            ),
        });
        acts.collect()
    }
}

/// The name under which advice is counted: the advisor, and the reason that weighed most with it.
/// Of equally heavy ones the first by name.
pub fn rule(advisor: &str, factors: &[Factor]) -> String {
    let heaviest = factors.iter().min_by_key(|factor| {
        let weight = factor.points.unsigned_abs();
        (std::cmp::Reverse(weight), factor.name.clone())
    });
    match heaviest {
        Some(factor) => format!("{advisor}/{}", factor.name),
        None => advisor.to_owned(),
    }
}

/// What the rows come to.
pub fn ledger(operation: Operation, facts: &LedgerFacts) -> LedgerFigures {
    let mut figures = LedgerFigures {
        open: count(facts.open.len()),
        attempts: count(facts.attempts.len()),
        denied: count(
            facts
                .attempts
                .iter()
                .filter(|attempt| attempt.denied)
                .count(),
        ),
        acts: count(facts.acts.len()),
        ..LedgerFigures::default()
    };
    for PairFacts { pair, .. } in &facts.pairs {
        if pair.seen {
            figures.seen.add(pair.outcome, 1);
            continue;
        }
        figures.unseen.add(pair.outcome, 1);
        let of_rule = figures.by_rule.entry(pair.rule.clone()).or_default();
        of_rule.add(pair.outcome, 1);
        if let Some(technician) = pair.technician_id {
            let of_technician = figures.by_technician.entry(technician).or_default();
            of_technician.add(pair.outcome, 1);
        }
    }
    figures.agreement_permille =
        lower_bound_permille(agreed(&figures.unseen), sample(&figures.unseen));
    let acts = facts.acts(operation);
    for undone in acts.iter().filter_map(|act| act.undone.as_ref()) {
        figures.overridden += 1;
        *figures
            .overridden_how
            .entry(undone.how.clone())
            .or_default() += 1;
    }
    figures.overridden_permille = share(figures.overridden, figures.acts);
    figures.denied_permille = share(figures.denied, figures.attempts);
    for approval in &facts.approvals {
        *figures.approvals.entry(approval.state).or_default() += 1;
    }
    figures.breaches = count(broken_after_an_act(facts));
    foreseen(facts, &mut figures);
    figures
}

/// Pairs with an act: nothing is no act.
pub(super) fn sample(counts: &OutcomeCounts) -> u64 {
    agreed(counts) + counts.different
}

fn agreed(counts: &OutcomeCounts) -> u64 {
    counts.same + counts.equivalent
}

fn broken_after_an_act(facts: &LedgerFacts) -> usize {
    let mut first: BTreeMap<TicketId, DateTime<Utc>> = BTreeMap::new();
    for act in &facts.acts {
        let at = first.entry(act.ticket_id).or_insert(act.at);
        *at = (*at).min(act.at);
    }
    let broken = facts.promises.iter().filter(|promise| {
        let acted = first.get(&promise.ticket_id);
        promise.kind == SlaRecordKind::Breach && acted.is_some_and(|at| *at <= promise.effective_at)
    });
    broken.count()
}

/// What acting at the moment of the proposal would have saved: time, and deadlines that passed
/// between the proposal and the act.
fn foreseen(facts: &LedgerFacts, figures: &mut LedgerFigures) {
    let is_foreseen = |pair: &&LedgerPair| {
        let alike = matches!(
            pair.outcome,
            PairingOutcome::Same | PairingOutcome::Equivalent
        );
        alike && !pair.seen
    };
    let mut seconds: Vec<u64> = Vec::new();
    let mut avoidable = BTreeSet::new();
    let pairs = facts.pairs.iter().map(|facts| &facts.pair);
    for pair in pairs.filter(is_foreseen) {
        let waited = (pair.paired_at - pair.recorded_at).num_seconds();
        seconds.push(u64::try_from(waited).unwrap_or(0));
        let between = facts.promises.iter().enumerate().filter(|(_, promise)| {
            promise.ticket_id == pair.ticket_id
                && pair.recorded_at < promise.effective_at
                && promise.effective_at <= pair.paired_at
        });
        avoidable.extend(between.map(|(place, _)| place));
    }
    seconds.sort_unstable();
    figures.saved_seconds = seconds.get(seconds.len().saturating_sub(1) / 2).copied();
    let of_kind = |kind| {
        let places = avoidable
            .iter()
            .filter(|place| facts.promises[**place].kind == kind);
        count(places.count())
    };
    figures.warnings_avoidable = of_kind(SlaRecordKind::Warning);
    figures.breaches_avoidable = of_kind(SlaRecordKind::Breach);
}

/// In thousandths, rounded up: one of many is not none.
fn share(part: u64, all: u64) -> u32 {
    match all {
        0 => 0,
        all => u32::try_from((part * 1000).div_ceil(all)).unwrap_or(u32::MAX),
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
