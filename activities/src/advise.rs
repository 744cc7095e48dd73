//! Asks the advisors and records what they say; then acts on it, where the call says that software
//! may.
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
    act::{self, Advised},
    bookkeeper::Desk,
    failure::{self, Later},
};

pub(crate) async fn record(desk: &Desk, call: &AdviseCall) -> Result<Outcome, Later> {
    let mut all = Outcome::Recorded;
    let mut advised = Vec::new();
    for wanted in call.wanted() {
        let outcome = match ask(desk, call, wanted).await? {
            Ok(body) => record_one(desk, call, wanted, body, &mut advised).await?,
            Err(outcome) => outcome,
        };
        match outcome {
            Outcome::Recorded => {}
            // Whatever else is asked for is about the same version.
            Outcome::Ahead => return Ok(Outcome::Ahead),
            refused @ (Outcome::Refused { .. } | Outcome::Held { .. }) => all = refused,
            moot @ Outcome::Moot { .. } => {
                if all == Outcome::Recorded {
                    all = moot;
                }
            }
        }
    }
    if all != Outcome::Recorded || call.act.is_empty() {
        return Ok(all);
    }
    // What was recorded by an earlier call is asked for anew, to see whether it still holds.
    for kind in call.act.iter().filter(|kind| !call.kinds.contains(kind)) {
        match ask(desk, call, Wanted::Kind(*kind)).await? {
            Ok(body) => advised.push(Advised {
                input: body.input,
                advice: body.advice,
                is_record: false,
            }),
            Err(outcome) => return Ok(outcome),
        }
    }
    act::follow(desk, call, &advised).await
}

/// What the advisor says; or why there is nothing to say.
async fn ask(
    desk: &Desk,
    call: &AdviseCall,
    wanted: Wanted<'_>,
) -> Result<Result<RecordProposal, Outcome>, Later> {
    let (kind, clock) = match wanted {
        Wanted::Kind(kind) => (kind, None),
        Wanted::Escalation(record) => (ProposalKind::Escalation, Some(&record.clock)),
    };
    let input = match desk.advisor_input(kind, clock).await {
        Ok(input) => input,
        Err(error) => {
            let (code, reason) = failure::refusal(error)?;
            return Ok(Err(match code {
                // There is nothing to advise on any more.
                Some(ErrorCode::IllegalTransition) => Outcome::Moot { reason },
                code => failure::common(code, reason),
            }));
        }
    };
    let version = input.version();
    if version < call.version {
        return Ok(Err(Outcome::Ahead));
    }
    if version > call.version || !is_about(&input, wanted) {
        // The event that tells of it is on its way, and asks for advice of its own if any is due.
        return Ok(Err(Outcome::Moot {
            reason: ErrorCode::VersionConflict.to_string(),
        }));
    }
    Ok(Ok(RecordProposal {
        based_on_version: version,
        applied_seq: call.applied_seq,
        advice: domain::advise(&input),
        input,
    }))
}

async fn record_one(
    desk: &Desk,
    call: &AdviseCall,
    wanted: Wanted<'_>,
    body: RecordProposal,
    advised: &mut Vec<Advised>,
) -> Result<Outcome, Later> {
    let error = match desk.record_proposal(&body, call.request_id(wanted)).await {
        Ok(()) => {
            advised.push(Advised {
                input: body.input,
                advice: body.advice,
                is_record: true,
            });
            return Ok(Outcome::Recorded);
        }
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
    if !is_recorded {
        return Ok(Outcome::Refused { reason });
    }
    advised.push(Advised {
        input: body.input,
        advice: body.advice,
        is_record: false,
    });
    Ok(Outcome::Recorded)
}

/// Whether it is what was asked for: another record may have come meanwhile.
fn is_about(input: &AdvisorInput, wanted: Wanted<'_>) -> bool {
    match (input, wanted) {
        (AdvisorInput::Escalation(input), Wanted::Escalation(record)) => input.record == *record,
        (input, Wanted::Kind(kind)) => input.kind() == kind,
        (_, Wanted::Escalation(_)) => false,
    }
}
