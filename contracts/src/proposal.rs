//! Shadow proposals: what software would have done, why, and how a person's act compares.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    actor::Role,
    approval::Verdict,
    command::Operation,
    event::WaitingFor,
    ids::*,
    schedule::{GeoPoint, TimeWindow, WorkCalendar},
    sla::SlaRecordKey,
    ticket::{InvoiceLine, Part, Priority},
    value::{DetailValue, Slug, TemplateId},
};

/// What a proposal is about.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ProposalKind {
    /// Priority and template of a new ticket.
    Triage,
    /// Who should be sent.
    Technician,
    /// Which window to offer the customer.
    Slot,
    /// When to remind a customer who owes an answer.
    Reminder,
    /// Who should be told that a promise is near its end, or broken.
    Escalation,
    /// Whether a change order should be approved.
    ChangeDecision,
    /// Whether finished work is ready to be verified.
    Closeout,
    /// What to charge.
    InvoiceLines,
}

/// Everything an advisor looks at; stored with the proposal, so the advice can be computed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AdvisorInput {
    /// For [`ProposalKind::Triage`].
    Triage(TriageInput),
    /// For [`ProposalKind::Technician`].
    Technician(TechnicianInput),
    /// For [`ProposalKind::Slot`].
    Slot(SlotInput),
    /// For [`ProposalKind::Reminder`].
    Reminder(ReminderInput),
    /// For [`ProposalKind::Escalation`].
    Escalation(EscalationInput),
    /// For [`ProposalKind::ChangeDecision`].
    ChangeDecision(ChangeInput),
    /// For [`ProposalKind::Closeout`].
    Closeout(CloseoutInput),
    /// For [`ProposalKind::InvoiceLines`].
    InvoiceLines(InvoiceInput),
}

impl AdvisorInput {
    /// What it is about.
    pub const fn kind(&self) -> ProposalKind {
        match self {
            Self::Triage(_) => ProposalKind::Triage,
            Self::Technician(_) => ProposalKind::Technician,
            Self::Slot(_) => ProposalKind::Slot,
            Self::Reminder(_) => ProposalKind::Reminder,
            Self::Escalation(_) => ProposalKind::Escalation,
            Self::ChangeDecision(_) => ProposalKind::ChangeDecision,
            Self::Closeout(_) => ProposalKind::Closeout,
            Self::InvoiceLines(_) => ProposalKind::InvoiceLines,
        }
    }

    /// The ticket's version that was looked at.
    pub const fn version(&self) -> u64 {
        match self {
            Self::Triage(input) => input.version,
            Self::Technician(input) => input.version,
            Self::Slot(input) => input.version,
            Self::Reminder(input) => input.version,
            Self::Escalation(input) => input.version,
            Self::ChangeDecision(input) => input.version,
            Self::Closeout(input) => input.version,
            Self::InvoiceLines(input) => input.version,
        }
    }
}

/// What triage advice is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriageInput {
    /// The ticket's version.
    pub version: u64,
    /// When the facts were read.
    pub at: DateTime<Utc>,
    /// The template it came with.
    pub template: TemplateId,
    /// That template's default.
    pub default_priority: Priority,
    /// The priority it came with.
    pub priority: Priority,
    /// What is known.
    pub details: BTreeMap<Slug, DetailValue>,
    /// What the template wants to be known.
    pub required_details: Vec<Slug>,
}

/// What technician advice is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TechnicianInput {
    /// The ticket's version.
    pub version: u64,
    /// When the facts were read.
    pub at: DateTime<Utc>,
    /// How urgent.
    pub priority: Priority,
    /// Where the work is.
    pub site: GeoPoint,
    /// The confirmed window, if there is one; otherwise "as soon as possible".
    pub window: Option<TimeWindow>,
    /// How long the visit takes.
    pub visit_minutes: u32,
    /// Skills that the template needs.
    pub required_skills: Vec<Slug>,
    /// The nearest running deadline.
    pub due_at: Option<DateTime<Utc>>,
    /// Everybody who could be sent.
    pub candidates: Vec<Candidate>,
}

