//! Random commands against the table: whatever comes, the invariants hold.

use chrono::TimeDelta;
use contracts::{
    Command, ContactId, FreeText, MessageId, Operation, Priority, TicketId, TicketState,
    approval::{ApprovalState, StepKind, Verdict},
    command::{CommandClass, *},
    comms::Channel,
    event::{Audience, TicketChange},
    proposal::AdvisorInput,
    sla::{ClockPhase, SlaRecordKind},
    ticket::Ticket,
    value::MediaType,
};
use proptest::prelude::*;
use strum::VariantArray;

use super::table::{legal_operations, next_state};
use crate::{Decided, Rejection, TicketKey, evolve, rejection::Obstacle, testing::*};

/// One random step: how long after the last one, which command, and a number for its details.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) minutes: i64,
    pub(super) pick: Pick,
    pub(super) variant: u64,
}

/// Anything, what is legal, or what leads on to another state: so that tickets come far and are
/// bothered on the way.
#[derive(Debug, Clone)]
pub(super) enum Pick {
    Onward(prop::sample::Index),
    Legal(prop::sample::Index),
    Any(prop::sample::Index),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let pick = prop_oneof![
        any::<prop::sample::Index>().prop_map(Pick::Onward),
        any::<prop::sample::Index>().prop_map(Pick::Legal),
        any::<prop::sample::Index>().prop_map(Pick::Any),
    ];
    let minutes = prop_oneof![0..20_i64, 0..600_i64, 0..6000_i64];
    (minutes, pick, any::<u64>()).prop_map(|(minutes, pick, variant)| Step {
        minutes,
        pick,
        variant,
    })
}

pub(super) fn operation(desk: &Desk, pick: &Pick) -> Operation {
    let Some(ticket) = &desk.ticket else {
        return Operation::CreateTicket;
    };
    let mut legal = legal_operations(ticket, Some(&glass()));
    let index = match pick {
        Pick::Any(index) => {
            let about_tickets = |operation: &Operation| operation.class() != CommandClass::Filing;
            let all: Vec<_> = Operation::VARIANTS
                .iter()
                .copied()
                .filter(about_tickets)
                .collect();
            return *index.get(&all);
        }
        Pick::Legal(index) => index,
        Pick::Onward(index) => {
            let leads_on = |operation: &Operation| {
                let to = next_state(*operation, ticket.state);
                to != Some(ticket.state) && to != Some(TicketState::Cancelled)
            };
            legal.retain(leads_on);
            index
        }
    };
    if legal.is_empty() {
        return Operation::AddNote;
    }
    *index.get(&legal)
}

