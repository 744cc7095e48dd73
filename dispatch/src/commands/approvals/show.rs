//! `dispatch approvals show`.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use contracts::{approval::ApprovalState, inbox::ApprovalDetail};

use super::{args::OneArgs, asks, list::step_words, owed, resolve};
use crate::{
    desk::Desk,
    exit::Failure,
    table::{Facts, clean, short},
    words,
};

/// Shows one approval.
pub async fn run(desk: &Desk, args: &OneArgs) -> Result<(), Failure> {
    let id = resolve(&desk.api, &args.approval).await?;
    let detail = desk.api.approval(id).await?;
    if desk.json {
        return desk.print_json(&detail);
    }
    let text = facts(&detail, Utc::now()).render(desk.screen);
    desk.print(&(text + &words_with(&detail)?))
}

/// What stands with it: why, what exactly, and what was said.
fn words_with(detail: &ApprovalDetail) -> Result<String, Failure> {
    let mut text = String::new();
    if let Some(ground) = &detail.ground
        && !ground.reasons.is_empty()
    {
        text += "\nheld because\n";
        for reason in &ground.reasons {
            let _ = writeln!(text, "  {} ({})", clean(&reason.message), reason.code);
        }
    }
    let held = detail.command.as_ref().map(|command| &command["body"]);
    let masked = detail.withheld.then_some(&detail.summary.approval.request);
    if let Some(body) = held.or(masked) {
        text += match held {
            Some(_) => "\nwhat would be carried out\n",
            None => "\nwhat would be carried out, without what is not yours to read\n",
        };
        let body = serde_json::to_string_pretty(body).map_err(Failure::failed)?;
        for line in body.lines() {
            let _ = writeln!(text, "  {}", clean(line));
        }
    }
    if !detail.comments.is_empty() {
        text += "\nsaid about it\n";
        for comment in &detail.comments {
            let (at, by) = (words::minute(comment.at), clean(&comment.author_id));
            let _ = writeln!(text, "  {at} {by}: {}", clean(comment.text.as_str()));
        }
    }
    if detail.withheld {
        text += "\nWhat people wrote is for those who are asked, who asked, or who may read the messages \
                 of the ticket.\n";
    }
    Ok(text)
}

fn facts(detail: &ApprovalDetail, now: DateTime<Utc>) -> Facts {
    let (summary, approval) = (&detail.summary, &detail.summary.approval);
    let mut facts = Facts::default();
    facts.add("approval", approval.id.to_string());
    facts.add(
        "asks for",
        format!(
            "{} ({}), version {}",
            asks(approval),
            approval.kind,
            approval.version
        ),
    );
    let by = clean(&approval.requested_by);
    facts.add(
        "asked",
        format!("{}, by {by}", words::time(approval.requested_at)),
    );
    facts.add("stands", stands(detail));
    if let Some(claim) = approval.claimed_by(now) {
        let until = words::time(claim.until);
        facts.add("claimed", format!("by {} until {until}", clean(&claim.by)));
    }
    if approval.state == ApprovalState::Pending {
        facts.add("waits for", owed(&summary.waits_for));
    }
    for vote in &approval.votes {
        let mut said = format!("{} by {}", vote.verdict, clean(&vote.actor_id));
        if let Some(lender) = &vote.on_behalf_of {
            let _ = write!(said, " for {}", clean(lender));
        }
        if let Some(reason) = &vote.reason {
            let _ = write!(said, " ({reason})");
        }
        facts.add("said", said);
    }
    for step in &approval.steps {
        facts.add(
            "then",
            format!("{}, {}", step_words(step, now), words::time(step.at)),
        );
    }
    if let (Some(id), Some(ticket)) = (approval.ticket_id, &summary.ticket) {
        facts.add(
            "ticket",
            format!(
                "{}: {} {} {}, waits for {}",
                short(id),
                ticket.state,
                ticket.priority,
                ticket.template,
                ticket.waiting_for
            ),
        );
        if let Some(due) = ticket.due_at {
            let risk = match summary.sla_at_risk {
                true => ", before the approval ends",
                false => "",
            };
            facts.add("deadline", format!("{}{risk}", words::time(due)));
        }
    }
    facts.add(
        "you",
        match &detail.why_not {
            None => "may decide it".to_owned(),
            Some(why) => format!("may not decide it: {}", clean(why)),
        },
    );
    facts
}

fn stands(detail: &ApprovalDetail) -> String {
    let approval = &detail.summary.approval;
    let mut told = approval.state.to_string();
    if let Some(by) = &approval.decided_by {
        // Who withdrew it says the ticket's timeline.
        let decided = match approval.state {
            ApprovalState::Withdrawn => "after it had been decided by",
            _ => "decided by",
        };
        let _ = write!(told, ", {decided} {}", clean(by));
    }
    if let Some(at) = approval.decided_at {
        let _ = write!(told, ", {}", words::time(at));
    }
    if let Some(reason) = &approval.reason {
        let _ = write!(told, " ({reason})");
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(change: Value) -> String {
        let mut document = json!({
            "id": format!("apr_{}", "0".repeat(32)), "ticket_id": format!("tkt_{}", "0".repeat(32)),
            "kind": "held_command", "state": "pending", "operation": "comms_outbound",
            "requested_by": "usr_1", "requested_by_kind": "person", "required_roles": ["approver"],
            "request_sha256": "", "request": { "channel": "sms", "text": { "chars": 12 } },
            "requested_at": DateTime::UNIX_EPOCH, "decided_by": null, "decided_at": null,
            "reason": null, "version": 1, "waits_for": [], "next_step": null, "seconds_left": null,
            "ticket": null, "sla_at_risk": false, "ground": null, "comments": [],
            "may_decide": false,
        });
        for (name, value) in change.as_object().unwrap() {
            document[name] = value.clone();
        }
        words_with(&serde_json::from_value(document).unwrap()).unwrap()
    }

    #[test]
    fn what_is_not_the_readers_is_said_to_be_there() {
        let whole = told(json!({ "command": { "body": { "text": "Quillfeather" } } }));
        assert_eq!(
            whole,
            "\nwhat would be carried out\n  {\n    \"text\": \"Quillfeather\"\n  }\n"
        );
        let masked = told(json!({ "withheld": true }));
        assert!(
            masked.contains("without what is not yours to read"),
            "{masked}"
        );
        assert!(masked.contains("\"chars\": 12"), "{masked}");
        assert!(
            masked.contains("What people wrote is for those"),
            "{masked}"
        );
        assert_eq!(told(json!({})), "");
    }
}
