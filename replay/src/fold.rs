//! One ticket's timeline, walked once: the ticket at each version, what would be advised at it, and
//! what people then did.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use contracts::{
    ProposalId, TenantId, TicketId,
    event::TicketChange,
    proposal::{Advice, AdvisorInput, Choice, PairingOutcome, ProposalKind},
    sla::SlaRecordKey,
    ticket::Ticket,
};
use domain::{Acting, OpenProposal, TicketKey};
use serde::{Deserialize, Serialize};

use crate::{
    Range,
    record::{Attempt, Beside, StoredProposal},
};

/// How advice that is computed anew compares with the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdviceChange {
    /// It would recommend something else, or something where it had nothing.
    OtherChoice,
    /// The same is recommended, with other points or other alternatives.
    OtherReasons,
    /// Word for word the same.
    Same,
    /// It is due by today's rules, and nothing was recorded that it could be computed from.
    NotRecorded,
    /// What was recorded cannot be read by today's advisors.
    Unreadable,
}

impl AdviceChange {
    /// All of them, what matters most first.
    pub const ALL: [Self; 5] = [
        Self::OtherChoice,
        Self::OtherReasons,
        Self::NotRecorded,
        Self::Unreadable,
        Self::Same,
    ];

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::OtherChoice => "other choice",
            Self::OtherReasons => "other reasons",
            Self::Same => "same",
            Self::NotRecorded => "not recorded",
            Self::Unreadable => "unreadable",
        }
    }
}

/// One line of `proposals.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalLine {
    /// Whose.
    pub tenant_id: TenantId,
    /// About which ticket.
    pub ticket_id: TicketId,
    /// The attempt in its timeline that made the advice due.
    pub position: u64,
    /// When that was.
    pub at: DateTime<Utc>,
    /// The ticket's version then.
    pub version: u64,
    /// About what.
    pub kind: ProposalKind,
    /// Of an escalation: about which promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<SlaRecordKey>,
    /// Whether today's rules ask for it.
    pub due: bool,
    /// What was recorded.
    pub recorded: Option<RecordedAdvice>,
    /// What today's advisors say to the same input.
    pub replayed: Option<ReplayedAdvice>,
    /// How the two compare.
    pub compared: AdviceChange,
}

/// Recorded advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedAdvice {
    /// The proposal.
    pub proposal_id: ProposalId,
    /// The attempt that recorded it.
    pub position: u64,
    /// SHA-256 of the canonical input.
    pub input_sha256: String,
    /// What was advised.
    pub advice: Option<Advice>,
    /// How what people did compares with it; absent while nobody did anything.
    pub outcome: Option<PairingOutcome>,
    /// Whether they had read it before they acted.
    pub seen: bool,
}

/// Advice of today on a recorded input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayedAdvice {
    /// What is advised.
    pub advice: Advice,
    /// How what people did compares with it, by the same rules.
    pub outcome: Option<PairingOutcome>,
}

impl ProposalLine {
    /// What was recommended then.
    pub fn recorded_choice(&self) -> Option<&Choice> {
        self.recorded.as_ref()?.advice.as_ref()?.best()
    }

    /// What is recommended now.
    pub fn replayed_choice(&self) -> Option<&Choice> {
        self.replayed.as_ref()?.advice.best()
    }
}

/// A timeline as far as it was walked.
pub(crate) struct Fold<'a> {
    key: TicketKey,
    range: &'a Range,
    beside: &'a Beside,
    ticket: Option<Ticket>,
    /// Which attempt led to each version, and when.
    versions: BTreeMap<u64, (u64, DateTime<Utc>)>,
    /// Warnings and breaches on record so far, and the attempts that recorded them.
    sla: BTreeMap<SlaRecordKey, (u64, DateTime<Utc>)>,
    escalated: BTreeSet<SlaRecordKey>,
    lines: Vec<ProposalLine>,
    /// Proposals with today's advice that no act was compared with yet, by their line.
    open: Vec<(usize, OpenProposal)>,
    lost: Option<String>,
}