pub(super) fn command(desk: &Desk, operation: Operation, variant: u64) -> Command {
    let priority = Priority::VARIANTS[variant as usize % 4];
    let reason = slug("reason");
    let in_hours = (variant % 50) as i64 - 2;
    let window = window_in(desk.now, in_hours);
    let eta = variant
        .is_multiple_of(2)
        .then(|| desk.now + TimeDelta::minutes(30));
    let approval = (!desk.approvals.is_empty())
        .then(|| &desk.approvals[variant as usize % desk.approvals.len()]);
    let approval_id = approval.map_or(
        contracts::ApprovalId::from_uuid(uuid(variant.into())),
        |approval| approval.id,
    );
    let minutes = (variant % 100) as u16;
    let clocks = desk.ticket.as_ref().map_or(&[][..], |ticket| &ticket.sla);
    match operation {
        Operation::CreateTicket => create(),
        Operation::Triage => Triage {
            priority,
            template: Some(if variant.is_multiple_of(3) {
                door().id
            } else {
                glass().id
            }),
            details: Default::default(),
        }
        .into(),
        Operation::ProposeSchedule => ProposeSchedule { window }.into(),
        Operation::ConfirmSchedule => confirm(),
        Operation::Reschedule => Reschedule { window, reason }.into(),
        Operation::Dispatch => Dispatch {
            technician_id: technician(variant.into()),
            eta,
        }
        .into(),
        Operation::Unassign => Unassign { reason }.into(),
        Operation::EnRoute => EnRoute { eta }.into(),
        Operation::CheckIn => check_in(),
        Operation::NoAccess => NoAccess { reason }.into(),
        Operation::RequestChange => request_change((variant % 100_000) as i64),
        Operation::DecideApproval => DecideApproval {
            approval_id,
            verdict: if variant.is_multiple_of(2) {
                Verdict::Approve
            } else {
                Verdict::Reject
            },
            reason: Some(reason),
            version: approval.map(|approval| approval.version),
        }
        .into(),
        Operation::ReturnVisit => return_visit(),
        Operation::Complete => complete(),
        Operation::QaVerify => verify(),
        Operation::QaReject => QaReject {
            reasons: vec![reason],
        }
        .into(),
        Operation::GenerateInvoice => invoice((variant % 10_000) as i64),
        Operation::Close => Close {
            no_charge_reason: variant.is_multiple_of(2).then_some(reason),
        }
        .into(),
        Operation::Reopen => Reopen { reason }.into(),
        // Rare, or most tickets would end at once.
        Operation::Cancel if variant.is_multiple_of(8) => Cancel { reason }.into(),
        Operation::Merge if variant.is_multiple_of(8) => Merge {
            into: TicketId::from_uuid(uuid(variant.into())),
        }
        .into(),
        Operation::Cancel | Operation::Merge | Operation::AddNote => AddNote {
            text: FreeText::new("Said something.").unwrap(),
        }
        .into(),
        Operation::CustomerAwait => CustomerAwait { reason }.into(),
        Operation::CustomerResume => CustomerResume {}.into(),
        Operation::RecordProposal => {
            let version = desk.ticket.as_ref().map_or(0, |ticket| ticket.version);
            RecordProposal {
                based_on_version: version,
                applied_seq: desk.seq + u64::from(variant.is_multiple_of(5)),
                input: AdvisorInput::Triage(triage_input(version)),
                advice: crate::advise(&AdvisorInput::Triage(triage_input(version))),
            }
            .into()
        }
        Operation::AddEvidence => AddEvidence {
            kind: slug("photo_before"),
            sha256: format!("{variant:064x}"),
            media_type: MediaType::new("image/jpeg").unwrap(),
            size_bytes: variant % 3,
            taken_at: None,
        }
        .into(),
        Operation::CommsOutbound => CommsOutbound {
            ticket_id: desk.key.ticket_id,
            contact_id: ContactId::from_uuid(uuid(5)),
            channel: Channel::Sms,
            text: FreeText::new("On our way.").unwrap(),
            send_at: eta,
            only_while: None,
        }
        .into(),
        Operation::AttachMessage => AttachMessage {
            message_id: MessageId::from_uuid(uuid(variant.into())),
        }
        .into(),
        Operation::SetTicketAutonomy => SetTicketAutonomy {
            opt_out: variant.is_multiple_of(2),
            reason,
        }
        .into(),
        Operation::WithdrawApproval if variant.is_multiple_of(4) => WithdrawApproval {
            approval_id,
            reason,
        }
        .into(),
        Operation::ChangeApprovalDue => ChangeApprovalDue {
            approval_id,
            expires_at: desk.now + TimeDelta::minutes((variant % 3_000) as i64 - 60),
            reason,
        }
        .into(),
        Operation::RecordApprovalStep => {
            let next = approval.and_then(|approval| approval.steps.first());
            RecordApprovalStep {
                approval_id,
                version: approval.map_or(1, |approval| approval.version),
                step: next.map_or(StepKind::Expiry, |step| step.step),
                at: next.map_or(desk.now, |step| step.at),
                applied_seq: desk.seq,
            }
            .into()
        }
        Operation::ClaimApproval => ClaimApproval {
            approval_id,
            minutes,
        }
        .into(),
        Operation::ReleaseApproval => ReleaseApproval { approval_id }.into(),
        Operation::TakeOverApproval => TakeOverApproval {
            approval_id,
            reason,
            minutes,
        }
        .into(),
        // What is amended or carried out is a held command: see `approval::properties`.
        Operation::CommentApproval
        | Operation::WithdrawApproval
        | Operation::AmendApproval
        | Operation::ExecuteApproval => CommentApproval {
            approval_id,
            text: FreeText::new("Too dear?").unwrap(),
        }
        .into(),
        Operation::CommsInbound
        | Operation::UpsertSite
        | Operation::UpsertAsset
        | Operation::UpsertContact
        | Operation::UpsertTechnician
        | Operation::RecordAbsence
        | Operation::CancelAbsence
        | Operation::EngageKillSwitch
        | Operation::ReleaseKillSwitch
        | Operation::RecordDrill
        | Operation::DelegateApprovals
        | Operation::RevokeDelegation
        | Operation::RecordGateReport
        | Operation::PromoteStage
        | Operation::DemoteStage
        | Operation::ApplyStageChange
        | Operation::UploadBundle
        | Operation::ActivateBundle
        | Operation::CreateTenant
        | Operation::ConfigureTenant
        | Operation::SuspendTenant
        | Operation::ResumeTenant
        | Operation::RequestTenantDeletion
        | Operation::CancelTenantDeletion
        | Operation::EraseTenant
        | Operation::LimitTenant
        | Operation::RecordTenantExport
        | Operation::UpsertServiceAccount
        | Operation::DisableServiceAccount
        | Operation::IssueApiKey
        | Operation::RotateApiKey
        | Operation::RevokeApiKey => unreachable!("a filing is not about a ticket"),
        Operation::RecordSla => {
            let clock = clocks.get(variant as usize % clocks.len().max(1));
            let deadline = clock.map(|clock| match clock.phase {
                ClockPhase::Running { warn_at, .. } if variant.is_multiple_of(2) => warn_at,
                ClockPhase::Running { due_at, .. } => due_at,
                ClockPhase::Paused { since: ended } | ClockPhase::Stopped { at: ended, .. } => {
                    ended
                }
            });
            RecordSla {
                clock: clock.map_or(slug("none"), |clock| clock.name.clone()),
                kind: if variant.is_multiple_of(2) {
                    SlaRecordKind::Warning
                } else {
                    SlaRecordKind::Breach
                },
                revision: clock.map_or(1, |clock| clock.revision),
                effective_at: deadline
                    .filter(|_| !variant.is_multiple_of(5))
                    .unwrap_or(desk.now),
                applied_seq: desk.seq,
            }
            .into()
        }
    }
}

