//! Which stories a day has. The first ones go where none has been yet, until every cell of the state
//! table has its turn; the others are drawn by weight, as a city would bring them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use contracts::{
    ErrorCode, Operation, TicketState, approval::Verdict, comms::HoldReason,
    template::IncidentTemplate,
};
use domain::ticket::table::next_state;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use strum::VariantArray;

use super::{
    plan::*,
    rhythm::{self, Arrival},
    tale::{Tale, Used},
};

/// An explorer turns home after so many acts.
const LONGEST_WAY: usize = 45;
/// Things that an explorer does in one state besides going on.
const STOPS: usize = 4;

/// What a city would bring, of a thousand.
const WEIGHTS: [(Plot, u32); 18] = [
    (Plot::Plain, 270),
    (Plot::Direct, 90),
    (Plot::SecondVisit, 120),
    (Plot::NoAccess, 60),
    (Plot::PriceChange, 80),
    (Plot::Rescheduled, 50),
    (Plot::Reassigned, 40),
    (Plot::FallenIll, 15),
    (Plot::Retriaged, 30),
    (Plot::Duplicate, 40),
    (Plot::CalledOff, 60),
    (Plot::Rejected, 25),
    (Plot::NoCharge, 20),
    (Plot::Reopened, 25),
    (Plot::LateNote, 25),
    (Plot::Message, 35),
    (Plot::LeftOpen, 15),
    // Once: who stops software twice a day has other worries.
    (Plot::KillSwitch, 0),
];

/// Tells a day of at least `count` tickets (a pair of callers may bring one more), in the order of
/// arrival. The same seed tells the same day.
pub fn tell(seed: u64, count: u32, templates: &[IncidentTemplate]) -> Vec<Story> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut used = Used::default();
    let mut stories: Vec<Story> = Vec::new();
    let mut tickets = 0;
    let mut told: BTreeSet<Plot> = BTreeSet::new();
    let everything = Transition::all();
    while tickets < count {
        let number = u32::try_from(stories.len()).expect("a day of less than four billion");
        let unexplored = everything.difference(&used.transitions).next().is_some();
        let plot = match WEIGHTS.iter().find(|(plot, _)| !told.contains(plot)) {
            _ if unexplored => Plot::Explorer,
            Some((plot, _)) => *plot,
            None => WEIGHTS[rhythm::weighted(&mut rng, &WEIGHTS.map(|(_, weight)| weight))].0,
        };
        told.insert(plot);
        let arrival = rhythm::draw(&mut rng);
        let template = template_for(&mut rng, plot, arrival, &stories, templates);
        let story = Story {
            number,
            plot,
            template: template.id.clone(),
            arrives: arrival.at,
            tickets: 0,
            acts: Vec::new(),
        };
        let mut tale = Tale::new(&mut rng, &mut used, templates, template, story);
        play(&mut tale, plot, &everything);
        let story = tale.end();
        tickets += story.tickets;
        stories.push(story);
    }
    stories.sort_by_key(|story| (story.arrives, story.number));
    stories
}

/// The kind of job: one that the day has not had yet, else what such an hour brings.
fn template_for<'a>(
    rng: &mut StdRng,
    plot: Plot,
    arrival: Arrival,
    stories: &[Story],
    templates: &'a [IncidentTemplate],
) -> &'a IncidentTemplate {
    let at_once = |template: &&IncidentTemplate| !template.direct_dispatch.is_empty();
    let missing =
        |template: &&IncidentTemplate| !stories.iter().any(|story| story.template == template.id);
    let suitable: Vec<_> = match plot {
        // These send somebody at once, which not every template allows.
        Plot::Explorer | Plot::Direct => templates.iter().filter(at_once).collect(),
        _ if templates.iter().any(|template| missing(&template)) => {
            templates.iter().filter(missing).collect()
        }
        _ => templates
            .iter()
            .filter(|template| at_once(template) == arrival.emergency)
            .collect(),
    };
    match suitable.choose(rng) {
        Some(template) => template,
        None => templates.choose(rng).expect("a bundle has templates"),
    }
}