impl<'a> Fold<'a> {
    pub(crate) fn new(
        tenant_id: TenantId,
        ticket_id: TicketId,
        range: &'a Range,
        beside: &'a Beside,
    ) -> Self {
        Self {
            key: TicketKey {
                tenant_id,
                ticket_id,
            },
            range,
            beside,
            ticket: None,
            versions: BTreeMap::new(),
            sla: BTreeMap::new(),
            escalated: BTreeSet::new(),
            lines: Vec::new(),
            open: Vec::new(),
            lost: None,
        }
    }

    /// Goes on by one attempt.
    pub(crate) fn step(&mut self, attempt: &Attempt) {
        if self.lost.is_some() || attempt.refused.is_some() {
            return;
        }
        let changes: Vec<TicketChange> = match serde_json::from_value(attempt.changes.clone()) {
            Ok(changes) => changes,
            Err(error) => {
                return self.lose(attempt, &format!("its changes cannot be read: {error}"));
            }
        };
        let before = self.ticket.take();
        let Some((first, rest)) = changes.split_first() else {
            self.ticket = before;
            return;
        };
        let after = domain::evolve(self.key, before.clone(), first);
        self.pair(attempt, first, before.as_ref(), &after);
        let key = self.key;
        let after = rest.iter().fold(after, |ticket, change| {
            domain::evolve(key, Some(ticket), change)
        });
        if after.version != attempt.produced_version {
            let what = format!(
                "its changes lead to version {}, not to {}",
                after.version, attempt.produced_version
            );
            return self.lose(attempt, &what);
        }
        // Stages and kill switches do not matter: they decide what software does, not what it advises.
        let level = domain::bare_level(&after);
        self.ticket = Some(after);
        if let Some(key) = self.beside.sla.get(&attempt.command_id) {
            let place = (attempt.position, attempt.at);
            self.sla.insert(key.clone(), place);
        }
        if let Some(proposal) = self.beside.proposals.get(&attempt.command_id) {
            self.recorded(attempt, proposal);
        }
        if attempt.produced_version > attempt.applied_to_version {
            let place = (attempt.position, attempt.at);
            self.versions.insert(attempt.produced_version, place);
            for kind in domain::advice_due(&level) {
                self.due(attempt, kind, None);
            }
        }
        for about in domain::escalations_due(&level.sla, self.sla.keys()) {
            if self.escalated.insert(about.clone()) {
                self.due(attempt, ProposalKind::Escalation, Some(about));
            }
        }
    }

    /// The lines in their order, or why there are none behind some attempt.
    pub(crate) fn finish(mut self) -> (Vec<ProposalLine>, Option<String>) {
        self.lines.retain(|line| line.at >= self.range.since);
        self.lines.sort_by(|a, b| {
            let key = |line: &ProposalLine| {
                let recorded = line.recorded.as_ref().map(|recorded| recorded.position);
                (line.position, line.kind, line.about.clone(), recorded)
            };
            key(a).cmp(&key(b))
        });
        (self.lines, self.lost)
    }

    fn lose(&mut self, attempt: &Attempt, what: &str) {
        self.lost = Some(format!("#{}: {what}", attempt.position));
    }

    /// Advice that the ticket asks for now.
    fn due(&mut self, attempt: &Attempt, kind: ProposalKind, about: Option<SlaRecordKey>) {
        self.lines.push(ProposalLine {
            tenant_id: self.key.tenant_id,
            ticket_id: self.key.ticket_id,
            position: attempt.position,
            at: attempt.at,
            version: attempt.produced_version,
            kind,
            about,
            due: true,
            recorded: None,
            replayed: None,
            compared: AdviceChange::NotRecorded,
        });
    }