pub(super) fn accepted(
    key: TicketKey,
    before: Option<&Ticket>,
    command: &Command,
    decided: &Decided,
) {
    let operation = command.operation();
    let after = &decided.ticket;
    let to = match before {
        None => Some(TicketState::New),
        // A change order that ends lets the work go on.
        Some(before) if before.open_change.is_some() && after.open_change.is_none() => {
            match operation.class() {
                CommandClass::Waiting => Some(TicketState::OnSite),
                _ => next_state(operation, before.state),
            }
        }
        Some(before) => next_state(operation, before.state),
    };
    assert_eq!(to, Some(after.state), "{operation} left the table");
    let audience = |change: &TicketChange| change.event.event_type().audience();
    let audiences: Vec<_> = decided.changes.iter().map(audience).collect();
    let changed = |audience: &Audience| *audience == Audience::Workflow;
    match operation.class() {
        CommandClass::Change => {
            assert_eq!(after.version, before.map_or(0, |b| b.version) + 1);
            assert!(changed(&audiences[0]), "the change comes first");
            assert!(
                !audiences[1..].iter().any(changed),
                "one change per command"
            );
        }
        CommandClass::Waiting => {
            let before = before.expect("an approval has a ticket");
            let changes = u64::from(changed(&audiences[0]));
            assert_eq!(after.version, before.version + changes);
            assert!(!audiences[1..].iter().any(changed), "one change at most");
        }
        CommandClass::Filing => unreachable!("a filing is not about a ticket"),
        CommandClass::Bookkeeping => {
            assert_eq!(Some(after), before, "{operation} changed the ticket");
            let told = audiences.iter().any(|audience| audience.is_workflow());
            assert!(!told, "{operation} told the workflow");
        }
    }
    let refolded = decided
        .changes
        .iter()
        .fold(before.cloned(), |ticket, change| {
            Some(evolve(key, ticket, change))
        });
    assert_eq!(refolded.as_ref(), Some(after));
}

pub(super) fn refused(before: &Ticket, command: &Command, rejection: &Rejection) {
    let operation = command.operation();
    if next_state(operation, before.state).is_none() {
        let early = matches!(rejection, Rejection::AlreadyDecided { .. });
        let illegal = matches!(
            rejection,
            Rejection::IllegalTransition { obstacle: Obstacle::State, legal, .. }
                if !legal.contains(&operation)
        );
        assert!(illegal || early, "{operation}: {rejection:?}");
    }
    assert!(
        rejection.code().status() < 500,
        "{operation} is our fault: {rejection:?}"
    );
    assert!(!rejection.detail().is_empty());
    if let Some(field) = rejection.field() {
        let body = serde_json::to_value(command).unwrap();
        let parent = field.pointer.rsplit_once('/').unwrap().0;
        let body = body.pointer("/body").unwrap();
        assert!(body.pointer(parent).is_some(), "{}", field.pointer);
    }
}

