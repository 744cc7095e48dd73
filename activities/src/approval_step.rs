//! Reminds of an approval, escalates or ends it.

use contracts::{ErrorCode, command::RecordApprovalStep};
use workflows::activity::{ApprovalStepCall, Outcome};

use crate::{
    bookkeeper::Desk,
    failure::{self, Later},
};

pub(crate) async fn record(desk: &Desk, call: &ApprovalStepCall) -> Result<Outcome, Later> {
    let body = RecordApprovalStep {
        approval_id: call.approval_id,
        version: call.version,
        step: call.step,
        at: call.at,
        applied_seq: call.applied_seq,
    };
    match desk.record_approval_step(&body, call.request_id()).await {
        Ok(()) => Ok(Outcome::Recorded),
        Err(error) => failure::refusal(error).map(|(code, reason)| outcome(code, reason)),
    }
}

fn outcome(code: Option<ErrorCode>, reason: String) -> Outcome {
    match code {
        // It was decided, amended, or ended, or its time was changed: the event is on its way.
        Some(
            ErrorCode::IllegalTransition
            | ErrorCode::ApprovalStale
            | ErrorCode::Expired
            | ErrorCode::InvalidField,
        ) => Outcome::Moot { reason },
        other => failure::common(other, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_their_code() {
        let of = |code: ErrorCode| outcome(Some(code), code.to_string());
        assert_eq!(of(ErrorCode::AlreadyDecided), Outcome::Recorded);
        assert_eq!(of(ErrorCode::AheadOfDatabase), Outcome::Ahead);
        assert_eq!(of(ErrorCode::NotFound), Outcome::Ahead);
        for moot in [
            ErrorCode::ApprovalStale,
            ErrorCode::Expired,
            ErrorCode::InvalidField,
        ] {
            assert!(matches!(of(moot), Outcome::Moot { .. }), "{moot}");
        }
        assert!(matches!(of(ErrorCode::Forbidden), Outcome::Refused { .. }));
    }
}