/// A technician as the advisor sees them: no name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// Who.
    pub technician_id: TechnicianId,
    /// What they can do.
    pub skills: Vec<Slug>,
    /// Where they start from; absent for whoever may not see it. Without it there is no advice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<GeoPoint>,
    /// When they work.
    pub calendar: WorkCalendar,
    /// Windows of visits that they are booked for.
    pub busy: Vec<TimeWindow>,
    /// Windows in which they are away.
    #[serde(default)]
    pub absent: Vec<TimeWindow>,
    /// Visits assigned to them that have not ended.
    pub open_visits: u32,
}

/// What slot advice is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlotInput {
    /// The ticket's version.
    pub version: u64,
    /// When the facts were read.
    pub at: DateTime<Utc>,
    /// How urgent.
    pub priority: Priority,
    /// Where the work is.
    pub site: GeoPoint,
    /// When the office is open.
    pub office: WorkCalendar,
    /// How long the customer needs to be told before.
    pub notice_minutes: u32,
    /// How long the visit takes.
    pub visit_minutes: u32,
    /// Skills that the template needs.
    pub required_skills: Vec<Slug>,
    /// The nearest running deadline.
    pub due_at: Option<DateTime<Utc>>,
    /// The windows to choose from.
    pub windows: Vec<TimeWindow>,
    /// Everybody who could be sent.
    pub candidates: Vec<Candidate>,
}

/// What reminder advice is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReminderInput {
    /// The ticket's version.
    pub version: u64,
    /// When the facts were read.
    pub at: DateTime<Utc>,
    /// How urgent.
    pub priority: Priority,
    /// What is owed: the customer's part, or their answer to the window on offer.
    pub waits_for: WaitingFor,
    /// Who is to be reminded, when anybody is on record.
    pub contact_id: Option<ContactId>,
    /// Since when it is owed.
    pub since: DateTime<Utc>,
    /// The last message to them since then.
    pub last_told_at: Option<DateTime<Utc>>,
    /// When the window on offer begins.
    pub window_starts_at: Option<DateTime<Utc>>,
    /// When the office is open: a customer is left alone for the rest of the time.
    pub office: WorkCalendar,
    /// The moments to choose from.
    pub moments: Vec<DateTime<Utc>>,
}

/// What escalation advice is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EscalationInput {
    /// The ticket's version.
    pub version: u64,
    /// When the facts were read.
    pub at: DateTime<Utc>,
    /// How urgent.
    pub priority: Priority,
    /// What the ticket waits for.
    pub waits_for: WaitingFor,
    /// The warning or breach on record.
    pub record: SlaRecordKey,
    /// When that clock is due.
    pub due_at: DateTime<Utc>,
    /// The next deadline of any running clock after `at`.
    pub next_deadline: Option<DateTime<Utc>>,
    /// Breaches of this ticket on record.
    pub breaches: u32,
    /// When the office is open.
    pub office: WorkCalendar,
}

/// What advice on a change order is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeInput {
    /// The ticket's version.
    pub version: u64,
    /// When the facts were read.
    pub at: DateTime<Utc>,
    /// The approval that waits.
    pub approval_id: ApprovalId,
    /// What is to be done besides.
    pub scope: Slug,
    /// Whether the template's price list has it.
    pub scope_known: bool,
    /// By how much the not-to-exceed amount would rise, in cents.
    pub price_delta_cents: i64,
    /// The not-to-exceed amount now, in cents.
    pub nte_cents: i64,
    /// The one that the template starts with, in cents.
    pub initial_nte_cents: i64,
}

/// What closeout advice is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CloseoutInput {
    /// The ticket's version.
    pub version: u64,
    /// When the facts were read.
    pub at: DateTime<Utc>,
    /// Kinds of evidence that the template wants for finished work.
    pub required: Vec<Slug>,
    /// Kinds of which the file itself must have been seen.
    pub files_demanded: Vec<Slug>,
    /// What was documented.
    pub evidence: Vec<DocumentedFact>,
    /// Whether a change order waits for its decision.
    pub change_open: bool,
    /// Whether the customer has to do something first.
    pub customer_awaited: bool,
}

