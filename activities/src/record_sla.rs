//! Records an SLA warning or breach.

use contracts::{ErrorCode, command::RecordSla};
use workflows::activity::{Outcome, RecordSlaCall};

use crate::{
    bookkeeper::Desk,
    failure::{self, Later},
};

pub(crate) async fn record(desk: &Desk, call: &RecordSlaCall) -> Result<Outcome, Later> {
    let body = RecordSla {
        clock: call.key.clock.clone(),
        kind: call.key.kind,
        revision: call.key.revision,
        effective_at: call.effective_at,
        applied_seq: call.applied_seq,
    };
    match desk.record_sla(&body, call.request_id()).await {
        Ok(()) => Ok(Outcome::Recorded),
        Err(error) => failure::refusal(error).map(|(code, reason)| outcome(code, reason)),
    }
}

fn outcome(code: Option<ErrorCode>, reason: String) -> Outcome {
    match code {
        // The clock was paused, stopped, moved (422 on `effective_at`) or replaced in the meantime.
        Some(ErrorCode::IllegalTransition | ErrorCode::Expired | ErrorCode::InvalidField) => {
            Outcome::Moot { reason }
        }
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
        assert!(matches!(of(ErrorCode::InvalidField), Outcome::Moot { .. }));
        assert!(matches!(
            of(ErrorCode::IllegalTransition),
            Outcome::Moot { .. }
        ));
        assert!(matches!(of(ErrorCode::Expired), Outcome::Moot { .. }));
        assert!(matches!(of(ErrorCode::Stage), Outcome::Refused { .. }));
    }
}
