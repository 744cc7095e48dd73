//! What people do with an approval.

use chrono::Utc;
use client::{ApprovalAnswer, CallOptions};
use contracts::{
    ApprovalId,
    approval::{ApprovalState, Verdict},
    command::{
        AmendApproval, ChangeApprovalDue, ClaimApproval, CommentApproval, DecideApproval,
        ExecuteApproval, ReleaseApproval, TakeOverApproval, WithdrawApproval,
    },
};
use serde_json::Value;

use super::{
    args::{AmendArgs, ApprovalsCommand, ClaimArgs, OverrideArgs},
    resolve,
};
use crate::{desk::Desk, exit::Failure, table::short};

/// Does it, and says what became of it.
pub async fn run(desk: &Desk, command: &ApprovalsCommand) -> Result<(), Failure> {
    let (api, options) = (&desk.api, CallOptions::default());
    let meant = match command {
        ApprovalsCommand::Approve(args) => &args.approval,
        ApprovalsCommand::Reject(args) => &args.approval,
        ApprovalsCommand::Claim(args) => &args.approval,
        ApprovalsCommand::Release(args) => &args.approval,
        ApprovalsCommand::Amend(args) => &args.approval,
        ApprovalsCommand::Withdraw(args) => &args.approval,
        ApprovalsCommand::Comment(args) => &args.approval,
        ApprovalsCommand::Due(args) => &args.approval,
        // The others have a file of their own.
        _ => return Ok(()),
    };
    let approval_id = resolve(api, meant).await?;
    let (answer, done) = match command {
        ApprovalsCommand::Approve(args) => {
            let body = DecideApproval {
                approval_id,
                verdict: Verdict::Approve,
                reason: args.reason.clone(),
                version: args.version,
            };
            (api.decide(&body, &options).await?, None)
        }
        ApprovalsCommand::Reject(args) => {
            let body = DecideApproval {
                approval_id,
                verdict: Verdict::Reject,
                reason: Some(args.reason.clone()),
                version: args.version,
            };
            (api.decide(&body, &options).await?, None)
        }
        ApprovalsCommand::Claim(args) => {
            let done = Some("is yours");
            (claim(desk, approval_id, args, &options).await?, done)
        }
        ApprovalsCommand::Release(_) => {
            let body = ReleaseApproval { approval_id };
            let done = Some("is nobody's");
            (api.release_approval(&body, &options).await?, done)
        }
        ApprovalsCommand::Amend(args) => {
            let body = amendment(approval_id, args)?;
            let done = Some("was amended and is pending again");
            (api.amend_approval(&body, &options).await?, done)
        }
        ApprovalsCommand::Withdraw(args) => {
            let body = WithdrawApproval {
                approval_id,
                reason: args.reason.clone(),
            };
            let done = Some("was withdrawn");
            (api.withdraw_approval(&body, &options).await?, done)
        }
        ApprovalsCommand::Comment(args) => {
            let body = CommentApproval {
                approval_id,
                text: args.text.clone(),
            };
            let done = Some("has your comment");
            (api.comment_approval(&body, &options).await?, done)
        }
        ApprovalsCommand::Due(args) => {
            let body = ChangeApprovalDue {
                approval_id,
                expires_at: args.until.from(Utc::now()),
                reason: args.reason.clone(),
            };
            let done = Some("has its new end");
            (api.change_approval_due(&body, &options).await?, done)
        }
        _ => return Ok(()),
    };
    if desk.json {
        return desk.print_json(&answer);
    }
    let done = done.unwrap_or_else(|| decided(&answer));
    desk.print(&format!("approval {} {done}\n", short(approval_id)))
}

/// Carries out what was approved although a switch stands, and says so.
pub async fn pass_the_switch(desk: &Desk, args: &OverrideArgs) -> Result<(), Failure> {
    let approval_id = resolve(&desk.api, &args.approval).await?;
    let version = match args.version {
        Some(version) => version,
        None => {
            desk.api
                .approval(approval_id)
                .await?
                .summary
                .approval
                .version
        }
    };
    let body = ExecuteApproval {
        approval_id,
        version,
        applied_seq: 0,
        override_kill_switch: Some(args.reason.clone()),
    };
    let options = CallOptions::default();
    desk.api.execute_approval(&body, &options).await?;
    // What it asks for may not have passed any more, switch or not: that is an answer, too.
    let detail = desk.api.approval(approval_id).await?;
    if desk.json {
        return desk.print_json(&detail);
    }
    let approval = &detail.summary.approval;
    let done = match approval.state {
        ApprovalState::Executed => "was carried out although the switch is engaged".to_owned(),
        ApprovalState::Stale => decided_words(ApprovalState::Stale).to_owned(),
        state => format!("is {state}"),
    };
    desk.print(&format!("approval {} {done}\n", short(approval_id)))
}

/// What a yes or no came to.
fn decided(answer: &ApprovalAnswer) -> &'static str {
    answer
        .state()
        .map_or("is rejected; nothing is done", decided_words)
}

fn decided_words(state: ApprovalState) -> &'static str {
    match state {
        ApprovalState::Pending => "has your word; more people must agree",
        ApprovalState::Approved => "is approved; what it asks for is carried out next",
        ApprovalState::Executed => "is approved, and what it asks for was carried out",
        ApprovalState::Stale => {
            "was approved, but what it asks for would not pass any more: it is void"
        }
        _ => "is rejected; nothing is done",
    }
}

async fn claim(
    desk: &Desk,
    approval_id: ApprovalId,
    args: &ClaimArgs,
    options: &CallOptions,
) -> Result<ApprovalAnswer, Failure> {
    let minutes = args.minutes;
    Ok(match &args.take_over {
        None => {
            let body = ClaimApproval {
                approval_id,
                minutes,
            };
            desk.api.claim_approval(&body, options).await?
        }
        Some(reason) => {
            let body = TakeOverApproval {
                approval_id,
                reason: reason.clone(),
                minutes,
            };
            desk.api.take_over_approval(&body, options).await?
        }
    })
}

fn amendment(approval_id: ApprovalId, args: &AmendArgs) -> Result<AmendApproval, Failure> {
    let path = args.body.display();
    let text = std::fs::read_to_string(&args.body)
        .map_err(|error| Failure::usage(format!("cannot read {path}: {error}")))?;
    let body: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{path} is no JSON: {error}")))?;
    Ok(AmendApproval {
        approval_id,
        body,
        reason: args.reason.clone(),
    })
}
