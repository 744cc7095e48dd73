//! Asks the advisors and records what they say.
//!
//! One call for everything that is due at a version, so that the history grows by one marker
//! however many advisors there are. They are asked one after the other; what is on record by an
//! earlier life is found so by its key.

use contracts::{
    ErrorCode,
    command::RecordProposal,
    proposal::{AdvisorInput, ProposalKind},
};
use workflows::activity::{AdviseCall, Outcome, Wanted};

use crate::{
    Bookkeeper,
    bookkeeper::Desk,
    failure::{self, Later},
};

pub(crate) async fn record(api: &Bookkeeper, call: &AdviseCall) -> Result<Outcome, Later> {
    let desk = api.of(call.tenant_id, call.ticket_id, call.cause.as_ref());
    let mut all = Outcome::Recorded;
    for wanted in call.wanted() {
        match one(&desk, call, wanted).await? {
            Outcome::Recorded => {}
            // Whatever else is asked for is about the same version.
            Outcome::Ahead => return Ok(Outcome::Ahead),
            refused @ Outcome::Refused { .. } => all = refused,
            moot @ Outcome::Moot { .. } => {
                if all == Outcome::Recorded {
                    all = moot;
                }
            }
        }
    }
    Ok(all)
}

async fn one(desk: &Desk, call: &AdviseCall, wanted: Wanted<'_>) -> Result<Outcome, Later> {
    let (kind, clock) = match wanted {
        Wanted::Kind(kind) => (kind, None),
        Wanted::Escalation(record) => (ProposalKind::Escalation, Some(&record.clock)),
    };
    let input = match desk.advisor_input(kind, clock).await {
        Ok(input) => input,
        Err(error) => {
            let (code, reason) = failure::refusal(error)?;
            return Ok(match code {
                // There is nothing to advise on any more.
                Some(ErrorCode::IllegalTransition) => Outcome::Moot { reason },
                code => failure::common(code, reason),
            });
        }
    };
    let version = input.version();
    if version < call.version {
        return Ok(Outcome::Ahead);
    }
    if version > call.version || !is_about(&input, wanted) {
        // The event that tells of it is on its way, and asks for advice of its own if any is due.
        return Ok(Outcome::Moot {
            reason: ErrorCode::VersionConflict.to_string(),
        });
    }
    let body = RecordProposal {
        based_on_version: version,
        applied_seq: call.applied_seq,
        advice: domain::advise(&input),
        input,
    };
    let error = match desk.record_proposal(&body, call.request_id(wanted)).await {
        Ok(()) => return Ok(Outcome::Recorded),
        Err(error) => error,
    };
    let (code, reason) = failure::refusal(error)?;
    if code != Some(ErrorCode::IdempotencyMismatch) {
        return Ok(failure::common(code, reason));
    }
    // An earlier run with this key was answered, and its worker died before it could tell. Its
    // input named another moment. The truth says how it was answered.
    let snapshot = desk.snapshot().await?;
    let is_recorded = match wanted {
        Wanted::Kind(kind) => snapshot.proposed.contains(&(kind, call.version)),
        Wanted::Escalation(record) => snapshot.escalated.contains(record),
    };
    Ok(match is_recorded {
        true => Outcome::Recorded,
        false => Outcome::Refused { reason },
    })
}

/// Whether it is what was asked for: another record may have come meanwhile.
fn is_about(input: &AdvisorInput, wanted: Wanted<'_>) -> bool {
    match (input, wanted) {
        (AdvisorInput::Escalation(input), Wanted::Escalation(record)) => input.record == *record,
        (input, Wanted::Kind(kind)) => input.kind() == kind,
        (_, Wanted::Escalation(_)) => false,
    }
}
