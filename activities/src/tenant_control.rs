//! Sends what is due for a tenant without a ticket.
//!
//! What is due is dispatch-api's to say, from what is on record; here it is only sent back, each
//! with the key that came with it. A command that is refused, or cannot be sent now, does not keep
//! the others waiting: the next attempt finds what is still due.

use client::ClientError;
use contracts::{ErrorCode, Operation, command::CommandClass};
use workflows::activity::Controlled;

use crate::{
    bookkeeper::ControlDesk,
    failure::{self, Later},
};

pub(crate) async fn run(desk: &ControlDesk) -> Result<Controlled, Later> {
    let due = match desk.due().await {
        Ok(due) => due,
        // The tenant was erased.
        Err(error) if error.code() == Some(ErrorCode::NotFound) => {
            return Ok(Controlled::default());
        }
        Err(error) => return Err(error.into()),
    };
    let mut round = Round::default();
    for due in due.commands {
        if round.sends(due.operation) {
            round.met(due.operation, desk.send(&due).await);
        }
    }
    round.end()
}

/// What came of the commands so far.
#[derive(Debug, Default)]
struct Round {
    controlled: Controlled,
    /// The first failure that is worth another attempt.
    unsent: Option<Later>,
    /// Whether something that is to go back did not.
    no_further: bool,
}

impl Round {
    /// Whether a command has its turn.
    fn sends(&mut self, operation: Operation) -> bool {
        if !is_control(operation) {
            let refused = format!("{operation}: not sent");
            self.controlled.refused.push(refused);
            return false;
        }
        // What is to go back may make it void.
        !(self.no_further && operation == Operation::ApplyStageChange)
    }

    fn met(&mut self, operation: Operation, answer: Result<(), ClientError>) {
        match answer.map_err(failure::refusal) {
            // An earlier round did it, and its answer was lost.
            Ok(()) | Err(Ok((Some(ErrorCode::AlreadyDecided), _))) => self.controlled.done += 1,
            Err(Ok((_, reason))) => {
                tracing::warn!(%operation, reason, "a command that was due was refused");
                self.controlled
                    .refused
                    .push(format!("{operation}: {reason}"));
            }
            Err(Err(later)) => {
                tracing::warn!(%operation, reason = %later, "a command that is due waits");
                self.no_further |= operation == Operation::DemoteStage;
                self.unsent.get_or_insert(later);
            }
        }
    }

    /// Fails only when all had their turn.
    fn end(self) -> Result<Controlled, Later> {
        match self.unsent {
            Some(later) => Err(later),
            None => Ok(self.controlled),
        }
    }
}

/// Nothing that changes a ticket, and no decision, is ever due by itself.
fn is_control(operation: Operation) -> bool {
    operation == Operation::RecordApprovalStep || operation.class() == CommandClass::Filing
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of these is sent when one of them meets an answer of this status, and how it ends.
    fn round(fails: Operation, status: u16) -> (Vec<Operation>, Result<Controlled, Later>) {
        let due = [
            Operation::DemoteStage,
            Operation::RecordApprovalStep,
            Operation::ApplyStageChange,
            Operation::ReleaseKillSwitch,
        ];
        let mut round = Round::default();
        let mut sent = Vec::new();
        for operation in due {
            if !round.sends(operation) {
                continue;
            }
            sent.push(operation);
            let failed = || ClientError::Decode {
                url: "http://dispatch-api".to_owned(),
                status,
                detail: String::new(),
                retry_after: None,
            };
            let answer = (operation != fails).then_some(()).ok_or_else(failed);
            round.met(operation, answer);
        }
        (sent, round.end())
    }

    #[test]
    fn what_cannot_be_sent_now_keeps_no_other_waiting() {
        use Operation::{ApplyStageChange, DemoteStage, RecordApprovalStep, ReleaseKillSwitch};
        let (sent, ended) = round(RecordApprovalStep, 503);
        let all = [
            DemoteStage,
            RecordApprovalStep,
            ApplyStageChange,
            ReleaseKillSwitch,
        ];
        assert_eq!(sent, all);
        let later = ended.unwrap_err().to_string();
        assert_eq!(later, "unreadable answer with status 503");
        // Nothing goes ahead while something is still to go back.
        let (sent, ended) = round(DemoteStage, 503);
        assert_eq!(sent, [DemoteStage, RecordApprovalStep, ReleaseKillSwitch]);
        ended.unwrap_err();
        let (sent, ended) = round(DemoteStage, 404);
        assert_eq!(sent, all);
        let ended = ended.unwrap();
        assert_eq!((ended.done, ended.refused.len()), (3, 1));
    }

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
