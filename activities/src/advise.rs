//! Asks the advisor and records what it says.

use contracts::{ErrorCode, command::RecordProposal, proposal::AdvisorInput};
use workflows::activity::{AdviseCall, Outcome};

use crate::{
    Bookkeeper,
    failure::{self, Later},
};

pub(crate) async fn record(api: &Bookkeeper, call: &AdviseCall) -> Result<Outcome, Later> {
    let desk = api.of(call.tenant_id, call.ticket_id, call.cause.as_ref());
    let input = match desk.advisor_input(call.kind).await {
        Ok(input) => input,
        Err(error) => {
            return failure::refusal(error).map(|(code, reason)| failure::common(code, reason));
        }
    };
    let version = version(&input);
    if version < call.version {
        return Ok(Outcome::Ahead);
    }
    if version > call.version {
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
    let error = match desk.record_proposal(&body, call.request_id()).await {
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
    Ok(if snapshot.proposed.contains(&(call.kind, call.version)) {
        Outcome::Recorded
    } else {
        Outcome::Refused { reason }
    })
}

fn version(input: &AdvisorInput) -> u64 {
    match input {
        AdvisorInput::Triage(input) => input.version,
        AdvisorInput::Technician(input) => input.version,
    }
}
