//! Incident templates: data of the policy bundle that says what a kind of job needs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    sla::ClockCalendar,
    ticket::{Priority, TicketState},
    value::{Slug, TemplateId},
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
    /// Details that must be known before triage is done.
    #[serde(default)]
    pub required_details: Vec<Slug>,
    /// Skills that a technician needs.
    #[serde(default)]
    pub required_skills: Vec<Slug>,
    /// Kinds of evidence that a step needs: operation id → kinds.
    #[serde(default)]
    pub evidence: BTreeMap<String, Vec<Slug>>,
    /// Priorities at which a technician may be sent without a scheduled window.
    #[serde(default)]
    pub direct_dispatch: Vec<Priority>,
    /// Initial not-to-exceed amount in cents.
    pub nte_cents: i64,
    /// How long after verification a ticket may be reopened.
    pub reopen_window_hours: u32,
    /// How long one visit takes, for planning.
    pub visit_minutes: u32,
    /// The promises.
    pub clocks: Vec<ClockDefinition>,
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
