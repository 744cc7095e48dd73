//! Tells one story: adds act after act and knows, by the state table, where each leads.
//!
//! Here is also where people slip: now and then an act is tried wrongly first, or sent twice, and
//! the story knows what must be answered to that.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    ErrorCode, Operation, Priority, TicketState,
    approval::Verdict,
    comms::HoldReason,
    template::{DetailKind, IncidentTemplate},
    value::{DetailValue, Slug, TemplateId},
};
use domain::ticket::table::next_state;
use rand::{Rng, RngExt, rngs::StdRng, seq::IndexedRandom};
use strum::VariantArray;

use super::plan::*;

/// Of a hundred acts, how many are tried wrongly first.
const SLIPS: u32 = 14;
/// How many technicians are seeded.
const SEEDED_CREW: usize = 4;

/// What the stories told so far have used.
#[derive(Debug, Default)]
pub struct Used {
    /// Cells of the state table.
    pub transitions: BTreeSet<Transition>,
    /// How often each slip was made.
    pub twists: BTreeMap<Twist, u32>,
}

/// One ticket of a story.
#[derive(Debug, Clone)]
struct Thread {
    state: Option<TicketState>,
    template: TemplateId,
    priority: Priority,
    knows_details: bool,
    crew: Option<Crew>,
    /// Evidence for the end of the work was given: it counts from then on.
    documented: bool,
}

/// A story that is being told.
#[derive(Debug)]
pub struct Tale<'a> {
    rng: &'a mut StdRng,
    used: &'a mut Used,
    templates: &'a [IncidentTemplate],
    story: Story,
    threads: [Thread; 2],
    slot: usize,
    messages: u32,
    slips: bool,
}

impl<'a> Tale<'a> {
    /// Nothing told yet.
    pub fn new(
        rng: &'a mut StdRng,
        used: &'a mut Used,
        templates: &'a [IncidentTemplate],
        template: &IncidentTemplate,
        story: Story,
    ) -> Self {
        let thread = Thread {
            state: None,
            template: template.id.clone(),
            priority: template.default_priority,
            knows_details: false,
            crew: None,
            documented: false,
        };
        Self {
            rng,
            used,
            templates,
            story,
            threads: [thread.clone(), thread],
            slot: 0,
            messages: 0,
            slips: true,
        }
    }

    /// The story, told.
    pub fn end(self) -> Story {
        self.story
    }

    /// Draws.
    pub fn rng(&mut self) -> &mut StdRng {
        self.rng
    }

    /// What was used so far.
    pub fn used(&self) -> &Used {
        self.used
    }

    /// How many acts were told.
    pub fn length(&self) -> usize {
        self.story.acts.len()
    }

    /// Where the ticket at hand is; `NEW` before it is opened.
    pub fn state(&self) -> TicketState {
        self.thread().state.unwrap_or(TicketState::New)
    }

    /// Whether that ticket was opened and has not ended.
    pub fn is_open(&self, slot: usize) -> bool {
        let state = self.threads[slot].state;
        state.is_some_and(|state| !state.is_terminal())
    }

    /// Which of the two tickets is told of.
    pub fn turn_to(&mut self, slot: usize) {
        self.slot = slot;
    }

    /// Nobody slips from here on.
    pub fn without_slips(&mut self) {
        self.slips = false;
    }

    fn thread(&self) -> &Thread {
        &self.threads[self.slot]
    }

    fn thread_mut(&mut self) -> &mut Thread {
        &mut self.threads[self.slot]
    }