/// A kind of evidence on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DocumentedFact {
    /// `photo_after`, `signature` …
    pub kind: Slug,
    /// Whether its file was there and had the hash.
    pub verified: bool,
}

/// What invoice advice is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InvoiceInput {
    /// The ticket's version.
    pub version: u64,
    /// When the facts were read.
    pub at: DateTime<Utc>,
    /// The not-to-exceed amount, in cents.
    pub nte_cents: i64,
    /// Price of one trip to the site, in cents.
    pub call_out_cents: i64,
    /// Price of a begun hour of work, in cents.
    pub labour_per_hour_cents: i64,
    /// Prices of parts, in cents.
    pub price_list: BTreeMap<Slug, i64>,
    /// How long a visit takes by plan.
    pub visit_minutes: u32,
    /// The visits that somebody checked in for.
    pub visits: Vec<VisitMade>,
    /// Parts that return visits brought.
    pub parts: Vec<Part>,
    /// Change orders that were approved.
    #[serde(default)]
    pub changes: Vec<ApprovedChange>,
}

/// A change order that was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovedChange {
    /// What was added to the work.
    pub scope: Slug,
    /// By how much the not-to-exceed amount rose, in cents.
    pub price_delta_cents: i64,
}

/// A visit that took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VisitMade {
    /// 1 for the first.
    pub number: u32,
    /// Begun minutes at the site; absent when it is not known when they left.
    pub minutes: Option<u32>,
}

/// What an advisor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// Name and version of the advisor, for example `technician_v1`.
    pub advisor: Slug,
    /// Best first; empty when nothing fits.
    pub ranked: Vec<Ranked>,
    /// What fell out, and why.
    pub excluded: Vec<Excluded>,
}

impl Advice {
    /// What it recommends.
    pub fn best(&self) -> Option<&Choice> {
        self.ranked.first().map(|ranked| &ranked.choice)
    }
}

/// Something that could be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Choice {
    /// Triage so.
    Triage {
        /// Kind of incident.
        template: TemplateId,
        /// How urgent.
        priority: Priority,
    },
    /// Send this technician.
    Dispatch {
        /// Who.
        technician_id: TechnicianId,
        /// When they could be there.
        eta: DateTime<Utc>,
    },
    /// Offer the customer this window.
    ProposeWindow {
        /// The window.
        window: TimeWindow,
    },
    /// Remind the customer.
    Remind {
        /// Of what.
        about: WaitingFor,
        /// Whom.
        contact_id: ContactId,
        /// When.
        at: DateTime<Utc>,
    },
    /// Tell somebody who can still do something about it.
    Escalate {
        /// Whom.
        to: Role,
        /// About which promise.
        about: SlaRecordKey,
        /// The deadline before which the ticket should move on.
        before: Option<DateTime<Utc>>,
    },
    /// Decide the change order so.
    DecideChange {
        /// Yes or no.
        verdict: Verdict,
    },
    /// The work is good: verify it.
    Verify,
    /// The work is not ready.
    Reject {
        /// Why.
        reasons: Vec<Slug>,
    },
    /// Charge this.
    Invoice {
        /// The lines.
        lines: Vec<InvoiceLine>,
    },
}

impl Choice {
    /// What it is a choice about.
    pub const fn kind(&self) -> ProposalKind {
        match self {
            Self::Triage { .. } => ProposalKind::Triage,
            Self::Dispatch { .. } => ProposalKind::Technician,
            Self::ProposeWindow { .. } => ProposalKind::Slot,
            Self::Remind { .. } => ProposalKind::Reminder,
            Self::Escalate { .. } => ProposalKind::Escalation,
            Self::DecideChange { .. } => ProposalKind::ChangeDecision,
            Self::Verify | Self::Reject { .. } => ProposalKind::Closeout,
            Self::Invoice { .. } => ProposalKind::InvoiceLines,
        }
    }
}

