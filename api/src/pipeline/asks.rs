//! Which rows a command depends on besides its ticket.

use contracts::Command;
use store::command::Asks;

pub(super) fn of(command: &Command) -> Asks {
    let none = Asks::default();
    match command {
        Command::CreateTicket(body) => Asks {
            site: Some(body.site_id),
            asset: body.asset_id,
            contact: body.contact_id,
            ..none
        },
        Command::Dispatch(body) => Asks {
            technician: Some(body.technician_id),
            ..none
        },
        Command::DecideApproval(body) => Asks {
            approval: Some(body.approval_id),
            ..none
        },
        Command::Merge(body) => Asks {
            merge_into: Some(body.into),
            ..none
        },
        Command::GenerateInvoice(_) => Asks {
            invoice: true,
            ..none
        },
        Command::Reopen(_) => Asks {
            credit_note: true,
            ..none
        },
        Command::Triage(_)
        | Command::ProposeSchedule(_)
        | Command::ConfirmSchedule(_)
        | Command::Reschedule(_)
        | Command::Unassign(_)
        | Command::EnRoute(_)
        | Command::CheckIn(_)
        | Command::NoAccess(_)
        | Command::RequestChange(_)
        | Command::ReturnVisit(_)
        | Command::Complete(_)
        | Command::QaVerify(_)
        | Command::QaReject(_)
        | Command::Close(_)
        | Command::Cancel(_)
        | Command::CustomerAwait(_)
        | Command::CustomerResume(_)
        | Command::AddNote(_)
        | Command::RecordProposal(_)
        | Command::RecordSla(_) => none,
    }
}
