//! Acts on advice, where the stage lets software.
//!
//! The call says on which; dispatch-api asks stage, kill switch and policy again, and does it, holds
//! it for people, or refuses. What is done is what is on record as a proposal: where that was made
//! earlier, today's advice has to come to the same, else nothing is done and a person decides.

use client::{Answer, ClientError};
use contracts::{
    Command, ErrorCode,
    proposal::{Advice, AdvisorInput, ProposalKind},
};
use domain::advisor::{command_of, is_same_act};
use workflows::activity::{AdviseCall, Outcome};

use crate::{
    bookkeeper::Desk,
    failure::{self, Later},
};

/// Advice of today, and whether it is what is on record.
#[derive(Debug)]
pub(crate) struct Advised {
    pub(crate) input: AdvisorInput,
    pub(crate) advice: Advice,
    /// `false`: an earlier call recorded another one, or the same.
    pub(crate) is_record: bool,
}

/// What came of one act.
enum Acted {
    /// It is done or held, so no other advice on this version counts any more.
    Settled,
    /// A person has to do it, or nobody.
    LeftToPeople,
    Ended(Outcome),
}

/// Acts on the first advice that can be followed, in the order of the call.
pub(crate) async fn follow(
    desk: &Desk,
    call: &AdviseCall,
    advised: &[Advised],
) -> Result<Outcome, Later> {
    for kind in &call.act {
        let made = advised.iter().find(|it| it.input.kind() == *kind);
        let Some(advised) = made else { continue };
        let Some(command) = command(desk, call, *kind, advised).await? else {
            continue;
        };
        // The answer to the record came before: what it says is stopped is not attempted.
        let stopped = desk.kill();
        if stopped.is_some_and(|state| state.stops(command.operation())) {
            let reason = ErrorCode::KillSwitch.to_string();
            return Ok(Outcome::Held { reason });
        }
        match act(desk, call, *kind, &command).await? {
            Acted::Settled => break,
            Acted::LeftToPeople => {}
            Acted::Ended(outcome) => return Ok(outcome),
        }
    }
    Ok(Outcome::Recorded)
}

/// What is to be done; `None` where a person has to decide.
async fn command(
    desk: &Desk,
    call: &AdviseCall,
    kind: ProposalKind,
    advised: &Advised,
) -> Result<Option<Command>, ClientError> {
    let Some(command) = command_of(&advised.advice, &advised.input) else {
        return Ok(None);
    };
    if advised.is_record {
        return Ok(Some(command));
    }
    let recorded = desk.proposals().await?;
    let recorded = recorded
        .iter()
        .rev()
        .find(|it| it.kind == kind && it.based_on_version == call.version);
    let recorded = recorded.and_then(|it| command_of(&it.advice, &it.input));
    Ok(recorded
        .is_some_and(|recorded| is_same_act(&recorded, &command))
        .then_some(command))
}

async fn act(
    desk: &Desk,
    call: &AdviseCall,
    kind: ProposalKind,
    command: &Command,
) -> Result<Acted, Later> {
    let sent = desk.act(command, call.version, call.act_request_id(kind));
    let error = match sent.await {
        Ok(Answer::Done(_) | Answer::Held(_)) => return Ok(Acted::Settled),
        Err(error) => error,
    };
    let (code, reason) = failure::refusal(error)?;
    Ok(acted(code, reason))
}

fn acted(code: Option<ErrorCode>, reason: String) -> Acted {
    match code {
        // The ticket has moved on, by an earlier run of this call or otherwise.
        Some(ErrorCode::VersionConflict | ErrorCode::IdempotencyMismatch) => Acted::Settled,
        // Asked for at an earlier version, and people have not decided yet.
        Some(ErrorCode::AlreadyHeld) => Acted::Settled,
        Some(ErrorCode::KillSwitch | ErrorCode::Stage | ErrorCode::TenantSuspended) => {
            Acted::Ended(Outcome::Held { reason })
        }
        Some(ErrorCode::AheadOfDatabase | ErrorCode::NotFound) => Acted::Ended(Outcome::Ahead),
        // On record there, with its reason: what policy denies to software people may do.
        _ => Acted::LeftToPeople,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_their_code() {
        let of = |code: ErrorCode| acted(Some(code), code.to_string());
        for held in [
            ErrorCode::KillSwitch,
            ErrorCode::Stage,
            ErrorCode::TenantSuspended,
        ] {
            let Acted::Ended(Outcome::Held { reason }) = of(held) else {
                panic!("{held}");
            };
            assert_eq!(reason, held.to_string());
        }
        for settled in [
            ErrorCode::VersionConflict,
            ErrorCode::IdempotencyMismatch,
            ErrorCode::AlreadyHeld,
        ] {
            assert!(matches!(of(settled), Acted::Settled), "{settled}");
        }
        for denied in [
            ErrorCode::PolicyDenied,
            ErrorCode::InvalidField,
            ErrorCode::IllegalTransition,
        ] {
            assert!(matches!(of(denied), Acted::LeftToPeople), "{denied}");
        }
        assert!(matches!(
            of(ErrorCode::NotFound),
            Acted::Ended(Outcome::Ahead)
        ));
    }
}
