//! What a day came to: for programs as JSON, for people as text.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use contracts::{ErrorCode, Operation, proposal::ProposalKind};
use serde::Serialize;
use strum::VariantArray;

use super::{
    Day,
    messages::Messages,
    plan::{self, Branch, Plot, Transition, Twist},
    settle::{Difference, Settled},
    tally::{Counts, Unexpected},
};

const WIDTH: usize = 100;
/// Failures and differences that are shown to people; programs get all.
const SHOWN: usize = 20;

/// All of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Nothing unexpected, nothing that differs, no message given up.
    pub ok: bool,
    /// Gives the same day again.
    pub seed: u64,
    /// As it was asked for.
    pub count: u32,
    /// As it was asked for.
    pub speed: String,
    /// Real time.
    pub seconds: f64,
    /// Stories begun.
    pub stories: u32,
    /// Tickets opened.
    pub tickets: usize,
    /// Requests answered.
    pub requests: u64,
    /// Requests per second.
    pub requests_per_second: f64,
    /// Half of them were answered within so many milliseconds.
    pub p50_ms: f64,
    /// Of a hundred, 99 were answered within so many milliseconds.
    pub p99_ms: f64,
    /// Commands that took effect.
    pub done: u64,
    /// Refusals that had to be.
    pub refused_as_expected: u64,
    /// Sent again, answered the same.
    pub repeated: u64,
    /// Reads and dry runs.
    pub asked: u64,
    /// Tickets by state.
    pub states: BTreeMap<String, usize>,
    /// Stories by sort.
    pub plots: BTreeMap<Plot, u32>,
    /// What was used of what there is.
    pub coverage: Coverage,
    /// What was not answered as it must be.
    pub failures: Vec<Unexpected>,
    /// What became of the messages that went out.
    pub messages: Messages,
    /// What the records say.
    pub records: Settled,
}

/// What was used of what there is.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// Incident templates.
    pub templates: Share,
    /// Cells of the state table, by the records.
    pub transitions: Share,
    /// What the tickets' workflows did, which nobody can plan.
    pub by_workflows: BTreeMap<String, u64>,
    /// Commands.
    pub commands: Share,
    /// Kinds of proposals, by the records. Fast days pass too soon for some; `escalation` needs a
    /// real SLA clock to run low.
    pub proposal_kinds: Share,
    /// Refusals. Those that are never met tell of faults, of limits, or of callers that are no
    /// typed client.
    pub codes: Share,
    /// Wrong input and repetitions.
    pub twists: Share,
    /// Ways in which messages are placed.
    pub routing: Share,
}

/// How much of a closed list was used.
#[derive(Debug, Serialize)]
pub struct Share {
    /// How often each.
    pub used: BTreeMap<String, u64>,
    /// Those that never were.
    pub not_met: Vec<String>,
}

impl Share {
    fn of<K: ToString>(all: impl IntoIterator<Item = K>, used: impl Fn(&K) -> u64) -> Self {
        let (mut met, mut not_met) = (BTreeMap::new(), Vec::new());
        for key in all {
            match used(&key) {
                0 => not_met.push(key.to_string()),
                times => {
                    met.insert(key.to_string(), times);
                }
            }
        }
        Self { used: met, not_met }
    }

    fn all(&self) -> usize {
        self.used.len() + self.not_met.len()
    }
}