/// A choice with its score and the reasons for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ranked {
    /// What to do.
    pub choice: Choice,
    /// Sum of the points; higher is better.
    pub score: i64,
    /// Where the points come from.
    pub factors: Vec<Factor>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Factor {
    /// `travel_minutes`, `sla_slack_minutes`, `open_visits` …
    pub name: Slug,
    /// The fact, in the unit that the name says.
    pub value: i64,
    /// What it counts for.
    pub points: i64,
}

/// A choice that a hard constraint forbids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Excluded {
    /// What was looked at. Flattened: a technician stands here as `"technician_id": …`, as it did
    /// when there were no others.
    #[serde(flatten)]
    pub what: Considered,
    /// Every constraint that failed: `missing_skill_glazing`, `off_shift`, `absent`, `busy` …
    pub failed: Vec<Slug>,
}

/// What fell out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Considered {
    /// A technician.
    TechnicianId(TechnicianId),
    /// A window to offer.
    Window(TimeWindow),
    /// A moment to remind at.
    Moment(DateTime<Utc>),
    /// Somebody to tell.
    Role(Role),
    /// A decision on the change order.
    Verdict(Verdict),
    /// An act: verifying or rejecting.
    Operation(Operation),
    /// A line, as it would have stood on the invoice.
    Line(InvoiceLine),
    /// A part without a price.
    Part(Part),
}

/// How a person's act compares with the proposal.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PairingOutcome {
    /// They did what was recommended.
    Same,
    /// They did one of the ranked alternatives, or what comes to the same (`domain::pairing` says
    /// for each kind what that is). Version 0.1.0 wrote `alternative`.
    #[serde(alias = "alternative")]
    #[strum(to_string = "equivalent", serialize = "alternative")]
    Equivalent,
    /// They did something else.
    Different,
    /// They moved the ticket on without doing anything about it.
    Nothing,
}

/// A recorded proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// Its id.
    pub id: ProposalId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// About what.
    pub kind: ProposalKind,
    /// The ticket's version that it is about.
    pub based_on_version: u64,
    /// SHA-256 of the canonical input.
    pub input_sha256: String,
    /// Everything the advisor looked at.
    pub input: AdvisorInput,
    /// What it says.
    pub advice: Advice,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// What a person did about it.
    pub pairing: Option<Pairing>,
}

/// A proposal met by a person's act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pairing {
    /// The act.
    pub command_id: CommandId,
    /// Who.
    pub actor_id: String,
    /// How they compare.
    pub outcome: PairingOutcome,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether they had read the proposal before they acted.
    #[serde(default)]
    pub seen: bool,
}

/// Which proposals an agreement is counted over; all given ones must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgreementFilter {
    /// Only about this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ProposalKind>,
    /// Recorded at this moment or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Recorded before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
}

/// How far people did what software would have done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Agreement {
    /// One entry per kind, also for those of which there is no proposal.
    pub kinds: Vec<KindAgreement>,
}

/// [`Agreement`] on one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KindAgreement {
    /// About what.
    pub kind: ProposalKind,
    /// Proposals that nobody's act was compared with yet.
    pub open: u64,
    /// All that were.
    pub all: OutcomeCounts,
    /// Those that the person had read before: what they did may have been copied.
    pub seen: OutcomeCounts,
    /// Those that the person had not.
    pub unseen: OutcomeCounts,
}

/// How often acts compared how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeCounts {
    /// [`PairingOutcome::Same`]
    pub same: u64,
    /// [`PairingOutcome::Equivalent`]
    pub equivalent: u64,
    /// [`PairingOutcome::Different`]
    pub different: u64,
    /// [`PairingOutcome::Nothing`]
    pub nothing: u64,
    /// Same and equivalent among the acts, in thousandths; absent while there is no act. Nothing
    /// is no act.
    pub agreement_permille: Option<u32>,
}

