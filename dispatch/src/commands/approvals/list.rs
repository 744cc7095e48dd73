//! `dispatch approvals list`.

use chrono::{DateTime, Utc};
use contracts::{
    approval::{ApprovalState, ApprovalStep, StepKind},
    inbox::{ApprovalFilter, ApprovalPage, ApprovalSummary},
};

use super::{args::ListArgs, asks, owed};
use crate::{
    commands::ticket::{due_words, resolve},
    desk::Desk,
    exit::Failure,
    table::{Mark, Table, clean, short},
    words,
};

/// Of `--all`.
const PAGE: u32 = 200;

/// Lists approvals.
pub async fn run(desk: &Desk, args: &ListArgs) -> Result<(), Failure> {
    let ticket_id = match &args.ticket {
        Some(text) => Some(resolve(&desk.api, text).await?),
        None => None,
    };
    let mut filter = ApprovalFilter {
        state: args.state.clone(),
        kind: args.kind.clone(),
        role: args.role.clone(),
        operation: args.operation.clone(),
        ticket_id,
        mine: args.mine,
        waiting_minutes: args.waiting,
        sla_at_risk: args.sla_at_risk,
        sla_within_minutes: args.sla_within,
        limit: Some(if args.all { PAGE } else { args.limit }),
        ..ApprovalFilter::default()
    };
    let mut shown = desk.api.approvals(&filter).await?;
    if desk.json && args.all {
        desk.print_line(&shown)?;
    }
    while let Some(cursor) = shown.next_cursor.take_if(|_| args.all) {
        filter.cursor = Some(cursor);
        let page = desk.api.approvals(&filter).await?;
        if desk.json {
            desk.print_line(&page)?;
        }
        shown.next_cursor = page.next_cursor;
        shown.items.extend(page.items);
    }
    match (desk.json, args.all) {
        (true, true) => Ok(()),
        (true, false) => desk.print_json(&shown),
        (false, _) => desk.print(&text(desk, &shown, Utc::now())),
    }
}

fn text(desk: &Desk, page: &ApprovalPage, now: DateTime<Utc>) -> String {
    let mut text = match page.items.is_empty() {
        true => "nothing waits that these filters leave\n".to_owned(),
        false => {
            let mut table = Table::new(&[
                "ID",
                "ENDS",
                "STATE",
                "ASKS FOR",
                "TICKET",
                "SLA",
                "WAITS FOR",
                "ASKED BY",
                "NEXT",
            ]);
            for item in &page.items {
                table.row(row(item, now));
            }
            table.render(desk.screen, &[0, 1, 2])
        }
    };
    let counts: Vec<_> = page
        .counts
        .iter()
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    if !counts.is_empty() {
        text += &format!("\n{}\n", counts.join(", "));
    }
    if page.next_cursor.is_some() {
        text += "there are more: --all, a greater --limit, or narrower filters\n";
    }
    text
}

fn row(item: &ApprovalSummary, now: DateTime<Utc>) -> [String; 9] {
    let approval = &item.approval;
    let dash = || "–".to_owned();
    let waits = approval.state == ApprovalState::Pending;
    let claimed = approval.claimed_by(now).map(|claim| clean(&claim.by));
    let deadline = item.ticket.as_ref().and_then(|ticket| ticket.due_at);
    [
        short(approval.id),
        match approval.expires_at {
            Some(end) if waits => due_words(end, now),
            _ => dash(),
        },
        match claimed {
            Some(by) => format!("{}, claimed by {by}", approval.state),
            None => approval.state.to_string(),
        },
        asks(approval),
        approval.ticket_id.map_or_else(dash, short),
        match deadline {
            Some(due) if item.sla_at_risk => Mark::Warn.on(&due_words(due, now)),
            Some(due) => due_words(due, now),
            None => dash(),
        },
        owed(&item.waits_for),
        clean(&approval.requested_by),
        item.next_step
            .as_ref()
            .map_or_else(dash, |step| step_words(step, now)),
    ]
}

/// What happens next if nobody decides.
pub(super) fn step_words(step: &ApprovalStep, now: DateTime<Utc>) -> String {
    let when = match step.at - now {
        left if left < chrono::TimeDelta::zero() => "now".to_owned(),
        left => format!("in {}", words::length(left)),
    };
    let roles: Vec<_> = step.roles.iter().map(ToString::to_string).collect();
    match step.step {
        StepKind::Reminder => format!("reminder {when}"),
        StepKind::Escalation => format!("{} may decide too {when}", roles.join(", ")),
        StepKind::Expiry => format!("it ends {when}"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use contracts::Role;

    use super::*;

    #[test]
    fn the_next_step_says_what_and_when() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let step = |step, minutes, roles: &[Role]| {
            let step = ApprovalStep {
                at: now + TimeDelta::minutes(minutes),
                step,
                roles: roles.to_vec(),
            };
            step_words(&step, now)
        };
        assert_eq!(step(StepKind::Reminder, 5, &[]), "reminder in 5 min");
        assert_eq!(
            step(StepKind::Escalation, 90, &[Role::TenantAdmin]),
            "tenant_admin may decide too in 1 h 30 min"
        );
        assert_eq!(step(StepKind::Expiry, -1, &[]), "it ends now");
    }
}
