//! `POST /api/v1/approvals/decide`: many decisions, each a command of its own, under one request id.

use std::collections::BTreeSet;

use axum::response::IntoResponse;
use contracts::{
    ErrorCode, Operation, Problem,
    approval::ApprovalState,
    command::DecideApproval,
    inbox::{DecideMany, DecidedMany, OneDecision, OneOutcome},
};
use serde_json::Value;

use super::{Endpoint, Failure, Json, Response, post};
use crate::{pipeline::Answer, request::BulkRequest};

const MOST: usize = 100;

async fn handler(request: BulkRequest<DecideMany>) -> Result<Response, Failure> {
    let decisions = &request.body.decisions;
    let wrong = |pointer: String, rule: &str| {
        Err(Failure::new(ErrorCode::InvalidField, format!("`{pointer}` {rule}.")).at(pointer, rule))
    };
    if !(1..=MOST).contains(&decisions.len()) {
        return wrong("/decisions".into(), "must have 1 to 100 members");
    }
    let mut named = BTreeSet::new();
    for (at, decision) in decisions.iter().enumerate() {
        if !named.insert(decision.approval_id) {
            return wrong(
                format!("/decisions/{at}/approval_id"),
                "must not be named twice",
            );
        }
    }
    request.admit_more(decisions.len() - 1)?;
    // One after the other: two of one ticket would only wait for each other.
    let mut items = Vec::with_capacity(decisions.len());
    for decision in decisions {
        let command = one(decision).into();
        let (request_id, answer) = match items.is_empty() {
            true => match request.run_first(command).await {
                Ok(first) => first,
                Err(whole) => return Ok(whole),
            },
            false => {
                let request_id = request.part_id(&decision.approval_id.to_string());
                let answer = request.run(request_id.clone(), command).await?;
                (request_id, answer)
            }
        };
        items.push(outcome(decision, request_id, &answer)?);
    }
    Ok(Json(DecidedMany { items }).into_response())
}

fn one(decision: &OneDecision) -> DecideApproval {
    DecideApproval {
        approval_id: decision.approval_id,
        verdict: decision.verdict,
        reason: decision.reason.clone(),
        version: decision.version,
    }
}

fn outcome(
    decision: &OneDecision,
    request_id: String,
    answer: &Answer,
) -> Result<OneOutcome, Failure> {
    let body: Value = serde_json::from_str(&answer.body).map_err(Failure::internal)?;
    let done = answer.status < 300;
    let problem: Option<Problem> = match done {
        true => None,
        false => Some(serde_json::from_value(body.clone()).map_err(Failure::internal)?),
    };
    // A receipt about a ticket says it, one about an approval without a ticket in what was filed.
    let said = body
        .get("approval_state")
        .or_else(|| body.pointer("/filed/data/state"));
    let state: Option<ApprovalState> = match said {
        Some(state) if done => {
            Some(serde_json::from_value(state.clone()).map_err(Failure::internal)?)
        }
        _ => None,
    };
    Ok(OneOutcome {
        approval_id: decision.approval_id,
        request_id,
        status: answer.status,
        state,
        command_id: answer.command_id,
        problem,
    })
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::bulk::<DecideMany, DecidedMany>(
        Operation::DecideApproval,
        "decide_approvals",
        "/approvals/decide",
        post(handler),
    )
    .summary("Decide many approvals")
    .description(
        "Up to a hundred, each with an outcome of its own: some may be refused while others are \
             taken. Each is a command under a request id that follows from the one given, so a \
             repetition of the whole gives the same outcomes. Another list under the same request id is \
             refused as a whole; and so it is where the first of them is answered with what is not kept, \
             because nothing was decided for good.",
    )
    .problems(&[
        ErrorCode::Forbidden,
        ErrorCode::OutOfScope,
        ErrorCode::NotFound,
        ErrorCode::PolicyDenied,
        ErrorCode::KillSwitch,
        ErrorCode::Stage,
        ErrorCode::TenantSuspended,
        ErrorCode::IdempotencyMismatch,
        ErrorCode::InFlight,
        ErrorCode::PolicyUnavailable,
    ])
}
