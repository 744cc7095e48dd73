//! What software would do, and why: pure functions from facts to a ranked, explained advice.
//!
//! All points are integers and every factor is listed, so that a score is the sum of what a person
//! can read next to it. The same input always gives the same advice: the input is stored with the
//! proposal, and the advice can be computed again from it. What a hard constraint forbids is not
//! ranked, it is excluded, and every constraint that it breaks is named.

mod act;
mod arrival;
mod change;
mod closeout;
mod escalation;
mod invoice;
mod reminder;
mod slot;
mod technician;
mod travel;
mod triage;

use contracts::{
    Priority, Slug,
    proposal::{Advice, AdvisorInput, Choice, Factor, Ranked},
};

pub use act::{command_of, is_same_act};
pub use reminder::moments;
pub use slot::{notice_minutes, windows};

/// Advises on whatever the input is about.
pub fn advise(input: &AdvisorInput) -> Advice {
    match input {
        AdvisorInput::Triage(input) => triage::advise(input),
        AdvisorInput::Technician(input) => technician::advise(input),
        AdvisorInput::Slot(input) => slot::advise(input),
        AdvisorInput::Reminder(input) => reminder::advise(input),
        AdvisorInput::Escalation(input) => escalation::advise(input),
        AdvisorInput::ChangeDecision(input) => change::advise(input),
        AdvisorInput::Closeout(input) => closeout::advise(input),
        AdvisorInput::InvoiceLines(input) => invoice::advise(input),
    }
}

/// Office hours bind nobody here: neither those who are sent nor those who are asked.
const fn is_emergency(priority: Priority) -> bool {
    matches!(priority, Priority::P1 | Priority::P2)
}

fn slug(word: &'static str) -> Slug {
    Slug::new(word).expect("a lowercase word from this crate is a slug")
}

/// `missing_skill_glazing`; a name too long for a slug is cut.
fn slug_of(prefix: &'static str, name: &Slug) -> Slug {
    let name: String = format!("{prefix}_{name}").chars().take(64).collect();
    Slug::new(name).expect("a slug behind a lowercase prefix, cut to 64, is a slug")
}

fn factor(name: &'static str, value: i64, points: i64) -> Factor {
    Factor {
        name: slug(name),
        value,
        points,
    }
}

fn ranked(choice: Choice, factors: Vec<Factor>) -> Ranked {
    Ranked {
        choice,
        score: factors.iter().map(|factor| factor.points).sum(),
        factors,
    }
}

#[cfg(test)]
mod properties;
