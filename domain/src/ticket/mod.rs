//! Commands on a ticket: one file per command, one fold for all.
//!
//! A refusal names the first thing that is wrong in a fixed order: the expected version, then
//! whether the command leads anywhere from here, then fields and facts. (An approval that was
//! decided before is named ahead of the transition: the second approver is to learn who was first,
//! not merely that the ticket has moved on.)

mod evolve;
pub mod table;

mod about_approval;
mod add_evidence;
mod add_note;
mod attach_message;
mod cancel;
pub(crate) mod check;
mod check_in;
mod close;
mod comms_inbound;
mod comms_outbound;
mod complete;
mod confirm_schedule;
mod create;
mod customer_await;
mod customer_resume;
mod decide_approval;
mod dispatch;
mod en_route;
mod generate_invoice;
mod held;
mod merge;
mod no_access;
mod propose_schedule;
mod qa_reject;
mod qa_verify;
mod record_proposal;
mod record_sla;
mod reopen;
mod request_change;
mod reschedule;
mod return_visit;
mod set_ticket_autonomy;
mod triage;
mod unassign;

use contracts::{
    ApprovalId, Command,
    event::{TicketChange, TicketEvent},
    ticket::Ticket,
};

use crate::{
    Decided, Effect, Facts, Rejection, TicketKey, notices, pairing, rejection::Obstacle, sla,
};

pub use evolve::evolve;
pub use held::{execute, hold};

/// What one command leads to: its event, and rows beside the ticket.
struct Plan {
    event: TicketEvent,
    /// What happened besides: events for readers.
    also: Vec<TicketEvent>,
    effects: Vec<Effect>,
}

impl From<TicketEvent> for Plan {
    fn from(event: TicketEvent) -> Self {
        Self {
            event,
            also: Vec::new(),
            effects: Vec::new(),
        }
    }
}

impl Plan {
    fn with(mut self, effect: impl IntoIterator<Item = Effect>) -> Self {
        self.effects.extend(effect);
        self
    }

    fn and(mut self, event: TicketEvent) -> Self {
        self.also.push(event);
        self
    }
}

/// Decides a command. `ticket` is `None` for a creation only: without one, every other command is
/// [`Rejection::NotFound`].
pub fn decide(
    key: TicketKey,
    ticket: Option<&Ticket>,
    command: &Command,
    facts: &Facts,
) -> Result<Decided, Rejection> {
    check::expected_version(ticket, facts)?;
    let plan = match (ticket, command) {
        (None, Command::CreateTicket(body)) => create::plan(body, facts)?,
        (None, Command::CommsInbound(body)) => comms_inbound::open(key, body, facts)?,
        (None, _) => return Err(Rejection::NotFound),
        (Some(ticket), command) => {
            about_approval::undecided(command, ticket, facts)?;
            table::step(command.operation(), ticket, facts.template.as_ref())?;
            plan(key, ticket, command, facts)?
        }
    };
    finish(key, ticket, plan, facts, None)
}

/// Folds a plan into the ticket and adds what follows from it: clocks, pairs, notices, and the end
/// of approvals whose ground it took away. `carried_out`: the approval that this is the doing of.
fn finish(
    key: TicketKey,
    ticket: Option<&Ticket>,
    plan: Plan,
    facts: &Facts,
    carried_out: Option<ApprovalId>,
) -> Result<Decided, Rejection> {
    let Plan {
        event,
        also,
        mut effects,
    } = plan;
    let notices = notices::notices(&event, &effects, facts);
    let mut changes = vec![TicketChange {
        at: facts.now,
        event,
        sla: None,
    }];
    let before = ticket.cloned();
    let mut after = evolve(key, before, &changes[0]);
    let clocks = sla::follow(ticket, &after, &changes[0].event, facts)?;
    if clocks != after.sla {
        changes[0].sla = Some(clocks);
        after = evolve(key, ticket.cloned(), &changes[0]);
    }
    let mut beside = held::ended(ticket, &after, carried_out, facts)?;
    let told = beside
        .iter()
        .map(|(event, _)| event)
        .chain([&changes[0].event]);
    let void = notices::of_stale(told, facts);
    beside.extend(pairing::pair(&changes[0].event, ticket, &after, facts));
    beside.extend(notices);
    beside.extend(void);
    let also = also.into_iter().map(|event| (event, None));
    let beside = beside
        .into_iter()
        .map(|(event, effect)| (event, Some(effect)));
    for (event, effect) in also.chain(beside) {
        let change = TicketChange {
            at: facts.now,
            event,
            sla: None,
        };
        after = evolve(key, Some(after), &change);
        changes.push(change);
        effects.extend(effect);
    }
    Ok(Decided {
        changes,
        ticket: after,
        effects,
    })
}