fn play(tale: &mut Tale<'_>, plot: Plot, everything: &BTreeSet<Transition>) {
    use Operation as Op;
    match plot {
        Plot::Explorer => explore(tale, everything),
        Plot::Plain => {
            tale.open();
            reach(tale, TicketState::OnSite);
            now_and_then(tale);
            finish(tale);
        }
        Plot::Direct => {
            tale.open();
            tale.triage(None, true);
            tale.does(Op::Dispatch);
            finish(tale);
        }
        Plot::SecondVisit => {
            tale.open();
            reach(tale, TicketState::OnSite);
            tale.does(Op::ReturnVisit);
            now_and_then(tale);
            finish(tale);
        }
        Plot::NoAccess => {
            tale.open();
            let at_the_door = tale.rng().random_bool(0.5);
            reach(
                tale,
                if at_the_door {
                    TicketState::OnSite
                } else {
                    TicketState::Dispatched
                },
            );
            tale.does(Op::NoAccess);
            tale.does(Op::CommsOutbound);
            finish(tale);
        }
        Plot::PriceChange => {
            tale.open();
            reach(tale, TicketState::OnSite);
            tale.does(Op::RequestChange);
            tale.does(Op::DecideApproval);
            if tale.rng().random_ratio(1, 4) {
                tale.does(Op::RequestChange);
                tale.decide(Verdict::Reject);
            }
            finish(tale);
        }
        Plot::Rescheduled => {
            tale.open();
            let sent = tale.rng().random_bool(0.5);
            reach(
                tale,
                if sent {
                    TicketState::Dispatched
                } else {
                    TicketState::Scheduled
                },
            );
            tale.does(Op::Reschedule);
            finish(tale);
        }
        Plot::Reassigned => {
            tale.open();
            reach(tale, TicketState::Dispatched);
            tale.does(Op::Unassign);
            tale.does(Op::Dispatch);
            finish(tale);
        }
        Plot::FallenIll => fall_ill(tale),
        Plot::Retriaged => {
            tale.open();
            reach(tale, TicketState::Triaged);
            let other = tale.other_template();
            tale.triage(Some(other), false);
            finish(tale);
        }
        Plot::Duplicate => {
            tale.open();
            if tale.rng().random_bool(0.5) {
                tale.does(Op::Triage);
            }
            tale.does(Op::Merge);
            tale.turn_to(1);
            finish(tale);
        }
        Plot::CalledOff => {
            tale.open();
            let stages: Vec<_> = TicketState::VARIANTS
                .iter()
                .filter(|state| next_state(Op::Cancel, **state).is_some())
                .collect();
            let stage = **stages
                .choose(tale.rng())
                .expect("a ticket can be cancelled");
            reach(tale, stage);
            tale.does(Op::Cancel);
        }
        Plot::Rejected => {
            tale.open();
            reach(tale, TicketState::WorkComplete);
            tale.does(Op::QaReject);
            finish(tale);
        }
        Plot::NoCharge => {
            tale.open();
            reach(tale, TicketState::Verified);
            tale.does(Op::Close);
        }
        Plot::Reopened => {
            tale.open();
            let from = [
                TicketState::Verified,
                TicketState::Invoiced,
                TicketState::Closed,
            ];
            let from = *from.choose(tale.rng()).expect("there are three");
            reach(tale, from);
            tale.does(Op::Reopen);
            finish(tale);
        }
        Plot::LateNote => {
            tale.open();
            finish(tale);
            tale.does(Op::AddNote);
            tale.does(Op::AddEvidence);
        }
        Plot::Message => converse(tale),
        Plot::LeftOpen => {
            tale.open();
            let open: Vec<_> = TicketState::VARIANTS
                .iter()
                .filter(|state| !state.is_terminal())
                .collect();
            let state = **open.choose(tale.rng()).expect("there are open states");
            reach(tale, state);
        }
        Plot::KillSwitch => kill_switch(tale),
    }
}

/// Goes where no story has been: does what was not done yet in each state, then takes the next way
/// not taken, near ones first, and comes home.
fn explore(tale: &mut Tale<'_>, everything: &BTreeSet<Transition>) {
    tale.customer();
    let by_message = Transition {
        from: None,
        operation: Operation::CommsInbound,
        to: TicketState::New,
    };
    if tale.used().transitions.contains(&by_message) {
        tale.open();
    } else {
        tale.message(Peer::Settled, Branch::Created);
    }
    while tale.length() < LONGEST_WAY {
        let state = tale.state();
        let fresh = |tale: &Tale<'_>| -> Vec<Transition> {
            let used = &tale.used().transitions;
            everything.difference(used).copied().collect()
        };
        let here = |transition: &&Transition| transition.from == Some(state);
        let (stops, ways): (Vec<_>, Vec<_>) = fresh(tale)
            .iter()
            .filter(here)
            .partition(|transition| transition.stays());
        let mut made = 0;
        for stop in stops {
            // A pair of commands may have been done with the first of them.
            if made < STOPS && !tale.used().transitions.contains(&stop) {
                tale.does(stop.operation);
                made += 1;
            }
        }
        // What ends the ticket comes last.
        let way = ways
            .into_iter()
            .min_by_key(|way| (way.to.is_terminal(), way.operation))
            .or_else(|| toward(state, &fresh(tale)));
        match way {
            Some(way) => step(tale, way.operation),
            None => break,
        }
    }
    finish(tale);
    // Two callers: the other one's ticket goes on.
    if tale.is_open(1) {
        tale.turn_to(1);
        finish(tale);
    }
}

/// Does a step; a technician goes at once only at a priority that allows it.
fn step(tale: &mut Tale<'_>, operation: Operation) {
    match operation {
        Operation::Triage => tale.triage(None, true),
        _ => tale.does(operation),
    }
}

