//! What an artifact holds, in figures.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contracts::{
    policy::BundleRef,
    proposal::{OutcomeCounts, PairingOutcome, ProposalKind},
};
use serde::{Deserialize, Serialize};

use crate::{AdviceChange, DecisionChange, DecisionLine, ProposalLine, Range, artifact::FileRef};

/// More timelines that cannot be read help nobody.
const MOST_UNREADABLE: usize = 100;

/// `summary.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Shape of this document; 1.
    pub v: u16,
    /// What advised and decided: version of the program.
    pub code_version: String,
    /// Under which bundle the decisions were made again.
    pub bundle: BundleRef,
    /// What was asked for.
    pub range: Range,
    /// What was looked at.
    pub looked_at: LookedAt,
    /// Proposals, by kind.
    pub proposals: BTreeMap<ProposalKind, KindSummary>,
    /// Decisions, by how they compare.
    pub decisions: BTreeMap<DecisionChange, u64>,
    /// Timelines that could not be walked to their end; at most 100 of them.
    pub unreadable: Vec<UnreadableTimeline>,
    /// The other files.
    pub files: Vec<FileRef>,
}

/// The part of the record that was in range.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookedAt {
    /// Tickets.
    pub tickets: u64,
    /// Chains of things that are no tickets.
    pub other_chains: u64,
    /// Attempts, each with its decision.
    pub attempts: u64,
    /// The first of them.
    pub first_at: Option<DateTime<Utc>>,
    /// The last of them.
    pub last_at: Option<DateTime<Utc>>,
}

/// Proposals of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindSummary {
    /// Asked for by today's rules.
    pub due: u64,
    /// Recorded although today's rules do not ask for it.
    pub not_due: u64,
    /// How what is advised compares.
    pub compared: BTreeMap<AdviceChange, u64>,
    /// What people did, against the advice of then.
    pub recorded: Met,
    /// What people did, against the advice of today on the same inputs.
    pub replayed: Met,
}

/// Advice met by what people did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// Not met yet.
    pub open: u64,
    /// All that were.
    pub all: OutcomeCounts,
    /// Those where the person had not read the recorded proposal.
    pub unseen: OutcomeCounts,
}

/// A timeline that could not be walked to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableTimeline {
    /// Which.
    pub stream: String,
    /// Where it ended, and why.
    pub reason: String,
}

impl Summary {
    pub(crate) fn new(code_version: String, bundle: BundleRef, range: Range) -> Self {
        Self {
            v: 1,
            code_version,
            bundle,
            range,
            looked_at: LookedAt::default(),
            proposals: BTreeMap::new(),
            decisions: DecisionChange::ALL.map(|change| (change, 0)).into(),
            unreadable: Vec::new(),
            files: Vec::new(),
        }
    }

    pub(crate) fn add_proposal(&mut self, line: &ProposalLine) {
        let kind = self.proposals.entry(line.kind).or_default();
        match line.due {
            true => kind.due += 1,
            false => kind.not_due += 1,
        }
        *kind.compared.entry(line.compared).or_default() += 1;
        let Some(recorded) = &line.recorded else {
            return;
        };
        kind.recorded.add(recorded.outcome, recorded.seen);
        if let Some(replayed) = &line.replayed {
            kind.replayed.add(replayed.outcome, recorded.seen);
        }
    }

    pub(crate) fn add_decision(&mut self, line: &DecisionLine) {
        *self.decisions.entry(line.compared).or_default() += 1;
        let seen = &mut self.looked_at;
        seen.attempts += 1;
        seen.first_at = Some(seen.first_at.map_or(line.at, |at| at.min(line.at)));
        seen.last_at = Some(seen.last_at.map_or(line.at, |at| at.max(line.at)));
    }

    pub(crate) fn add_unreadable(&mut self, stream: &str, reason: String) {
        if self.unreadable.len() < MOST_UNREADABLE {
            self.unreadable.push(UnreadableTimeline {
                stream: stream.to_owned(),
                reason,
            });
        }
    }
}

impl Met {
    fn add(&mut self, outcome: Option<PairingOutcome>, seen: bool) {
        let Some(outcome) = outcome else {
            self.open += 1;
            return;
        };
        self.all.add(outcome, 1);
        if !seen {
            self.unseen.add(outcome, 1);
        }
    }
}
