//! What happened so far: written by every story, read by the live lines and the end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contracts::{CommandId, ErrorCode, Operation, TemplateId, TicketId, TicketState};
use serde::Serialize;

use super::plan::{Branch, Plot, Twist};

/// Something that was not answered as it must be.
#[derive(Debug, Clone, Serialize)]
pub struct Unexpected {
    /// The story's number.
    pub story: u32,
    /// Its sort.
    pub plot: Plot,
    /// Its ticket.
    pub ticket: Option<TicketId>,
    /// Position of the act in the story, from 0.
    pub step: usize,
    /// What was sent.
    pub operation: Option<Operation>,
    /// What was special about it.
    pub twist: Option<Twist>,
    /// The code of the refusal, if it was one.
    pub code: Option<ErrorCode>,
    /// What had to be answered and what was.
    pub what: String,
}

/// Counts.
#[derive(Debug, Default, Clone)]
pub struct Counts {
    /// Stories that began, and that ended.
    pub begun: u32,
    /// Stories that were played to their end.
    pub ended: u32,
    /// Requests that were answered.
    pub requests: u64,
    /// Commands that took effect.
    pub done: u64,
    /// Refusals that had to be.
    pub refused: u64,
    /// The same sent again: the same answer.
    pub repeated: u64,
    /// Reads and dry runs.
    pub asked: u64,
    /// By operation, those that took effect.
    pub operations: BTreeMap<Operation, u64>,
    /// By code, the refusals that had to be.
    pub codes: BTreeMap<ErrorCode, u64>,
    /// By what was special.
    pub twists: BTreeMap<Twist, u64>,
    /// By how a message was placed.
    pub branches: HashMap<Branch, u64>,
    /// Stories by their sort.
    pub plots: BTreeMap<Plot, u32>,
    /// Not answered as it must be.
    pub unexpected: Vec<Unexpected>,
    /// Each ticket, as last heard of.
    pub tickets: HashMap<TicketId, Heard>,
    /// How long each request took, in microseconds.
    pub micros: Vec<u32>,
}

/// A ticket, as last heard of.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Its state.
    pub state: TicketState,
    /// Its template.
    pub template: TemplateId,
    /// The commands whose success was told.
    pub told: BTreeSet<CommandId>,
}

/// Shared by all stories.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

impl Tally {
    /// To count.
    pub fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it is now.
    pub fn read(&self) -> Counts {
        self.lock().clone()
    }
}

impl Counts {
    /// An answer came.
    pub fn answered(&mut self, within: Duration) {
        self.requests += 1;
        self.micros
            .push(u32::try_from(within.as_micros()).unwrap_or(u32::MAX));
    }

    /// How many tickets are in each state.
    pub fn states(&self) -> BTreeMap<TicketState, usize> {
        let mut states = BTreeMap::new();
        for heard in self.tickets.values() {
            *states.entry(heard.state).or_default() += 1;
        }
        states
    }

    /// How many tickets have not ended.
    pub fn open(&self) -> usize {
        let open = self
            .tickets
            .values()
            .filter(|heard| !heard.state.is_terminal());
        open.count()
    }

    /// The time within which this share of the requests was answered.
    pub fn within(&self, share: f64) -> Duration {
        let mut micros = self.micros.clone();
        micros.sort_unstable();
        // Any index near the share will do; an empty day has none.
        let index = (micros.len().saturating_sub(1)) as f64 * share;
        let micros = micros.get(index as usize).copied().unwrap_or_default();
        Duration::from_micros(micros.into())
    }
}