/// The first step of a shortest way to a state in which something is left to do.
fn toward(from: TicketState, left: &[Transition]) -> Option<Transition> {
    let mut first: BTreeMap<TicketState, Option<Transition>> = [(from, None)].into();
    let mut queue = VecDeque::from([from]);
    while let Some(state) = queue.pop_front() {
        if state != from && left.iter().any(|transition| transition.from == Some(state)) {
            return first[&state];
        }
        for operation in Operation::VARIANTS
            .iter()
            .copied()
            .filter(|op| is_change(*op))
        {
            let Some(to) = next_state(operation, state) else {
                continue;
            };
            if !first.contains_key(&to) {
                let step = Transition {
                    from: Some(state),
                    operation,
                    to,
                };
                let step = first[&state].unwrap_or(step);
                first.insert(to, Some(step));
                queue.push_back(to);
            }
        }
    }
    None
}

/// The usual way to a state.
fn reach(tale: &mut Tale<'_>, goal: TicketState) {
    use TicketState::*;
    while tale.state() != goal {
        let operation = match tale.state() {
            New => Operation::Triage,
            Triaged => Operation::ProposeSchedule,
            ScheduleProposed => Operation::ConfirmSchedule,
            Scheduled => Operation::Dispatch,
            Dispatched => Operation::CheckIn,
            OnSite if goal == ChangeRequested => Operation::RequestChange,
            OnSite if goal == ReturnPending => Operation::ReturnVisit,
            OnSite => Operation::Complete,
            ChangeRequested => Operation::DecideApproval,
            ReturnPending => Operation::ProposeSchedule,
            WorkComplete => Operation::QaVerify,
            Verified => Operation::GenerateInvoice,
            Invoiced => Operation::Close,
            Closed | Cancelled => return,
        };
        if tale.state() == Dispatched && tale.rng().random_ratio(4, 5) {
            tale.does(Operation::EnRoute);
        }
        tale.does(operation);
    }
}

fn finish(tale: &mut Tale<'_>) {
    reach(tale, TicketState::Closed);
}

/// Small things that any job may have.
fn now_and_then(tale: &mut Tale<'_>) {
    for (operation, of_ten) in [
        (Operation::AddNote, 3),
        (Operation::AddEvidence, 2),
        (Operation::CustomerAwait, 2),
        (Operation::CommsOutbound, 2),
    ] {
        if tale.rng().random_ratio(of_ten, 10) {
            tale.does(operation);
        }
    }
}

/// The technician who was to come calls in sick: away on record, another one is sent.
fn fall_ill(tale: &mut Tale<'_>) {
    let skills = tale.template().required_skills.clone();
    let admin = By::TenantAdmin;
    tale.filing(admin, Deed::WriteContact { settled: false });
    tale.filing(admin, Deed::WriteTechnician { skills });
    tale.open();
    reach(tale, TicketState::Scheduled);
    tale.dispatch(Some(Crew::Own));
    tale.filing(By::Dispatcher, Deed::RecordAbsence);
    tale.does(Operation::Unassign);
    tale.does(Operation::Dispatch);
    tale.filing(By::Dispatcher, Deed::CancelAbsence);
    finish(tale);
}

/// A job that comes as a message and is talked about.
fn converse(tale: &mut Tale<'_>) {
    tale.customer();
    tale.message(Peer::Settled, Branch::Created);
    tale.message(Peer::Settled, Branch::Duplicate);
    tale.does(Operation::Triage);
    tale.message(Peer::Settled, Branch::Attached);
    tale.does(Operation::CommsOutbound);
    // From nobody's number, then from somebody who is at home nowhere.
    tale.does(Operation::AttachMessage);
    tale.filing(By::Dispatcher, Deed::WriteContact { settled: false });
    tale.message(Peer::Unsettled, Branch::Held(HoldReason::SiteUnclear));
    tale.attach();
    // A second job at the same place: which one is the next message about?
    tale.turn_to(1);
    tale.open();
    tale.message(Peer::Settled, Branch::Held(HoldReason::SeveralTickets));
    tale.attach();
    finish(tale);
    tale.turn_to(0);
    finish(tale);
}

/// Software is stopped, tries all the same, and people work on.
fn kill_switch(tale: &mut Tale<'_>) {
    tale.open();
    tale.without_slips();
    tale.filing(By::TenantAdmin, Deed::EngageKillSwitch);
    tale.refused(
        By::Agent,
        Deed::Cancel,
        Twist::Software,
        &[ErrorCode::KillSwitch],
    );
    tale.does(Operation::Triage);
    tale.filing(By::TenantAdmin, Deed::ReleaseKillSwitch);
    tale.refused(
        By::Agent,
        Deed::Cancel,
        Twist::Software,
        &[ErrorCode::Stage],
    );
    finish(tale);
}
