//! What software would do, and why: pure functions from facts to a ranked, explained advice.
//!
//! All points are integers and every factor is listed, so that a score is the sum of what a person
//! can read next to it. The same input always gives the same advice: the input is stored with the
//! proposal, and the advice can be computed again from it.

mod slot;
mod technician;
mod travel;
mod triage;

use contracts::{
    Slug,
    proposal::{Advice, AdvisorInput, Factor},
};

/// Advises on whatever the input is about.
pub fn advise(input: &AdvisorInput) -> Advice {
    match input {
        AdvisorInput::Triage(input) => triage::advise(input),
        AdvisorInput::Technician(input) => technician::advise(input),
    }
}

fn slug(word: &'static str) -> Slug {
    Slug::new(word).expect("a lowercase word from this crate is a slug")
}

fn factor(name: &'static str, value: i64, points: i64) -> Factor {
    Factor {
        name: slug(name),
        value,
        points,
    }
}
