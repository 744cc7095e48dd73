//! `dispatch ticket proposals`: what software would have done, why, and what people did.

use std::fmt::Write;

use chrono::Utc;
use contracts::proposal::{
    Choice, Considered, Excluded, Pairing, PairingOutcome, Proposal, Ranked,
};

use super::{args::ProposalsArgs, id};
use crate::{
    desk::Desk,
    exit::Failure,
    table::{Mark, Screen, clean, short, wrapped},
    words,
};

/// Where details begin.
const HANG: usize = 14;

/// Prints every proposal, oldest first.
pub async fn run(desk: &Desk, args: &ProposalsArgs) -> Result<(), Failure> {
    let ticket = id::resolve(&desk.api, &args.ticket).await?;
    let page = desk.api.proposals(ticket).await?;
    if desk.json {
        return desk.print_json(&page);
    }
    if page.items.is_empty() {
        return desk.print("no proposals yet: software was not asked about this ticket so far\n");
    }
    for proposal in &page.items {
        desk.print(&text(desk.screen, proposal))?;
    }
    Ok(())
}

fn text(screen: Screen, proposal: &Proposal) -> String {
    let mut text = format!(
        "{}  {}  on version {}, by {}, {}\n",
        proposal.kind,
        short(proposal.id),
        proposal.based_on_version,
        proposal.advice.advisor,
        words::time(proposal.recorded_at),
    );
    let mut line = |name: &str, value: &str| {
        let line = format!("  {name:<12}{value}");
        text += &screen.paint(&wrapped(&line, HANG, screen));
    };
    match proposal.advice.ranked.split_first() {
        None => line("would", &Mark::Warn.on("do nothing: nothing fits")),
        Some((best, others)) => {
            line("would", &choice(&best.choice));
            line("because", &factors(best));
            for (index, other) in others.iter().enumerate() {
                let name = if index == 0 { "or" } else { "" };
                line(
                    name,
                    &format!("{}: {}", choice(&other.choice), factors(other)),
                );
            }
        }
    }
    for (index, out) in excluded(&proposal.advice.excluded).iter().enumerate() {
        line(if index == 0 { "not" } else { "" }, out);
    }
    line("people", &pairing(proposal.pairing.as_ref()));
    text.push('\n');
    text
}

/// What software would do, after "would".
fn choice(choice: &Choice) -> String {
    match choice {
        Choice::Triage { template, priority } => format!("triage as {template}, {priority}"),
        Choice::Dispatch { technician_id, eta } => {
            format!(
                "send {}, there by {}",
                short(technician_id),
                words::minute(*eta)
            )
        }
        Choice::ProposeWindow { window } => format!("offer {}", words::window(window)),
        Choice::Remind {
            about,
            contact_id,
            at,
        } => format!(
            "remind {} of the {about} at {}",
            short(contact_id),
            words::minute(*at)
        ),
        Choice::Escalate { to, about, before } => {
            let mut text = format!("tell a {to} about the {} of {}", about.kind, about.clock);
            if let Some(before) = before {
                let _ = write!(text, ", due {}", words::minute(*before));
            }
            text
        }
        Choice::DecideChange { verdict } => format!("{verdict} the change"),
        Choice::Verify => "verify the work".to_owned(),
        Choice::Reject { reasons } => {
            let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
            format!("reject the work: {}", reasons.join(", "))
        }
        Choice::Invoice { lines } => {
            let total: i64 = lines
                .iter()
                .map(|line| i64::from(line.quantity) * line.unit_cents)
                .sum();
            let lines: Vec<_> = lines
                .iter()
                .map(|line| {
                    format!(
                        "{} × {} at {}",
                        line.quantity,
                        line.item,
                        words::amount(line.unit_cents)
                    )
                })
                .collect();
            format!("charge {}: {}", words::amount(total), lines.join(", "))
        }
    }
}

/// Why: each fact with what it counts for.
fn factors(ranked: &Ranked) -> String {
    let factors: Vec<_> = ranked
        .factors
        .iter()
        .map(|factor| format!("{} {} ({:+})", factor.name, factor.value, factor.points))
        .collect();
    match factors.is_empty() {
        true => format!("score {}", ranked.score),
        false => format!("score {}: {}", ranked.score, factors.join(", ")),
    }
}

/// What fell out, and why; several in a row that fell out for the same reasons are told as one.
fn excluded(excluded: &[Excluded]) -> Vec<String> {
    const EACH: usize = 3;
    let mut lines = Vec::new();
    for alike in excluded.chunk_by(|one, next| one.failed == next.failed) {
        let failed: Vec<_> = alike[0].failed.iter().map(ToString::to_string).collect();
        let failed = failed.join(", ");
        match alike {
            [first, .., last] if alike.len() > EACH => lines.push(format!(
                "{} from {} to {}: {failed}",
                alike.len(),
                considered(&first.what),
                considered(&last.what)
            )),
            _ => lines.extend(
                alike
                    .iter()
                    .map(|one| format!("{}: {failed}", considered(&one.what))),
            ),
        }
    }
    lines
}

fn considered(what: &Considered) -> String {
    match what {
        Considered::TechnicianId(id) => short(id),
        Considered::Window(window) => words::window(window),
        Considered::Moment(at) => words::minute(*at),
        Considered::Role(role) => role.to_string(),
        Considered::Verdict(verdict) => verdict.to_string(),
        Considered::Operation(operation) => operation.to_string(),
        Considered::Line(line) => format!("{} × {}", line.quantity, line.item),
        Considered::Part(part) => format!("{} × {}", part.quantity, part.sku),
    }
}

fn pairing(pairing: Option<&Pairing>) -> String {
    let Some(pairing) = pairing else {
        return "did nothing about it so far".to_owned();
    };
    let what = match pairing.outcome {
        PairingOutcome::Same => "the same".to_owned(),
        PairingOutcome::Equivalent => "something equivalent".to_owned(),
        PairingOutcome::Different => Mark::Warn.on("something different"),
        PairingOutcome::Nothing => "nothing about it".to_owned(),
    };
    let seen = match pairing.seen {
        true => "had seen the proposal",
        false => "had not seen the proposal",
    };
    format!(
        "did {what}: {}, {}, {}; {seen}",
        clean(&pairing.actor_id),
        words::ago(pairing.at, Utc::now()),
        pairing.command_id
    )
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use contracts::schedule::TimeWindow;

    use super::*;

    fn window(hour: i64, failed: &str) -> Excluded {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::hours(hour);
        Excluded {
            what: Considered::Window(TimeWindow {
                start,
                end: start + TimeDelta::hours(2),
            }),
            failed: vec![failed.parse().unwrap()],
        }
    }

    #[test]
    fn many_that_fell_out_alike_are_told_as_one() {
        let mut out = vec![window(0, "busy")];
        out.extend((1..6).map(|hour| window(hour, "after_deadline")));
        let lines = excluded(&out);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with(": busy"), "{lines:?}");
        assert!(lines[1].starts_with("5 from "), "{lines:?}");
        assert!(lines[1].ends_with(": after_deadline"), "{lines:?}");
        assert_eq!(excluded(&out[..4]).len(), 4);
    }
}
