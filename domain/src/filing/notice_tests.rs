//! What people are told of approvals without a ticket.

use contracts::{
    Role,
    approval::{Approval, ApprovalState, StepKind},
    command::{CommentApproval, RecordApprovalStep, WithdrawApproval},
    comms::{OnlyWhile, Purpose, Recipient},
};

use super::{tests::facts, *};
use crate::testing::*;

/// A re-arming that somebody asked for.
fn approval() -> Approval {
    let mut desk = on_site();
    desk.run(request_change(35_000));
    Approval {
        ticket_id: None,
        kind: contracts::approval::ApprovalKind::Rearm,
        operation: Operation::ReleaseKillSwitch,
        ..desk.approval().clone()
    }
}

fn about(approval: &Approval) -> FilingFacts {
    let listed = (Purpose::ApprovalEnded, vec![Role::Dispatcher]);
    let mut facts = facts();
    facts.comms.audiences = [listed].into();
    facts.now = approval.expires_at.expect("it has an end");
    facts.who.now = facts.now;
    facts.approval = Some(approval.clone());
    facts
}

fn after(filing: &Filing) -> Approval {
    let mut written = filing.effects.iter().filter_map(|effect| match effect {
        Effect::WriteApproval(approval) => Some((**approval).clone()),
        _ => None,
    });
    written.next().expect("it is written")
}

#[test]
fn each_step_of_its_plan_tells_those_who_may_decide_and_its_end_those_concerned() {
    let mut approval = approval();
    let approval_id = approval.id;
    let mut kinds = Vec::new();
    while let Some(step) = approval.steps.first().cloned() {
        let command = RecordApprovalStep {
            approval_id,
            version: approval.version,
            step: step.step,
            at: step.at,
            applied_seq: 0,
        };
        let filing = decide(&command.into(), &about(&approval)).unwrap();
        approval = after(&filing);
        kinds.push(step.step);
        if approval.state == ApprovalState::Pending {
            let [notice] = &filing.notices[..] else {
                panic!("one notice: {:?}", filing.notices);
            };
            let purpose = match step.step {
                StepKind::Reminder => Purpose::ApprovalReminder,
                StepKind::Escalation | StepKind::Expiry => Purpose::ApprovalWaiting,
            };
            let roles = approval.required_roles.clone();
            assert_eq!(notice.purpose, purpose);
            assert_eq!(notice.recipient, Recipient::Roles { roles });
            let only_while = OnlyWhile::ApprovalPending { approval_id };
            assert_eq!(notice.only_while, only_while);
        } else {
            let [listed, own] = &filing.notices[..] else {
                panic!("two notices: {:?}", filing.notices);
            };
            assert_ne!(listed.id, own.id);
            let roles = vec![Role::Dispatcher];
            assert_eq!(listed.recipient, Recipient::Roles { roles });
            assert_eq!(own.recipient, Recipient::Concerned { approval_id });
            let states = vec![ApprovalState::Expired];
            let only_while = OnlyWhile::ApprovalIn {
                approval_id,
                states,
            };
            assert_eq!(
                (&listed.only_while, &own.only_while),
                (&only_while, &only_while)
            );
        }
    }
    assert_eq!(approval.state, ApprovalState::Expired);
    assert!(kinds.contains(&StepKind::Reminder) && kinds.contains(&StepKind::Escalation));
}

#[test]
fn nobody_is_told_of_a_comment_or_of_what_was_taken_back() {
    let approval = approval();
    let approval_id = approval.id;
    let mut facts = about(&approval);
    facts.now = approval.requested_at;
    facts.who.now = facts.now;
    facts.who.actor_id.clone_from(&approval.requested_by);
    let comment = CommentApproval {
        approval_id,
        text: contracts::FreeText::new("Is that so?").unwrap(),
    };
    let withdrawn = WithdrawApproval {
        approval_id,
        reason: slug("not_needed"),
    };
    for command in [comment.into(), withdrawn.into()] {
        assert_eq!(decide(&command, &facts).unwrap().notices, []);
    }
}
