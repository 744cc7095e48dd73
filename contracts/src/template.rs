//! Incident templates: data of the policy bundle that says what a kind of job needs.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    sla::ClockCalendar,
    ticket::{Priority, TicketState},
    value::{DetailValue, Slug, TemplateId},
};

/// A kind of job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IncidentTemplate {
    /// Its name in commands.
    pub id: TemplateId,
    /// Its name for people.
    pub title: String,
    /// The priority of a ticket that came without one.
    pub default_priority: Priority,
    /// The details that may be given, and what each may be. Details are kept for ever in audit rows
    /// and events, so what is not listed is refused: a free key would take anybody's name.
    #[serde(default)]
    pub known_details: BTreeMap<Slug, DetailKind>,
    /// Details that must be known before triage is done; each is one of `known_details`.
    #[serde(default)]
    pub required_details: Vec<Slug>,
    /// Skills that a technician needs.
    #[serde(default)]
    pub required_skills: Vec<Slug>,
    /// Kinds of evidence that a step needs: operation id → kinds.
    #[serde(default)]
    pub evidence: BTreeMap<String, Vec<Slug>>,
    /// Of these, the kinds that count only once their file was there and had its hash.
    #[serde(default)]
    pub verified_evidence: Vec<Slug>,
    /// Priorities at which a technician may be sent without a scheduled window.
    #[serde(default)]
    pub direct_dispatch: Vec<Priority>,
    /// Initial not-to-exceed amount in cents.
    pub nte_cents: i64,
    /// Price of one trip to the site in cents; advice on an invoice starts from it.
    #[serde(default)]
    pub call_out_cents: i64,
    /// Price of a begun hour of work in cents.
    #[serde(default)]
    pub labour_per_hour_cents: i64,
    /// Prices of parts and of additional work, in cents.
    #[serde(default)]
    pub price_list: BTreeMap<Slug, i64>,
    /// How long after verification a ticket may be reopened.
    pub reopen_window_hours: u32,
    /// How long one visit takes, for planning.
    pub visit_minutes: u32,
    /// The promises.
    pub clocks: Vec<ClockDefinition>,
}

/// What a detail may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DetailKind {
    /// Yes or no.
    Flag,
    /// A count or a measure from 0 on.
    Number {
        /// The greatest that makes sense; a telephone number does not.
        max: u32,
    },
    /// One of these words.
    Word {
        /// At least one.
        one_of: BTreeSet<Slug>,
    },
}

impl DetailKind {
    /// Whether the value is one of its own.
    pub fn admits(&self, value: &DetailValue) -> bool {
        match (self, value) {
            (Self::Flag, DetailValue::Flag(_)) => true,
            (Self::Number { max }, DetailValue::Number(number)) => {
                (0..=i64::from(*max)).contains(number)
            }
            (Self::Word { one_of }, DetailValue::Word(word)) => one_of.contains(word),
            _ => false,
        }
    }
}

/// One promise of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockDefinition {
    /// `response`, `make_safe`, `completion` …
    pub name: Slug,
    /// Which hours count.
    pub calendar: ClockCalendar,
    /// Promised minutes per priority; a priority without an entry has no such clock.
    pub minutes: BTreeMap<Priority, u32>,
    /// The clock stops when the ticket enters one of these states.
    pub stops_at: Vec<TicketState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_of_its_kind_and_in_its_range() {
        let kind = |text| serde_json::from_str::<DetailKind>(text).unwrap();
        let word = |text| DetailValue::Word(Slug::new(text).unwrap());
        let number = kind(r#"{"number":{"max":9}}"#);
        for (value, good) in [(0, true), (9, true), (10, false), (-1, false)] {
            assert_eq!(number.admits(&DetailValue::Number(value)), good, "{value}");
        }
        let door = kind(r#"{"word":{"one_of":["sliding"]}}"#);
        assert!(door.admits(&word("sliding")));
        assert!(!door.admits(&word("anna_jansen")));
        assert!(kind(r#""flag""#).admits(&DetailValue::Flag(false)));
        assert!(!kind(r#""flag""#).admits(&DetailValue::Number(1)));
        assert!(serde_json::from_str::<DetailKind>(r#"{"number":{"max":9,"min":1}}"#).is_err());
    }
}