fn plan(
    key: TicketKey,
    ticket: &Ticket,
    command: &Command,
    facts: &Facts,
) -> Result<Plan, Rejection> {
    match command {
        Command::CreateTicket(_) => Err(table::illegal(
            command.operation(),
            ticket,
            facts.template.as_ref(),
            Obstacle::State,
        )),
        Command::Triage(body) => triage::plan(body, ticket, facts),
        Command::ProposeSchedule(body) => propose_schedule::plan(body, ticket, facts),
        Command::ConfirmSchedule(body) => confirm_schedule::plan(body, ticket, facts),
        Command::Reschedule(body) => reschedule::plan(body, ticket, facts),
        Command::Dispatch(body) => dispatch::plan(body, ticket, facts),
        Command::Unassign(body) => unassign::plan(body, ticket),
        Command::EnRoute(body) => en_route::plan(body, ticket, facts),
        Command::CheckIn(body) => check_in::plan(body, ticket),
        Command::NoAccess(body) => no_access::plan(body, ticket, facts),
        Command::RequestChange(body) => request_change::plan(key, body, ticket, facts),
        Command::DecideApproval(body) => decide_approval::plan(body, ticket, facts),
        Command::AmendApproval(_)
        | Command::WithdrawApproval(_)
        | Command::ChangeApprovalDue(_)
        | Command::ClaimApproval(_)
        | Command::ReleaseApproval(_)
        | Command::TakeOverApproval(_)
        | Command::CommentApproval(_)
        | Command::RecordApprovalStep(_) => about_approval::plan(command, ticket, facts),
        // What is carried out is the held command, see `execute`.
        // A change order takes effect with its decision: nothing is held for later.
        Command::ExecuteApproval(body)
            if facts
                .approval
                .as_ref()
                .is_some_and(|it| it.kind == contracts::approval::ApprovalKind::ChangeOrder) =>
        {
            Err(Rejection::NotReleased(body.approval_id))
        }
        Command::ExecuteApproval(_) => Err(Rejection::Broken {
            what: "the command that this approval holds",
        }),
        Command::SetTicketAutonomy(body) => set_ticket_autonomy::plan(body, ticket),
        Command::ReturnVisit(body) => return_visit::plan(body, ticket, facts),
        Command::Complete(body) => complete::plan(body, ticket),
        Command::QaVerify(body) => Ok(qa_verify::plan(body)),
        Command::QaReject(body) => qa_reject::plan(body, facts),
        Command::GenerateInvoice(body) => generate_invoice::plan(body, facts),
        Command::Close(body) => close::plan(body, ticket),
        Command::Reopen(body) => reopen::plan(body, ticket, facts),
        Command::Cancel(body) => Ok(cancel::plan(body)),
        Command::Merge(body) => merge::plan(key, body, facts),
        Command::CustomerAwait(body) => Ok(customer_await::plan(body)),
        Command::CustomerResume(body) => Ok(customer_resume::plan(body)),
        Command::AddNote(body) => Ok(add_note::plan(body, facts)),
        Command::RecordProposal(body) => record_proposal::plan(body, ticket, facts),
        Command::RecordSla(body) => record_sla::plan(body, ticket, facts),
        Command::AddEvidence(body) => add_evidence::plan(body, facts),
        Command::CommsInbound(body) => comms_inbound::attach(key, body, facts),
        Command::CommsOutbound(body) => comms_outbound::plan(body, ticket, facts),
        Command::AttachMessage(body) => attach_message::plan(body, facts),
        Command::UpsertSite(_)
        | Command::UpsertAsset(_)
        | Command::UpsertContact(_)
        | Command::UpsertTechnician(_)
        | Command::RecordAbsence(_)
        | Command::CancelAbsence(_)
        | Command::EngageKillSwitch(_)
        | Command::ReleaseKillSwitch(_)
        | Command::RecordDrill(_)
        | Command::DelegateApprovals(_)
        | Command::RevokeDelegation(_)
        | Command::RecordGateReport(_)
        | Command::PromoteStage(_)
        | Command::DemoteStage(_)
        | Command::ApplyStageChange(_)
        | Command::UploadBundle(_)
        | Command::ActivateBundle(_)
        | Command::CreateTenant(_)
        | Command::ConfigureTenant(_)
        | Command::SuspendTenant(_)
        | Command::ResumeTenant(_)
        | Command::RequestTenantDeletion(_)
        | Command::CancelTenantDeletion(_)
        | Command::EraseTenant(_)
        | Command::LimitTenant(_)
        | Command::RecordTenantExport(_)
        | Command::UpsertServiceAccount(_)
        | Command::DisableServiceAccount(_)
        | Command::IssueApiKey(_)
        | Command::RotateApiKey(_)
        | Command::RevokeApiKey(_) => Err(Rejection::Broken {
            what: "a ticket to which this filing belongs",
        }),
    }
}

#[cfg(test)]
mod days;
#[cfg(test)]
pub(crate) mod properties;
#[cfg(test)]
mod tests;