pub(super) fn sound(ticket: &Ticket) {
    for clock in &ticket.sla {
        match clock.phase {
            ClockPhase::Running {
                since,
                warn_at,
                due_at,
            } => {
                assert!(!ticket.state.is_terminal(), "an ended ticket's clock runs");
                assert!(ticket.customer_wait.is_none(), "a paused clock runs");
                assert!(since <= warn_at && warn_at <= due_at, "{clock:?}");
            }
            ClockPhase::Paused { .. } => {
                assert!(
                    !ticket.state.is_terminal(),
                    "an ended ticket's clock is paused"
                );
                assert!(ticket.customer_wait.is_some(), "paused for nobody");
            }
            ClockPhase::Stopped { met, .. } => {
                assert_eq!(met, clock.used_seconds <= clock.budget_seconds);
            }
        }
    }
    let numbers: Vec<_> = ticket.visits.iter().map(|visit| visit.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>());
    let (_, earlier) = ticket.visits.split_last().unwrap();
    assert!(earlier.iter().all(|visit| visit.ended_at.is_some()));
    assert_eq!(
        ticket.open_change.is_some(),
        ticket.state == TicketState::ChangeRequested
    );
    assert_eq!(
        ticket.verified_at.is_some(),
        matches!(
            ticket.state,
            TicketState::Verified | TicketState::Invoiced | TicketState::Closed
        )
    );
    let charged = ticket
        .invoice
        .as_ref()
        .is_some_and(|i| i.credit_note.is_none());
    assert!(
        !charged || matches!(ticket.state, TicketState::Invoiced | TicketState::Closed),
        "{} with a standing invoice",
        ticket.state
    );
    assert!(!ticket.state.is_terminal() || ticket.customer_wait.is_none());
    let technician = ticket.current_visit().unwrap().technician_id;
    let needed = matches!(
        ticket.state,
        TicketState::Dispatched | TicketState::OnSite | TicketState::ChangeRequested
    );
    assert!(!needed || technician.is_some(), "nobody is on site");
}

/// What the ticket says of its approvals is what their rows say.
pub(crate) fn approvals_agree(desk: &Desk) {
    let open: Vec<_> = desk
        .approvals
        .iter()
        .filter(|row| row.is_open())
        .map(|row| {
            (
                row.id,
                row.version,
                row.state == ApprovalState::Approved,
                &row.steps,
            )
        })
        .collect();
    let carried = desk.ticket().approvals.iter();
    let carried: Vec<_> = carried
        .map(|it| (it.id, it.version, it.released, &it.steps))
        .collect();
    assert_eq!(carried, open);
}

/// Runs the steps and returns the states that were visited.
fn play(steps: &[Step]) -> Vec<TicketState> {
    let mut desk = Desk::new();
    let mut states = Vec::new();
    for step in steps {
        desk.pass(step.minutes);
        let before = desk.ticket.clone();
        let operation = operation(&desk, &step.pick);
        let command = command(&desk, operation, step.variant);
        let mut facts = desk.facts_for(&command);
        if let Command::Triage(Triage {
            template: Some(template),
            ..
        }) = &command
        {
            facts.template = [glass(), door()].into_iter().find(|t| t.id == *template);
        }
        match desk.try_with(&command, &facts) {
            Ok(decided) => accepted(desk.key, before.as_ref(), &command, &decided),
            Err(rejection) => {
                refused(before.as_ref().unwrap(), &command, &rejection);
                assert_eq!(desk.ticket, before);
            }
        }
        sound(desk.ticket());
        states.push(desk.ticket().state);
    }
    // What a reader of the timeline does: read the stored changes back and fold them.
    let stored = serde_json::to_string(&desk.changes).unwrap();
    let stored: Vec<TicketChange> = serde_json::from_str(&stored).unwrap();
    let rebuilt = stored
        .iter()
        .fold(None, |ticket, change| Some(evolve(key(), ticket, change)));
    assert_eq!(rebuilt, desk.ticket);
    assert!(desk.seq >= desk.ticket().version, "each version has a seq");
    approvals_agree(&desk);
    states
}

proptest! {
    #[test]
    fn whatever_comes_the_invariants_hold(steps in prop::collection::vec(step(), 1..60)) {
        play(&steps);
    }

    #[test]
    fn any_change_can_be_folded_onto_anything(
        ours in prop::collection::vec(step(), 1..30),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut desk = Desk::new();
        for step in &ours {
            let operation = operation(&desk, &step.pick);
            let command = command(&desk, operation, step.variant);
            drop(desk.attempt(command));
        }
        // A timeline that lost its beginning is nonsense, and still no reason to fail.
        let tail = &desk.changes[cut.index(desk.changes.len())..];
        let folded = tail.iter().fold(None, |ticket, change| Some(evolve(key(), ticket, change)));
        prop_assert!(folded.is_some());
    }
}

/// The property above would pass on tickets that never get anywhere.
#[test]
fn random_walks_reach_every_state() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(step(), 60);
    let mut reached = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let steps = strategy.new_tree(&mut runner).unwrap().current();
        reached.extend(play(&steps));
    }
    assert_eq!(reached.len(), TicketState::VARIANTS.len(), "{reached:?}");
}