    /// Advice that was recorded, computed again.
    fn recorded(&mut self, attempt: &Attempt, stored: &StoredProposal) {
        let input: Option<AdvisorInput> = serde_json::from_value(stored.input.clone()).ok();
        let advice: Option<Advice> = serde_json::from_value(stored.advice.clone()).ok();
        let about = match &input {
            Some(AdvisorInput::Escalation(input)) => Some(input.record.clone()),
            _ => None,
        };
        let index = self.line_of(attempt, stored, about);
        let replayed = input.as_ref().map(domain::advise);
        let paired = stored.paired.filter(|(_, at)| !self.range.is_over(*at));
        let line = &mut self.lines[index];
        line.compared = match (&advice, &replayed) {
            (Some(then), Some(now)) if then == now => AdviceChange::Same,
            (Some(then), Some(now)) if then.best() == now.best() => AdviceChange::OtherReasons,
            (Some(_), Some(_)) => AdviceChange::OtherChoice,
            _ => AdviceChange::Unreadable,
        };
        line.recorded = Some(RecordedAdvice {
            proposal_id: stored.id,
            position: attempt.position,
            input_sha256: stored.input_sha256.clone(),
            advice,
            outcome: paired.map(|(outcome, _)| outcome),
            seen: paired.is_some() && stored.seen,
        });
        let Some(advice) = replayed else {
            return;
        };
        self.replace(&attempt.actor_id, stored, &advice);
        self.lines[index].replayed = Some(ReplayedAdvice {
            advice: advice.clone(),
            outcome: None,
        });
        let open = OpenProposal {
            id: stored.id,
            kind: stored.kind,
            based_on_version: stored.based_on_version,
            advice,
            seen: false,
            by: Some(attempt.actor_id.clone()),
        };
        self.open.push((index, open));
    }

    /// The line of what was due when this was asked for; a new one when it was not due, or when
    /// somebody recorded a second word on it.
    fn line_of(
        &mut self,
        attempt: &Attempt,
        stored: &StoredProposal,
        about: Option<SlaRecordKey>,
    ) -> usize {
        let version = stored.based_on_version;
        let found = self.lines.iter().position(|line| {
            let same = match stored.kind {
                ProposalKind::Escalation => line.about == about,
                _ => line.version == version,
            };
            line.kind == stored.kind && same && line.recorded.is_none()
        });
        if let Some(index) = found {
            return index;
        }
        let record = about.as_ref().and_then(|key| self.sla.get(key));
        let place = record.or_else(|| self.versions.get(&version));
        let (position, at) = place.copied().unwrap_or((attempt.position, attempt.at));
        self.lines.push(ProposalLine {
            tenant_id: self.key.tenant_id,
            ticket_id: self.key.ticket_id,
            position,
            at,
            version,
            kind: stored.kind,
            about,
            due: false,
            recorded: None,
            replayed: None,
            compared: AdviceChange::NotRecorded,
        });
        self.lines.len() - 1
    }

    /// An advisor's newer word takes the place of its older one, by the same actor (`record_proposal`).
    fn replace(&mut self, by: &str, stored: &StoredProposal, advice: &Advice) {
        let lines = &mut self.lines;
        self.open.retain(|(index, open)| {
            let replaced = open.kind == stored.kind
                && stored.kind != ProposalKind::Escalation
                && open.advice.advisor == advice.advisor
                && open.by.as_deref() == Some(by)
                && open.based_on_version < stored.based_on_version;
            if replaced {
                settle(&mut lines[*index], PairingOutcome::Nothing);
            }
            !replaced
        });
    }

    /// Compares what happened with what would have been proposed.
    fn pair(
        &mut self,
        attempt: &Attempt,
        change: &TicketChange,
        before: Option<&Ticket>,
        after: &Ticket,
    ) {
        let (kind, roles) = &attempt.acting;
        let acting = Acting {
            at: attempt.at,
            kind: *kind,
            roles,
        };
        let lines = &mut self.lines;
        self.open.retain(|(index, open)| {
            let outcome = domain::paired(&change.event, before, after, acting, open);
            if let Some(outcome) = outcome {
                settle(&mut lines[*index], outcome);
            }
            outcome.is_none()
        });
    }
}

fn settle(line: &mut ProposalLine, outcome: PairingOutcome) {
    if let Some(replayed) = &mut line.replayed {
        replayed.outcome = Some(outcome);
    }
}
