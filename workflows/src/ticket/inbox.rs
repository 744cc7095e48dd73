//! Puts the ticket's events in order, each once, and knows when they cannot be trusted.
//!
//! Delivery is at least once and may be reordered; a database may be set back to an earlier copy.
//! The inbox applies events in `seq` order, drops what it has, keeps what comes early, and asks for
//! a snapshot of the truth when something is wrong. Two rules make a snapshot safe:
//!
//! - The buffer is emptied when the snapshot is *asked for*. Whatever was delivered before was
//!   committed before, so the truth read afterwards either holds it or knows nothing of it.
//! - From asking until adopting, events are only kept. One that was committed after the snapshot
//!   was read is then still there to be applied on top of it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    EventId,
    event::TicketLevel,
    signal::{SignalEnvelope, SignalEvent, TicketSnapshot},
};
use serde::{Deserialize, Serialize};

use crate::activity::Cause;

/// How long a missing event may take before the truth is read instead.
pub const GAP_PATIENCE: TimeDelta = TimeDelta::seconds(10);
/// How many early events are kept at most.
pub const BUFFER_LIMIT: usize = 100;
/// Of how many applied events the ids are remembered.
pub const REMEMBERED: u64 = 64;

/// Why the truth has to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Distrust {
    /// Nothing is known yet and the first event is not the ticket's first, or there was none.
    Start,
    /// An event is missing for too long.
    Gap,
    /// The database was set back and says so.
    Epoch,
    /// The same `seq` came with another event: the database was set back and does not say so.
    Fork,
    /// dispatch-api knows less than we do: the database was set back.
    Ahead,
    /// Somebody asked for it.
    Resync,
    /// An event came whose level this build cannot read.
    Unreadable,
    /// More early events than are kept.
    Overflow,
}

/// The ordered end of the event stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inbox {
    /// Epoch of the database that is followed.
    pub epoch: u64,
    /// The last event applied.
    pub applied_seq: u64,
    /// The ticket after it; `None` while nothing is known.
    pub level: Option<TicketLevel>,
    /// Conversation and trace of the newest event.
    pub cause: Option<Cause>,
    /// How many snapshots were adopted.
    pub healed: u32,
    /// Set while a snapshot is wanted.
    pub distrust: Option<Distrust>,
    early: BTreeMap<u64, SignalEvent>,
    recent: BTreeMap<u64, EventId>,
    gap_since: Option<DateTime<Utc>>,
    overflowed: bool,
}

impl Inbox {
    /// An inbox that knows nothing yet.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    /// `seq` of the events kept back.
    pub fn early(&self) -> impl Iterator<Item = u64> {
        self.early.keys().copied()
    }

    /// Takes what the relay sent. Events of an earlier epoch are of a history that is no more.
    pub fn receive(&mut self, envelope: SignalEnvelope, now: DateTime<Utc>) {
        if envelope.resync {
            self.doubt(Distrust::Resync);
        }
        if envelope.epoch < self.epoch {
            return;
        }
        if envelope.epoch > self.epoch {
            self.epoch = envelope.epoch;
            self.early.clear();
            self.recent.clear();
            self.doubt(Distrust::Epoch);
        }
        for event in envelope.events {
            self.keep(event);
        }
        self.apply(now);
    }

    /// Asks for a snapshot, unless one is asked for already.
    pub fn doubt(&mut self, reason: Distrust) {
        self.distrust.get_or_insert(reason);
    }

    /// Whether the truth has to be read at this moment.
    pub fn must_heal(&mut self, now: DateTime<Utc>) -> bool {
        if self.gap_expires().is_some_and(|at| at <= now) {
            self.doubt(Distrust::Gap);
        }
        if self.level.is_none() {
            self.doubt(Distrust::Start);
        }
        self.distrust.is_some()
    }

    /// When a missing event will have taken too long.
    pub fn gap_expires(&self) -> Option<DateTime<Utc>> {
        self.gap_since.map(|since| since + GAP_PATIENCE)
    }

    /// The truth is about to be read: what came before needs no keeping.
    pub fn ask(&mut self) {
        self.early.clear();
        self.gap_since = None;
        self.overflowed = false;
    }

    /// Adopts the truth. The database is always right, also when it knows less.
    pub fn adopt(&mut self, snapshot: TicketSnapshot, now: DateTime<Utc>) {
        // What came meanwhile from another epoch may be of a history that is no more: once again.
        let torn = snapshot.epoch != self.epoch && !self.early.is_empty();
        if torn {
            self.early.clear();
        }
        self.epoch = snapshot.epoch;
        self.applied_seq = snapshot.head_seq;
        self.level = Some(snapshot.level);
        self.recent.clear();
        self.recent
            .extend(snapshot.head_event_id.map(|id| (snapshot.head_seq, id)));
        self.early.retain(|seq, _| *seq > snapshot.head_seq);
        self.gap_since = None;
        self.distrust = if torn {
            Some(Distrust::Epoch)
        } else {
            std::mem::take(&mut self.overflowed).then_some(Distrust::Overflow)
        };
        self.healed += 1;
        self.apply(now);
    }

    fn keep(&mut self, event: SignalEvent) {
        if event.seq <= self.applied_seq {
            // Below a snapshot's head the ids are not known. Rather one snapshot too many for a
            // late duplicate than one too few after the database was set back.
            let same = match self.recent.get(&event.seq) {
                Some(id) => *id == event.event_id,
                None => self.applied_seq - event.seq >= REMEMBERED,
            };
            if !same {
                self.doubt(Distrust::Fork);
            }
            return;
        }
        match self.early.get(&event.seq) {
            Some(kept) if kept.event_id == event.event_id => return,
            Some(_) => self.doubt(Distrust::Fork),
            None => {}
        }
        self.cause = Some(Cause {
            correlation_id: event.correlation_id.clone(),
            trace: event.trace.clone(),
        });
        self.early.insert(event.seq, event);
        if self.early.len() > BUFFER_LIMIT {
            self.early.pop_last();
            self.overflowed = true;
            self.doubt(Distrust::Overflow);
        }
    }

    fn apply(&mut self, now: DateTime<Utc>) {
        let before = self.applied_seq;
        while self.distrust.is_none()
            && let Some(first) = self.early.first_entry()
        {
            if *first.key() != self.applied_seq + 1 {
                if self.level.is_none() {
                    self.doubt(Distrust::Start);
                }
                break;
            }
            let event = first.remove();
            self.applied_seq = event.seq;
            self.recent.insert(event.seq, event.event_id);
            self.recent.retain(|seq, _| event.seq - seq < REMEMBERED);
            match event.level {
                Some(level) => self.level = Some(level),
                None => self.doubt(Distrust::Unreadable),
            }
        }
        if self.early.is_empty() || self.distrust.is_some() {
            self.gap_since = None;
        } else if self.applied_seq > before || self.gap_since.is_none() {
            self.gap_since = Some(now);
        }
    }
}
