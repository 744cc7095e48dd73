//! The state table: for every command and every state, where it leads.
//!
//! A row has one cell per state, so neither a new command nor a new state compiles without an
//! answer for each pair. What a cell cannot say (who is awaited, what the template allows) stands
//! in [`step`] and nowhere else.

use contracts::{
    Operation, TicketState, command::CommandClass, template::IncidentTemplate, ticket::Ticket,
};
use strum::VariantArray;

use crate::rejection::{Obstacle, Rejection};

/// Where a command leads from one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// To this state.
    To(TicketState),
    /// Nowhere else: the state stays.
    Same,
    /// It is not possible.
    No,
}

type Row = [Cell; TicketState::VARIANTS.len()];

const fn row(operation: Operation) -> Row {
    use Cell::No as __;
    use Cell::Same as SAME;
    const TRI: Cell = Cell::To(TicketState::Triaged);
    const PRO: Cell = Cell::To(TicketState::ScheduleProposed);
    const SCH: Cell = Cell::To(TicketState::Scheduled);
    const DIS: Cell = Cell::To(TicketState::Dispatched);
    const ONS: Cell = Cell::To(TicketState::OnSite);
    const CHG: Cell = Cell::To(TicketState::ChangeRequested);
    const RET: Cell = Cell::To(TicketState::ReturnPending);
    const WRK: Cell = Cell::To(TicketState::WorkComplete);
    const VER: Cell = Cell::To(TicketState::Verified);
    const INV: Cell = Cell::To(TicketState::Invoiced);
    const CLO: Cell = Cell::To(TicketState::Closed);
    const CAN: Cell = Cell::To(TicketState::Cancelled);
    #[rustfmt::skip]
    let row = match operation {
        // from                       NEW  TRI  PRO  SCH  DIS  ONS  CHG  RET  WRK  VER  INV  CLO  CAN
        Operation::CreateTicket =>    [__,  __,  __,  __,  __,  __,  __,  __,  __,  __,  __,  __,  __],
        Operation::Triage =>          [TRI, TRI, __,  __,  __,  __,  __,  __,  __,  __,  __,  __,  __],
        Operation::ProposeSchedule => [__,  PRO, PRO, __,  __,  __,  __,  PRO, __,  __,  __,  __,  __],
        Operation::ConfirmSchedule => [__,  __,  SCH, __,  __,  __,  __,  __,  __,  __,  __,  __,  __],
        Operation::Reschedule =>      [__,  __,  __,  PRO, PRO, __,  __,  __,  __,  __,  __,  __,  __],
        Operation::Dispatch =>        [__,  DIS, __,  DIS, __,  __,  __,  __,  __,  __,  __,  __,  __],
        Operation::Unassign =>        [__,  __,  __,  __,  SCH, __,  __,  __,  __,  __,  __,  __,  __],
        Operation::EnRoute =>         [__,  __,  __,  __,  SAME,__,  __,  __,  __,  __,  __,  __,  __],
        Operation::CheckIn =>         [__,  __,  __,  __,  ONS, __,  __,  __,  __,  __,  __,  __,  __],
        Operation::NoAccess =>        [__,  __,  __,  __,  RET, RET, __,  __,  __,  __,  __,  __,  __],
        Operation::RequestChange =>   [__,  __,  __,  __,  __,  CHG, __,  __,  __,  __,  __,  __,  __],
        Operation::ReturnVisit =>     [__,  __,  __,  __,  __,  RET, __,  __,  __,  __,  __,  __,  __],
        Operation::Complete =>        [__,  __,  __,  __,  __,  WRK, __,  __,  __,  __,  __,  __,  __],
        Operation::QaVerify =>        [__,  __,  __,  __,  __,  __,  __,  __,  VER, __,  __,  __,  __],
        Operation::QaReject =>        [__,  __,  __,  __,  __,  __,  __,  __,  RET, __,  __,  __,  __],
        Operation::GenerateInvoice => [__,  __,  __,  __,  __,  __,  __,  __,  __,  INV, __,  __,  __],
        Operation::Close =>           [__,  __,  __,  __,  __,  __,  __,  __,  __,  CLO, CLO, __,  __],
        Operation::Reopen =>          [__,  __,  __,  __,  __,  __,  __,  __,  __,  RET, RET, RET, __],
        Operation::Cancel =>          [CAN, CAN, CAN, CAN, CAN, CAN, CAN, CAN, __,  __,  __,  __,  __],
        Operation::Merge =>           [CAN, CAN, __,  __,  __,  __,  __,  __,  __,  __,  __,  __,  __],
        Operation::CustomerAwait
        | Operation::CustomerResume
        | Operation::SetTicketAutonomy =>
            [SAME,SAME,SAME,SAME,SAME,SAME,SAME,SAME,SAME,SAME,SAME,__, __],
        // A change order leads back to work; a held command is carried out by `execute_approval`.
        Operation::DecideApproval =>
            [SAME,SAME,SAME,SAME,SAME,SAME,ONS, SAME,SAME,SAME,SAME,SAME,SAME],
        // Where these lead is a matter of the approval, see `crate::approval`.
        Operation::AmendApproval
        | Operation::WithdrawApproval
        | Operation::ChangeApprovalDue
        | Operation::RecordApprovalStep
        | Operation::ExecuteApproval
        | Operation::ClaimApproval
        | Operation::ReleaseApproval
        | Operation::TakeOverApproval
        | Operation::CommentApproval
        | Operation::AddNote
        | Operation::RecordProposal
        | Operation::RecordSla
        | Operation::AddEvidence
        | Operation::CommsInbound
        | Operation::CommsOutbound
        | Operation::AttachMessage =>
            [SAME,SAME,SAME,SAME,SAME,SAME,SAME,SAME,SAME,SAME,SAME,SAME,SAME],
        // Not about a ticket.
        Operation::UpsertSite
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
        | Operation::RevokeApiKey =>
            [__,  __,  __,  __,  __,  __,  __,  __,  __,  __,  __,  __,  __],
    };
    row
}