impl OutcomeCounts {
    /// Counts so many more of one outcome.
    pub fn add(&mut self, outcome: PairingOutcome, count: u64) {
        let place = match outcome {
            PairingOutcome::Same => &mut self.same,
            PairingOutcome::Equivalent => &mut self.equivalent,
            PairingOutcome::Different => &mut self.different,
            PairingOutcome::Nothing => &mut self.nothing,
        };
        *place += count;
        let agreed = self.same + self.equivalent;
        let acts = agreed + self.different;
        self.agreement_permille = (agreed * 1000)
            .checked_div(acts)
            .and_then(|share| u32::try_from(share).ok());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_of_the_first_version_are_read_and_written_as_they_were() {
        let technician = "tec_00000000000000000000000000000007";
        let advice = json!({
            "advisor": "technician_v1",
            "ranked": [{
                "choice": { "do": "dispatch", "technician_id": technician,
                            "eta": "2026-11-23T08:05:00Z" },
                "score": -15,
                "factors": [{ "name": "travel_minutes", "value": 5, "points": -15 }],
            }],
            "excluded": [{ "technician_id": technician, "failed": ["off_shift", "busy"] }],
        });
        let read: Advice = serde_json::from_value(advice.clone()).unwrap();
        let id = technician.parse().unwrap();
        assert_eq!(read.excluded[0].what, Considered::TechnicianId(id));
        assert_eq!(read.excluded[0].failed.len(), 2);
        assert_eq!(serde_json::to_value(&read).unwrap(), advice);

        let pairing = json!({
            "command_id": "cmd_00000000000000000000000000000001", "actor_id": "person:1",
            "outcome": "alternative", "at": "2026-11-23T08:05:00Z",
        });
        let pairing: Pairing = serde_json::from_value(pairing).unwrap();
        assert_eq!(
            (pairing.outcome, pairing.seen),
            (PairingOutcome::Equivalent, false)
        );
        assert_eq!("alternative".parse(), Ok(PairingOutcome::Equivalent));
    }

    #[test]
    fn whatever_fell_out_is_read_back() {
        let window = TimeWindow {
            start: DateTime::UNIX_EPOCH,
            end: DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(2),
        };
        let line = InvoiceLine {
            item: Slug::new("labour").unwrap(),
            quantity: 2,
            unit_cents: 6_000,
        };
        let part = Part {
            sku: Slug::new("pane").unwrap(),
            quantity: 1,
        };
        for what in [
            Considered::Window(window),
            Considered::Moment(window.start),
            Considered::Role(Role::TenantAdmin),
            Considered::Verdict(Verdict::Approve),
            Considered::Operation(Operation::QaVerify),
            Considered::Line(line),
            Considered::Part(part),
        ] {
            let excluded = Excluded {
                what,
                failed: vec![Slug::new("after_deadline").unwrap()],
            };
            let json = serde_json::to_value(&excluded).unwrap();
            assert_eq!(json.as_object().unwrap().len(), 2, "{json}");
            assert_eq!(serde_json::from_value::<Excluded>(json).unwrap(), excluded);
        }
    }

    #[test]
    fn an_outcome_is_written_with_its_new_word() {
        for outcome in <PairingOutcome as strum::VariantArray>::VARIANTS {
            let word = outcome.to_string();
            assert_eq!(json!(outcome), json!(word));
            assert_eq!(word.parse(), Ok(*outcome));
        }
        assert_eq!(PairingOutcome::Equivalent.to_string(), "equivalent");
    }

    #[test]
    fn agreement_is_a_share_of_the_acts() {
        let mut counts = OutcomeCounts::default();
        counts.add(PairingOutcome::Nothing, 7);
        assert_eq!(counts.agreement_permille, None);
        counts.add(PairingOutcome::Same, 1);
        counts.add(PairingOutcome::Equivalent, 1);
        counts.add(PairingOutcome::Different, 1);
        assert_eq!(counts.agreement_permille, Some(666));
        assert_eq!(counts.nothing, 7);
    }
}
