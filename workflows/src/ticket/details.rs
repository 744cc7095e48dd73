//! What the Temporal Web UI shows of a ticket: readable markdown, no personal data.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use contracts::{
    approval::TicketApproval,
    event::{AutonomyMode, TicketLevel},
};

use super::follower::TicketFollower;

/// The workflow's current details.
pub fn markdown(follower: &TicketFollower) -> String {
    let mut text = String::new();
    let view = follower.view();
    // Writing to a String cannot fail.
    let _ = match &view.level {
        None => writeln!(text, "Nothing is known of this ticket yet.\n"),
        Some(level) => writeln!(
            text,
            "**{}** · **{}** · **{}** · visit {}\n\n- waits for: {}\n- open approvals: {}",
            level.template,
            level.priority,
            level.state,
            level.visit,
            level.waiting_for,
            level.open_approvals.len(),
        ),
    };
    let _ = match follower.next_deadline() {
        Some((key, at)) => writeln!(
            text,
            "- next deadline: {} {} at {}",
            key.clock,
            key.kind,
            time(at)
        ),
        None => writeln!(text, "- next deadline: none is running"),
    };
    if let Some(level) = &view.level {
        for approval in &level.approvals {
            let _ = writeln!(text, "- {}", waits(approval));
        }
        let _ = writeln!(text, "- autonomy: {} ({})", level.autonomy, means(level));
        if let Some(stopped) = &level.stopped {
            let what = match stopped.all {
                true => "all that software does".to_owned(),
                false => {
                    let names = stopped.operations.iter().map(ToString::to_string);
                    names.collect::<Vec<_>>().join(", ")
                }
            };
            let turn = level.kill_generation;
            let _ = writeln!(text, "- **kill switch** (turn {turn}): stops {what}");
        }
    }
    let _ = match view.proposed.iter().max_by_key(|(_, version)| *version) {
        Some((kind, version)) => {
            writeln!(text, "- last proposal: {kind}, on version {version}")
        }
        None => writeln!(text, "- last proposal: none yet"),
    };
    let _ = writeln!(
        text,
        "- follows: event {} of epoch {}, {} snapshots taken",
        view.applied_seq, view.epoch, view.healed
    );
    if let Some(reason) = follower.distrust() {
        let _ = writeln!(text, "- **reads the truth anew**: {reason}");
    }
    if let Some(trouble) = &view.trouble {
        let _ = writeln!(text, "- **trouble**: {trouble}");
    }
    text
}

/// `approval apr_… (dispatch, version 1): waits for people: 1 of 2 yes (approver or
/// account_manager); next: reminder at …; expires at …`
fn waits(approval: &TicketApproval) -> String {
    let (stands, then) = match approval.released {
        true => ("approved, is carried out", "else"),
        false => ("waits for people", "next"),
    };
    let mut text = format!(
        "approval {} ({}, version {}): {stands}",
        approval.id, approval.operation, approval.version
    );
    let mut before = ": ";
    for owed in &approval.waits_for {
        let roles: Vec<_> = owed.roles.iter().map(ToString::to_string).collect();
        let roles = roles.join(" or ");
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{before}{} of {} yes ({roles})",
            owed.given, owed.count
        );
        before = ", ";
    }
    if let Some(next) = approval.steps.first() {
        let at = time(next.at);
        let _ = write!(text, "; {then}: {} at {at}", next.step);
    }
    let end = approval.steps.last().filter(|_| approval.steps.len() > 1);
    if let Some(end) = end {
        let _ = write!(text, "; expires at {}", time(end.at));
    }
    text
}

fn means(level: &TicketLevel) -> &'static str {
    match level.autonomy {
        AutonomyMode::Off => "does not even propose",
        AutonomyMode::Shadow => "proposes, never acts",
        AutonomyMode::Approve => "acts when people have released it",
        AutonomyMode::Canary | AutonomyMode::Auto => "acts by itself where its stage lets it",
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