    /// The kind of job.
    pub fn template(&self) -> &'a IncidentTemplate {
        let id = &self.thread().template;
        let found = self.templates.iter().find(|template| template.id == *id);
        found.expect("a tale is told with templates of the bundle")
    }

    /// A ticket opened by a call, with a customer on record when the story has one.
    pub fn open(&mut self) {
        let by = if self.rng.random_ratio(2, 3) {
            By::Intake
        } else {
            By::Dispatcher
        };
        let template = self.template();
        let details = if self.rng.random_bool(0.5) {
            details(self.rng, template)
        } else {
            Vec::new()
        };
        self.thread_mut().knows_details = !details.is_empty();
        let template = template.id.clone();
        let after = self.pause(1, 5);
        self.act(after, by, Deed::Create { template, details });
    }

    /// A site, a thing and a contact of the story's own, so that its messages are nobody else's.
    pub fn customer(&mut self) {
        let by = By::Dispatcher;
        self.filing(by, Deed::WriteSite);
        self.filing(by, Deed::WriteAsset);
        self.filing(by, Deed::WriteContact { settled: true });
    }

    /// Something that is not about a ticket.
    pub fn filing(&mut self, by: By, deed: Deed) {
        let after = self.pause(0, 2);
        self.push(after, by, deed, None, Expect::Filed);
    }

    /// A message, and where it must end up.
    pub fn message(&mut self, from: Peer, branch: Branch) {
        if branch != Branch::Duplicate {
            self.messages += 1;
        }
        let template = self.thread().template.clone();
        let number = self.messages;
        let deed = Deed::MessageIn {
            number,
            from,
            template,
        };
        let after = self.pause(1, 10);
        match branch {
            Branch::Created => {
                self.thread_mut().state = Some(TicketState::New);
                self.story.tickets += 1;
                self.used.transitions.insert(Transition {
                    from: None,
                    operation: Operation::CommsInbound,
                    to: TicketState::New,
                });
            }
            Branch::Attached => {
                let state = self.state();
                self.used.transitions.insert(Transition {
                    from: Some(state),
                    operation: Operation::CommsInbound,
                    to: state,
                });
            }
            Branch::Duplicate | Branch::Held(_) => {}
        }
        self.push(after, By::Intake, deed, None, Expect::Routed(branch));
    }

    /// Does a command for which nothing has to be said but what it is; for those that are prepared
    /// by others, these too.
    pub fn does(&mut self, operation: Operation) {
        let after = self.usual_pause(operation);
        match operation {
            Operation::Triage => self.triage(None, false),
            Operation::Dispatch => self.dispatch(None),
            Operation::ProposeSchedule => {
                let hours = self.rng.random_range(1..=48);
                self.act(after, By::Dispatcher, Deed::ProposeSchedule { hours });
            }
            Operation::Reschedule => {
                let hours = self.rng.random_range(4..=72);
                self.act(after, By::Dispatcher, Deed::Reschedule { hours });
            }
            Operation::ConfirmSchedule => {
                let by = self.office();
                self.act(after, by, Deed::ConfirmSchedule);
            }
            Operation::Unassign => self.act(after, By::Dispatcher, Deed::Unassign),
            Operation::EnRoute => self.as_technician(after, Deed::EnRoute),
            Operation::CheckIn => self.as_technician(after, Deed::CheckIn),
            Operation::NoAccess => self.as_technician(after, Deed::NoAccess),
            Operation::RequestChange => {
                let cents = self.rng.random_range(50..=600) * 100;
                self.as_technician(after, Deed::RequestChange { cents });
            }
            Operation::DecideApproval => {
                let verdict = if self.rng.random_ratio(2, 3) {
                    Verdict::Approve
                } else {
                    Verdict::Reject
                };
                self.decide(verdict);
            }
            Operation::ReturnVisit => {
                let evidence = self.evidence_for(operation);
                self.as_technician(after, Deed::ReturnVisit { evidence });
            }
            Operation::Complete => {
                let evidence = self.evidence_for(operation);
                self.as_technician(after, Deed::Complete { evidence });
                self.thread_mut().documented = true;
            }
            Operation::QaVerify => self.act(after, By::Qa, Deed::QaVerify),
            Operation::QaReject => self.act(after, By::Qa, Deed::QaReject),
            Operation::GenerateInvoice => {
                let labour = self.rng.random_range(1..=4);
                self.act(after, By::Billing, Deed::GenerateInvoice { labour });
            }
            Operation::Close => {
                let charged = self.state() == TicketState::Invoiced;
                self.act(after, By::Billing, Deed::Close { charged });
            }
            Operation::Reopen => {
                let by = self.office();
                self.act(after, by, Deed::Reopen);
            }
            Operation::Cancel => {
                let by = self.office();
                self.act(after, by, Deed::Cancel);
            }
            Operation::Merge => self.merge(),
            Operation::CustomerAwait | Operation::CustomerResume => {
                let by = self.office();
                self.act(after, by, Deed::CustomerAwait);
                self.act(after, by, Deed::CustomerResume);
            }
            Operation::AddNote => {
                let by = self.someone();
                self.act(after, by, Deed::AddNote);
            }
            Operation::AddEvidence => {
                let by = if self.rng.random_bool(0.5) {
                    By::Dispatcher
                } else {
                    By::Qa
                };
                self.act(after, by, Deed::AddEvidence);
            }
            Operation::CommsOutbound => {
                let by = self.office();
                self.act(after, by, Deed::MessageOut);
            }
            Operation::CommsInbound => self.message(Peer::Settled, Branch::Attached),
            Operation::AttachMessage => {
                self.message(Peer::Stranger, Branch::Held(HoldReason::UnknownPeer));
                self.attach();
            }
            _ => {
                unreachable!("{operation} is no step of a ticket that is told by its name alone")
            }
        }
    }

    /// Sets priority and template; `direct`: to a priority at which a technician goes at once.
    pub fn triage(&mut self, to: Option<&IncidentTemplate>, direct: bool) {
        if let Some(template) = to {
            let thread = self.thread_mut();
            thread.template = template.id.clone();
            thread.knows_details = false;
        }
        let template = self.template();
        let usual = template.default_priority;
        let priority = match template.direct_dispatch.choose(self.rng) {
            Some(priority) if direct => *priority,
            _ if self.rng.random_ratio(2, 3) => usual,
            _ => *Priority::VARIANTS.choose(self.rng).expect("there are four"),
        };
        let given = if self.thread().knows_details {
            Vec::new()
        } else {
            details(self.rng, template)
        };
        let after = self.pause(1, 8);
        let deed = Deed::Triage {
            priority,
            template: to.map(|template| template.id.clone()),
            details: given,
        };
        self.act(after, By::Dispatcher, deed);
        let thread = self.thread_mut();
        thread.knows_details = true;
        thread.priority = priority;
    }

    /// Another kind of job than it was taken for.
    pub fn other_template(&mut self) -> &'a IncidentTemplate {
        let own = self.thread().template.clone();
        let others = self.templates.iter().filter(|template| template.id != own);
        let others: Vec<_> = others.collect();
        others.choose(self.rng).copied().unwrap_or(self.template())
    }

    /// Sends a technician.
    pub fn dispatch(&mut self, crew: Option<Crew>) {
        let before = self.thread().crew;
        let crew = crew.unwrap_or_else(|| {
            let seeded: Vec<_> = (0..SEEDED_CREW)
                .map(Crew::Seeded)
                .filter(|crew| Some(*crew) != before)
                .collect();
            *seeded.choose(self.rng).expect("there are four")
        });
        if self.rng.random_ratio(1, 4) {
            let state = self.state();
            let after = self.pause(1, 3);
            self.push(
                after,
                By::Dispatcher,
                Deed::LookAtProposals,
                None,
                Expect::State(state),
            );
        }
        let after = self.pause(2, 15);
        self.thread_mut().crew = Some(crew);
        self.act(after, By::Dispatcher, Deed::Dispatch { crew });
    }

    /// Decides the change order.
    pub fn decide(&mut self, verdict: Verdict) {
        let by = if self.rng.random_bool(0.5) {
            By::Approver
        } else {
            By::AccountManager
        };
        let after = self.pause(3, 40);
        self.act(after, by, Deed::DecideApproval { verdict });
        if self.wants(Twist::DecidedTwice) {
            let deed = Deed::DecideApproval { verdict };
            self.refused(by, deed, Twist::DecidedTwice, &[ErrorCode::AlreadyDecided]);
        }
    }

    /// The other caller's ticket, which stays, is opened; this one is merged into it.
    fn merge(&mut self) {
        let own = self.slot;
        self.turn_to(1 - own);
        self.open();
        self.turn_to(own);
        let after = self.pause(3, 15);
        self.act(after, By::Dispatcher, Deed::Merge);
    }

    /// Says where the message belongs that was held last: to the ticket at hand.
    pub fn attach(&mut self) {
        let after = self.pause(1, 10);
        self.act(after, By::Dispatcher, Deed::AttachMessage);
    }

    fn as_technician(&mut self, after: Minutes, deed: Deed) {
        let crew = self.thread().crew.unwrap_or(Crew::Seeded(0));
        self.act(after, By::Technician(crew), deed);
    }

    /// Something that must succeed, and leads where the table says.
    fn act(&mut self, after: Minutes, by: By, deed: Deed) {
        let operation = deed.operation().expect("a look is pushed as it is");
        let from = self.thread().state;
        let to = match from {
            None => Some(TicketState::New),
            Some(from) => next_state(operation, from),
        };
        let to = to.unwrap_or_else(|| panic!("{operation} is told of a ticket in {from:?}"));
        self.slip(&deed, by);
        if from.is_none() {
            self.story.tickets += 1;
        }
        self.thread_mut().state = Some(to);
        self.used.transitions.insert(Transition {
            from,
            operation,
            to,
        });
        self.push(after, by, deed.clone(), None, Expect::State(to));
        self.after_thought(&deed, by);
    }

    fn push(&mut self, after: Minutes, by: By, deed: Deed, twist: Option<Twist>, expect: Expect) {
        self.story.acts.push(Act {
            after,
            by,
            slot: self.slot,
            deed,
            twist,
            expect,
        });
    }

    /// Something that must be refused with one of these codes.
    pub fn refused(&mut self, by: By, deed: Deed, twist: Twist, codes: &'static [ErrorCode]) {
        *self.used.twists.entry(twist).or_default() += 1;
        self.push(1, by, deed, Some(twist), Expect::Refused(codes));
    }

    /// Whether to slip so: now and then, and at the first chance while nobody has.
    fn wants(&mut self, twist: Twist) -> bool {
        if !self.slips {
            return false;
        }
        let never = !self.used.twists.contains_key(&twist);
        self.rng.random_range(0..100) < if never { 60 } else { SLIPS }
    }

    /// Tries an act wrongly, before it is done rightly.
    fn slip(&mut self, deed: &Deed, by: By) {
        let possible = self.possible_slips(deed, by);
        let rarest = |(twist, ..): &(Twist, By, Deed, Codes)| {
            self.used.twists.get(twist).copied().unwrap_or_default()
        };
        let Some((twist, by, deed, codes)) = possible.iter().min_by_key(|slip| rarest(slip)) else {
            return;
        };
        if self.wants(*twist) {
            self.refused(*by, deed.clone(), *twist, codes);
        }
    }

    /// What can be wrong about an act in the state that the ticket is in.
    fn possible_slips(&self, deed: &Deed, by: By) -> Vec<(Twist, By, Deed, Codes)> {
        let same = || deed.clone();
        let mut slips: Vec<(Twist, By, Deed, Codes)> = vec![
            (Twist::UnknownMember, by, same(), &[ErrorCode::Malformed]),
            (
                Twist::NoToken,
                By::Nobody,
                same(),
                &[ErrorCode::Unauthenticated],
            ),
            (
                Twist::WrongRole,
                By::Auditor,
                same(),
                &[ErrorCode::Forbidden],
            ),
        ];
        let Some(state) = self.thread().state else {
            return slips;
        };
        slips.push((Twist::UnknownTicket, by, same(), &[ErrorCode::NotFound]));
        slips.push((
            Twist::ForeignTenant,
            By::Foreigner,
            same(),
            &[ErrorCode::NotFound],
        ));
        if deed.operation().is_some_and(is_change) {
            slips.push((
                Twist::StaleVersion,
                by,
                same(),
                &[ErrorCode::VersionConflict],
            ));
            // Somebody may have engaged the kill switch, which is looked at first.
            let codes = &[ErrorCode::Stage, ErrorCode::KillSwitch];
            slips.push((Twist::Software, By::Agent, same(), codes));
        }
        let denied: Codes = &[ErrorCode::PolicyDenied];
        match deed {
            Deed::ProposeSchedule { .. } | Deed::Reschedule { .. } => {
                slips.push((Twist::EmptyWindow, by, same(), &[ErrorCode::InvalidField]));
            }
            Deed::Triage { details, .. } if !details.is_empty() => {
                slips.push((Twist::NoDetails, by, same(), denied));
            }
            Deed::Complete { evidence } if !evidence.is_empty() && !self.thread().documented => {
                slips.push((Twist::NoEvidence, by, same(), denied));
            }
            Deed::GenerateInvoice { .. } => slips.push((Twist::TooDear, by, same(), denied)),
            Deed::Close { charged: false } => slips.push((Twist::NoReason, by, same(), denied)),
            Deed::CheckIn => {
                let other = match self.thread().crew {
                    Some(Crew::Seeded(number)) => Crew::Seeded((number + 1) % SEEDED_CREW),
                    Some(Crew::Own) | None => Crew::Seeded(0),
                };
                let codes: Codes = &[ErrorCode::Forbidden];
                slips.push((Twist::NotAssigned, By::Technician(other), same(), codes));
            }
            _ => {}
        }
        let elsewhere = [
            (By::Qa, Deed::QaVerify, Operation::QaVerify),
            (By::Dispatcher, Deed::Unassign, Operation::Unassign),
            (
                By::Dispatcher,
                Deed::ConfirmSchedule,
                Operation::ConfirmSchedule,
            ),
        ];
        for (by, deed, operation) in elsewhere {
            if next_state(operation, state).is_none() {
                let codes: Codes = &[ErrorCode::IllegalTransition];
                slips.push((Twist::WrongState, by, deed, codes));
            }
        }
        slips
    }

    /// Sends the act that was just done once more, or its key with something else.
    fn after_thought(&mut self, deed: &Deed, by: By) {
        if self.wants(Twist::SameAgain) {
            *self.used.twists.entry(Twist::SameAgain).or_default() += 1;
            self.push(
                0,
                by,
                deed.clone(),
                Some(Twist::SameAgain),
                Expect::Repeated,
            );
        }
        if matches!(deed, Deed::AddNote) && self.wants(Twist::UsedKey) {
            let codes = &[ErrorCode::IdempotencyMismatch];
            self.refused(by, deed.clone(), Twist::UsedKey, codes);
        }
        // A note, because it can be asked about in any state: nothing of a dry run is stored, so a day
        // that is played again is answered anew, about a ticket that has gone further.
        if self.wants(Twist::DryRun) {
            *self.used.twists.entry(Twist::DryRun).or_default() += 1;
            let twist = Some(Twist::DryRun);
            self.push(1, By::Dispatcher, Deed::AddNote, twist, Expect::Told);
        }
    }

    fn office(&mut self) -> By {
        if self.rng.random_ratio(3, 4) {
            By::Dispatcher
        } else {
            By::AccountManager
        }
    }

    fn someone(&mut self) -> By {
        // People only: what an agent is answered depends on whether another story has just engaged
        // the kill switch.
        let who = [By::Dispatcher, By::AccountManager, By::Qa, By::Billing];
        *who.choose(self.rng).expect("there are four")
    }

    fn evidence_for(&self, operation: Operation) -> Vec<Slug> {
        let evidence = &self.template().evidence;
        evidence
            .get(&operation.to_string())
            .cloned()
            .unwrap_or_default()
    }

    fn pause(&mut self, least: Minutes, most: Minutes) -> Minutes {
        self.rng.random_range(least..=most)
    }

    /// How long people take.
    fn usual_pause(&mut self, operation: Operation) -> Minutes {
        let (least, most) = match operation {
            Operation::ProposeSchedule | Operation::ConfirmSchedule => (2, 20),
            Operation::CheckIn => (15, 60),
            Operation::Complete | Operation::ReturnVisit => (30, 120),
            Operation::QaVerify | Operation::QaReject => (10, 90),
            Operation::GenerateInvoice | Operation::Close => (10, 60),
            Operation::Reopen => (20, 90),
            _ => (1, 15),
        };
        self.pause(least, most)
    }
}

type Codes = &'static [ErrorCode];

/// What the template must know, with values that it admits.
fn details(rng: &mut impl Rng, template: &IncidentTemplate) -> Vec<(Slug, DetailValue)> {
    let known = |name: &Slug| template.known_details.get(name);
    let required = template.required_details.iter();
    required
        .filter_map(|name| Some((name, known(name)?)))
        .map(|(name, kind)| {
            let value = match kind {
                DetailKind::Flag => DetailValue::Flag(rng.random_bool(0.5)),
                DetailKind::Number { max } => {
                    DetailValue::Number(rng.random_range(1..=(*max).clamp(1, 4)).into())
                }
                DetailKind::Word { one_of } => {
                    let words: Vec<_> = one_of.iter().collect();
                    let word = words
                        .choose(rng)
                        .expect("a template lists one word or more");
                    DetailValue::Word((*word).clone())
                }
            };
            (name.clone(), value)
        })
        .collect()
}
