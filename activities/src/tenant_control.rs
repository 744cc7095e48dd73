//! Sends what is due for a tenant without a ticket.
//!
//! What is due is dispatch-api's to say, from what is on record; here it is only sent back, each
//! with the key that came with it. A command that is refused does not keep the others waiting: the
//! next round finds what is still due.

use contracts::{ErrorCode, Operation, command::CommandClass};
use workflows::activity::Controlled;

use crate::{
    bookkeeper::ControlDesk,
    failure::{self, Later},
};

pub(crate) async fn run(desk: &ControlDesk) -> Result<Controlled, Later> {
    let mut controlled = Controlled::default();
    let due = match desk.due().await {
        Ok(due) => due,
        // The tenant was erased.
        Err(error) if error.code() == Some(ErrorCode::NotFound) => return Ok(controlled),
        Err(error) => return Err(error.into()),
    };
    for due in due.commands {
        let operation = due.operation;
        if !is_control(operation) {
            controlled.refused.push(format!("{operation}: not sent"));
            continue;
        }
        match desk.send(&due).await {
            Ok(()) => controlled.done += 1,
            Err(error) => match failure::refusal(error)? {
                // An earlier round did it, and its answer was lost.
                (Some(ErrorCode::AlreadyDecided), _) => controlled.done += 1,
                (_, reason) => {
                    tracing::warn!(%operation, reason, "a command that was due was refused");
                    controlled.refused.push(format!("{operation}: {reason}"));
                }
            },
        }
    }
    Ok(controlled)
}

/// Nothing that changes a ticket, and no decision, is ever due by itself.
fn is_control(operation: Operation) -> bool {
    operation == Operation::RecordApprovalStep || operation.class() == CommandClass::Filing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ticket_is_changed_and_nothing_decided() {
        assert!(is_control(Operation::RecordApprovalStep));
        assert!(is_control(Operation::DemoteStage));
        for operation in [
            Operation::DecideApproval,
            Operation::ExecuteApproval,
            Operation::Dispatch,
            Operation::CommsOutbound,
        ] {
            assert!(!is_control(operation), "{operation}");
        }
    }
}