impl Outcome {
    /// From what was counted and what is on record.
    pub fn new(
        day: &Day,
        counts: Counts,
        records: Settled,
        messages: Messages,
        elapsed: Duration,
    ) -> Self {
        let coverage = Coverage::new(day, &counts, &records);
        let seconds = elapsed.as_secs_f64();
        Self {
            ok: counts.unexpected.is_empty()
                && records.differences.is_empty()
                && messages.failed.is_empty(),
            seed: day.seed,
            count: day.count,
            speed: day.speed.to_string(),
            seconds,
            stories: counts.begun,
            tickets: counts.tickets.len(),
            requests: counts.requests,
            requests_per_second: counts.requests as f64 / seconds.max(0.001),
            p50_ms: counts.within(0.5).as_secs_f64() * 1e3,
            p99_ms: counts.within(0.99).as_secs_f64() * 1e3,
            done: counts.done,
            refused_as_expected: counts.refused,
            repeated: counts.repeated,
            asked: counts.asked,
            states: counts
                .states()
                .iter()
                .map(|(state, n)| (state.to_string(), *n))
                .collect(),
            plots: counts.plots,
            coverage,
            failures: counts.unexpected,
            messages,
            records,
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            let _ = writeln!(text, "{line}");
        };
        line(format!(
            "\nA day of {} tickets in {:.1} s (seed {}, speed {})\n",
            self.tickets, self.seconds, self.seed, self.speed
        ));
        let requests = format!(
            "{} ({:.0}/s; p50 {:.0} ms, p99 {:.0} ms): {} done, {} refused as expected, {} repeated, \
             {} asked",
            self.requests,
            self.requests_per_second,
            self.p50_ms,
            self.p99_ms,
            self.done,
            self.refused_as_expected,
            self.repeated,
            self.asked
        );
        line(wrapped(&format!("  {:<16}", "requests"), &requests));
        line(list("states", &self.states));
        line(list("stories", &self.plots));
        line(wrapped(
            &format!("  {:<16}", "messages out"),
            &self.messages.text(),
        ));
        let coverage = &self.coverage;
        line("\nUsed of what there is".into());
        for (name, part) in [
            ("templates", &coverage.templates),
            ("transitions", &coverage.transitions),
            ("commands", &coverage.commands),
            ("slips", &coverage.twists),
            ("routing", &coverage.routing),
            ("proposal kinds", &coverage.proposal_kinds),
            ("error codes", &coverage.codes),
        ] {
            let share = format!("  {name:<16} {} of {}", part.used.len(), part.all());
            if part.not_met.is_empty() {
                line(share);
            } else {
                line(wrapped(
                    &format!("{share}; not met:"),
                    &part.not_met.join(", "),
                ));
            }
        }
        line(list("by workflows", &coverage.by_workflows));
        line("\nWhat software proposed, and what people did about it".into());
        for (kind, outcomes) in &self.records.proposals {
            line(list(kind, outcomes));
        }
        for failure in self.failures.iter().take(SHOWN) {
            let ticket = failure
                .ticket
                .map_or("no ticket".into(), |ticket| ticket.to_string());
            let what = failure
                .operation
                .map_or("look".into(), |operation| operation.to_string());
            let twist = failure
                .twist
                .map_or(String::new(), |twist| format!(" ({twist})"));
            line(wrapped(
                "FAILED ",
                &format!(
                    "{ticket}, story {} ({}), step {}, {what}{twist}: {}",
                    failure.story, failure.plot, failure.step, failure.what
                ),
            ));
        }
        for message in self.messages.failed.iter().take(SHOWN) {
            line(wrapped("NOT SENT", message));
        }
        for Difference { ticket, what } in self.records.differences.iter().take(SHOWN) {
            line(wrapped("DIFFERS", &format!("{ticket}: {what}")));
        }
        let records = &self.records;
        line(format!(
            "\n{} tickets, {} attempts on record, {} workflows know what the database knows ({} of them \
             run on): {}",
            records.tickets,
            records.attempts,
            records.workflows,
            records.open,
            match (
                self.failures.len(),
                records.differences.len(),
                self.messages.failed.len()
            ) {
                (0, 0, 0) => "all as it must be".to_owned(),
                (failures, differences, failed) => format!(
                    "{failures} failures, {differences} differences, {failed} messages failed"
                ),
            }
        ));
        text
    }
}

impl Coverage {
    fn new(day: &Day, counts: &Counts, records: &Settled) -> Self {
        let templates = day.templates.iter().map(|template| template.id.clone());
        let transitions = Transition::all();
        let foreign = records
            .transitions
            .iter()
            .filter(|(transition, _)| !transitions.contains(transition));
        Self {
            templates: Share::of(templates, |id| {
                let tickets = counts
                    .tickets
                    .values()
                    .filter(|heard| heard.template == *id);
                tickets.count() as u64
            }),
            by_workflows: foreign
                .map(|(transition, n)| (transition.to_string(), *n))
                .collect(),
            transitions: Share::of(transitions, |transition| {
                records
                    .transitions
                    .get(transition)
                    .copied()
                    .unwrap_or_default()
            }),
            commands: Share::of(plan::operations(), |operation: &Operation| {
                counts
                    .operations
                    .get(operation)
                    .copied()
                    .unwrap_or_default()
            }),
            proposal_kinds: Share::of(ProposalKind::VARIANTS.iter().copied(), |kind| {
                let outcomes = records.proposals.get(&kind.to_string());
                outcomes.map_or(0, |outcomes| outcomes.values().sum())
            }),
            codes: Share::of(ErrorCode::VARIANTS.iter().copied(), |code| {
                counts.codes.get(code).copied().unwrap_or_default()
            }),
            twists: Share::of(Twist::VARIANTS.iter().copied(), |twist| {
                counts.twists.get(twist).copied().unwrap_or_default()
            }),
            routing: Share::of(Branch::all(), |branch| {
                counts.branches.get(branch).copied().unwrap_or_default()
            }),
        }
    }
}

/// `  name       a 1, b 2`, in lines that fit.
fn list<K: ToString, V: ToString>(name: &str, counts: &BTreeMap<K, V>) -> String {
    let counts: Vec<_> = counts
        .iter()
        .map(|(what, times)| format!("{} {}", what.to_string(), times.to_string()))
        .collect();
    wrapped(&format!("  {name:<16}"), &counts.join(", "))
}

fn wrapped(head: &str, body: &str) -> String {
    let mut text = head.to_owned();
    let mut column = head.chars().count();
    for word in body.split(' ') {
        let length = word.chars().count() + 1;
        if column + length > WIDTH {
            text.push_str("\n                  ");
            column = 18;
        }
        text.push(' ');
        text.push_str(word);
        column += length;
    }
    text
}
