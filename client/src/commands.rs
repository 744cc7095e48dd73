//! One method per routed command.

use contracts::{Operation, TicketId, command::*};

use crate::{CallOptions, Client, ClientError};

macro_rules! commands {
    ($($(#[$doc:meta])* $method:ident = $operation:ident;)+) => {
        impl Client {
            /// Opens a ticket.
            pub async fn create_ticket(
                &self,
                body: &CreateTicket,
                options: &CallOptions,
            ) -> Result<CommandReceipt, ClientError> {
                self.command(Operation::CreateTicket, None, body, options).await
            }

            $($(#[$doc])*
            pub async fn $method(
                &self,
                ticket: TicketId,
                body: &$operation,
                options: &CallOptions,
            ) -> Result<CommandReceipt, ClientError> {
                self.command(Operation::$operation, Some(ticket), body, options).await
            })+
        }
    };
}

commands! {
    /// Sets priority, template and details.
    triage = Triage;
    /// Offers a window for the current or the next visit.
    propose_schedule = ProposeSchedule;
    /// The customer took the window.
    confirm_schedule = ConfirmSchedule;
    /// Another window; the assignment is released.
    reschedule = Reschedule;
    /// Sends a technician.
    dispatch = Dispatch;
    /// Takes the technician off.
    unassign = Unassign;
    /// The technician is under way.
    en_route = EnRoute;
    /// The technician is there.
    check_in = CheckIn;
    /// Nobody could get in.
    no_access = NoAccess;
    /// More work than agreed: needs an approval.
    request_change = RequestChange;
    /// Decides an approval.
    decide_approval = DecideApproval;
    /// Made safe for now; another visit is needed.
    return_visit = ReturnVisit;
    /// The work is done.
    complete = Complete;
    /// Quality is good.
    qa_verify = QaVerify;
    /// Quality is not good: another visit.
    qa_reject = QaReject;
    /// Charges for the work.
    generate_invoice = GenerateInvoice;
    /// Ends the ticket.
    close = Close;
    /// Opens an ended ticket again.
    reopen = Reopen;
    /// Calls the job off.
    cancel = Cancel;
    /// The same job as another ticket.
    merge = Merge;
    /// The customer has to do something first: clocks pause.
    customer_await = CustomerAwait;
    /// The customer did it: clocks run.
    customer_resume = CustomerResume;
    /// Says whether software may act on the ticket.
    set_ticket_autonomy = SetTicketAutonomy;
    /// Writes a note.
    add_note = AddNote;
    /// Records what software would have done.
    record_proposal = RecordProposal;
    /// Records an SLA warning or breach.
    record_sla = RecordSla;
    /// Puts a documented fact on record.
    add_evidence = AddEvidence;
}
