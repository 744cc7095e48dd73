//! The demo's lines for people, in 100 columns.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ActorKind,
    sla::{ClockPhase, SlaClock},
};

use super::line::Line;
use crate::words::length;

const WIDTH: usize = 100;
const INDENT: usize = 4;

/// One line of the demo as text; may be several lines of screen, each ending with a line break.
pub fn render(line: &Line) -> String {
    let mut text = String::new();
    match line {
        Line::Scene { title } => {
            let rule = "─".repeat(WIDTH.saturating_sub(title.chars().count() + 5));
            text = format!("\n── {title} {rule}─\n");
        }
        Line::Done {
            step,
            who,
            kind,
            operation,
            before,
            after,
            version,
            about,
        } => {
            let before = before.map_or_else(|| "–".to_owned(), |state| state.to_string());
            let change = if before == after.to_string() {
                format!("{after} (v{version})")
            } else {
                format!("{before} → {after} (v{version})")
            };
            let who = actor(who, *kind);
            let operation = operation.to_string();
            text = format!("{step:>2}. {who:<22} {operation:<18} {change}\n");
            if !about.is_empty() {
                wrapped(&mut text, "", about);
            }
        }
        Line::Refused {
            step,
            who,
            kind,
            operation,
            state,
            code,
            status,
            detail,
            dry_run,
        } => {
            let who = actor(who, *kind);
            let operation = operation.to_string();
            let dry = if *dry_run { " (dry run)" } else { "" };
            text = format!(
                "{step:>2}. {who:<22} {operation:<18} refused, as it must be: {status} {code}{dry}\n"
            );
            wrapped(&mut text, "", &format!("stays {state}: {detail}"));
        }
        Line::Workflow {
            link, workflow_id, ..
        } => {
            wrapped(
                &mut text,
                "workflow  ",
                link.as_ref().unwrap_or(workflow_id),
            );
        }
        Line::Proposed { proposal, words } => {
            let head = format!(
                "shadow    the workflow would {} (recorded, not done):",
                match proposal.kind {
                    contracts::proposal::ProposalKind::Triage => "triage",
                    contracts::proposal::ProposalKind::Technician => "send",
                    contracts::proposal::ProposalKind::Slot => "offer",
                    contracts::proposal::ProposalKind::Reminder => "remind",
                    contracts::proposal::ProposalKind::Escalation => "tell",
                    contracts::proposal::ProposalKind::ChangeDecision => "decide",
                    contracts::proposal::ProposalKind::Closeout => "close out",
                    contracts::proposal::ProposalKind::InvoiceLines => "charge",
                }
            );
            wrapped(&mut text, "", &head);
            for word in words {
                wrapped(&mut text, "          ", word);
            }
        }
        Line::Paired { words, .. } => wrapped(&mut text, "paired    ", words),
        Line::Clocks { now, clocks } => {
            for (index, clock) in clocks.iter().enumerate() {
                let head = if index == 0 {
                    "SLA       "
                } else {
                    "          "
                };
                wrapped(&mut text, head, &clock_words(clock, *now));
            }
        }
        Line::Checked { what, ok, detail } => {
            let mark = if *ok { "ok  " } else { "OFF " };
            wrapped(&mut text, &format!("{mark} "), &format!("{what}: {detail}"));
        }
        Line::Ended { ok, steps, seconds } => {
            let verdict = if *ok {
                "the workflow knows what the database knows; nothing was done by software alone"
            } else {
                "something is off: see the lines marked OFF"
            };
            text = format!("\n{steps} steps in {seconds:.1} s: {verdict}\n");
        }
    }
    text
}

fn actor(who: &str, kind: ActorKind) -> String {
    match kind {
        ActorKind::Person => who.to_owned(),
        other => format!("{who} ({other})"),
    }
}

/// A clock in one line.
fn clock_words(clock: &SlaClock, now: DateTime<Utc>) -> String {
    let time = |at: DateTime<Utc>| at.format("%d %b %H:%M:%S UTC").to_string();
    let phase = match clock.phase {
        ClockPhase::Running {
            due_at, warn_at, ..
        } => format!(
            "running, due {} ({}), warning {}",
            time(due_at),
            relative(due_at - now),
            relative(warn_at - now),
        ),
        ClockPhase::Paused { .. } => format!(
            "paused, {} used of {}",
            length(TimeDelta::seconds(clock.used_seconds.cast_signed())),
            length(TimeDelta::seconds(clock.budget_seconds.cast_signed())),
        ),
        ClockPhase::Stopped { at, met } => format!(
            "stopped {}, {}",
            time(at),
            if met { "met" } else { "missed" },
        ),
    };
    format!("{:<12} {phase}", clock.name.as_str())
}

fn relative(delta: TimeDelta) -> String {
    if delta < TimeDelta::zero() {
        format!("{} ago", length(-delta))
    } else {
        format!("in {}", length(delta))
    }
}

/// Adds `body` behind `head`, broken between words so that no line is longer than the screen;
/// a single word may be (a link must stay in one piece).
fn wrapped(out: &mut String, head: &str, body: &str) {
    let hang = INDENT + head.chars().count();
    let mut column = hang;
    let _ = write!(out, "{}{head}", " ".repeat(INDENT));
    for (index, word) in body.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 {
            if column + 1 + length > WIDTH {
                let _ = write!(out, "\n{}", " ".repeat(hang));
                column = hang;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_stays_within_the_screen() {
        let mut text = String::new();
        wrapped(&mut text, "SLA       ", &"word ".repeat(60));
        assert!(text.lines().count() > 2);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert!(line.starts_with("    "), "{line}");
        }
    }

    #[test]
    fn a_length_has_two_units_at_most() {
        for (seconds, shown) in [
            (5, "5 s"),
            (90, "1 min"),
            (5400, "1 h 30 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(length(TimeDelta::seconds(seconds)), shown);
        }
    }
}
