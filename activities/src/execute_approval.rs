//! Carries out what people have released.
//!
//! The durable record has the last word: dispatch-api reads it under its lock, compares the hash of
//! what was approved, and asks policy, stage and kill switch once more. Here is only told apart
//! what came of it.

use contracts::{ErrorCode, command::ExecuteApproval};
use workflows::activity::{CarryOutCall, Outcome};

use crate::{
    bookkeeper::Desk,
    failure::{self, Later},
};

pub(crate) async fn carry_out(desk: &Desk, call: &CarryOutCall) -> Result<Outcome, Later> {
    let body = ExecuteApproval {
        approval_id: call.approval_id,
        version: call.version,
        applied_seq: call.applied_seq,
        override_kill_switch: None,
    };
    let error = match desk.execute_approval(&body, call.request_id()).await {
        Ok(()) => return Ok(Outcome::Recorded),
        Err(error) => error,
    };
    let (code, reason) = failure::refusal(error)?;
    if code != Some(ErrorCode::IdempotencyMismatch) {
        return Ok(outcome(code, reason));
    }
    // An earlier run was answered, and its worker died before it could tell; this one knows of
    // another event. The truth says what became of it.
    let snapshot = desk.snapshot().await?;
    let is_open = snapshot.level.approvals.iter().any(|approval| {
        (approval.id, approval.version) == (call.approval_id, call.version) && approval.released
    });
    Ok(match is_open {
        true => Outcome::Refused { reason },
        false => Outcome::Recorded,
    })
}

fn outcome(code: Option<ErrorCode>, reason: String) -> Outcome {
    match code {
        // Not now; the approval stays released until its end.
        Some(ErrorCode::KillSwitch | ErrorCode::Stage) => Outcome::Held { reason },
        // It ended otherwise, or was amended: the event is on its way.
        Some(
            ErrorCode::AlreadyDecided
            | ErrorCode::ApprovalStale
            | ErrorCode::Expired
            | ErrorCode::IllegalTransition,
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
        for held in [ErrorCode::KillSwitch, ErrorCode::Stage] {
            assert!(matches!(of(held), Outcome::Held { .. }), "{held}");
        }
        for moot in [
            ErrorCode::AlreadyDecided,
            ErrorCode::ApprovalStale,
            ErrorCode::Expired,
        ] {
            assert!(matches!(of(moot), Outcome::Moot { .. }), "{moot}");
        }
        assert_eq!(of(ErrorCode::AheadOfDatabase), Outcome::Ahead);
        assert_eq!(of(ErrorCode::NotFound), Outcome::Ahead);
        assert!(matches!(of(ErrorCode::Forbidden), Outcome::Refused { .. }));
    }
}