/// The state that a command leads to by the table alone; `None` when it leads nowhere. A creation
/// leads nowhere from any state: it begins with none.
pub const fn next_state(operation: Operation, from: TicketState) -> Option<TicketState> {
    match row(operation)[from as usize] {
        Cell::To(state) => Some(state),
        Cell::Same => Some(from),
        Cell::No => None,
    }
}

/// The commands of class `Change` that lead somewhere from here, and the decision of an approval
/// where one waits. Bookkeeping is always possible.
pub fn legal_operations(ticket: &Ticket, template: Option<&IncidentTemplate>) -> Vec<Operation> {
    Operation::VARIANTS
        .iter()
        .copied()
        .filter(|operation| match operation {
            Operation::DecideApproval => waits_for_people(ticket),
            operation => operation.class() == CommandClass::Change,
        })
        .filter(|operation| obstacle(*operation, ticket, template).is_none())
        .collect()
}

fn waits_for_people(ticket: &Ticket) -> bool {
    let undecided = ticket.approvals.iter().any(|approval| !approval.released);
    undecided || ticket.open_change.is_some()
}

/// Refuses a command that leads nowhere from the ticket as it is.
pub(crate) fn step(
    operation: Operation,
    ticket: &Ticket,
    template: Option<&IncidentTemplate>,
) -> Result<(), Rejection> {
    match obstacle(operation, ticket, template) {
        None => Ok(()),
        Some(obstacle) => Err(illegal(operation, ticket, template, obstacle)),
    }
}

pub(crate) fn illegal(
    operation: Operation,
    ticket: &Ticket,
    template: Option<&IncidentTemplate>,
    obstacle: Obstacle,
) -> Rejection {
    Rejection::IllegalTransition {
        operation,
        state: ticket.state,
        obstacle,
        legal: legal_operations(ticket, template),
    }
}

fn obstacle(
    operation: Operation,
    ticket: &Ticket,
    template: Option<&IncidentTemplate>,
) -> Option<Obstacle> {
    if next_state(operation, ticket.state).is_none() {
        return Some(Obstacle::State);
    }
    let awaited = ticket.customer_wait.is_some();
    let direct = || template.is_some_and(|t| t.direct_dispatch.contains(&ticket.priority));
    match operation {
        Operation::CustomerAwait if awaited => Some(Obstacle::CustomerAwaited),
        Operation::CustomerResume if !awaited => Some(Obstacle::CustomerNotAwaited),
        Operation::Dispatch if ticket.state == TicketState::Triaged && !direct() => {
            Some(Obstacle::NoDirectDispatch)
        }
        _ => None,
    }
}
