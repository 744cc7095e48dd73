//! `dispatch rollout ledger`: the figures, and what they are made of.

use chrono::{TimeDelta, Utc};
use contracts::{
    proposal::OutcomeCounts,
    rollout::{LedgerFigures, LedgerView},
};

use super::args::LedgerArgs;
use crate::{
    desk::Desk,
    exit::Failure,
    table::{Facts, Screen, Table, short},
    words,
};

/// Rows that are shown without `--json`.
const MOST: usize = 20;

pub(super) async fn show(desk: &Desk, args: &LedgerArgs) -> Result<(), Failure> {
    let now = Utc::now();
    let since = args.since.map(|at| at.before(now));
    let until = args.until.map(|at| at.before(now));
    let view = desk.api.rollout_ledger(&args.stage.0, since, until).await?;
    match desk.json {
        true => desk.print_json(&view),
        false => desk.print(&text(&view, desk.screen)),
    }
}

fn text(view: &LedgerView, screen: Screen) -> String {
    let mut text = format!(
        "{}, {} to {}\n{}",
        view.target.key(),
        words::time(view.since),
        words::time(view.until),
        figures(&view.figures, screen)
    );
    text += &details(&view.figures, screen);
    let undone = view
        .acts
        .iter()
        .filter_map(|act| Some((act, act.undone.as_ref()?)));
    let mut table = Table::new(&["UNDONE", "TICKET", "DONE", "AFTER", "HOW"]);
    for (act, undone) in undone.take(MOST) {
        table.row([
            short(act.command_id),
            act.ticket_id.to_string(),
            words::time(act.at),
            words::length(undone.at - act.at),
            undone.how.to_string(),
        ]);
    }
    if view.acts.iter().any(|act| act.undone.is_some()) {
        text += "\n";
        text += &table.render(screen, &[1]);
    }
    text
}

/// The agreement by what spoke for the proposals, and by whom they are about.
pub(super) fn details(figures: &LedgerFigures, screen: Screen) -> String {
    counts("BY REASON", figures.by_rule.iter(), screen)
        + &counts("BY TECHNICIAN", figures.by_technician.iter(), screen)
}

/// The figures that a gate looks at, one a line.
pub(super) fn figures(figures: &LedgerFigures, screen: Screen) -> String {
    let mut facts = Facts::default();
    let sample = figures.unseen.same + figures.unseen.equivalent + figures.unseen.different;
    facts.add(
        "sample",
        format!(
            "{sample} unseen ({} same, {} equivalent, {} different); {} came to nothing, {} open, \
             {} were seen before",
            figures.unseen.same,
            figures.unseen.equivalent,
            figures.unseen.different,
            figures.unseen.nothing,
            figures.open,
            figures.seen.same + figures.seen.equivalent + figures.seen.different,
        ),
    );
    let agreed = figures
        .unseen
        .agreement_permille
        .map_or("–".to_owned(), percent);
    facts.add(
        "agreement",
        format!(
            "{agreed}, at least {} (95 %)",
            percent(figures.agreement_permille)
        ),
    );
    facts.add(
        "denied",
        format!(
            "{} of {} attempts ({})",
            figures.denied,
            figures.attempts,
            percent(figures.denied_permille)
        ),
    );
    let how = figures.overridden_how.iter();
    let how: Vec<_> = how.map(|(how, n)| format!("{n} {how}")).collect();
    let how = match how.is_empty() {
        true => String::new(),
        false => format!(": {}", how.join(", ")),
    };
    facts.add(
        "undone",
        format!(
            "{} of {} acts ({}){how}",
            figures.overridden,
            figures.acts,
            percent(figures.overridden_permille)
        ),
    );
    facts.add(
        "promises broken",
        format!("{} after software acted", figures.breaches),
    );
    if !figures.approvals.is_empty() {
        let states = figures.approvals.iter();
        let states: Vec<_> = states.map(|(state, n)| format!("{n} {state}")).collect();
        facts.add("approvals", states.join(", "));
    }
    if let Some(seconds) = figures.saved_seconds {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let saved = TimeDelta::try_seconds(seconds).unwrap_or(TimeDelta::MAX);
        facts.add(
            "would save",
            format!(
                "{} per act (median); {} warnings and {} breaches came between advice and act",
                words::length(saved),
                figures.warnings_avoidable,
                figures.breaches_avoidable
            ),
        );
    }
    facts.render(screen)
}

fn counts<'a, K: ToString + 'a>(
    heading: &str,
    rows: impl ExactSizeIterator<Item = (&'a K, &'a OutcomeCounts)>,
    screen: Screen,
) -> String {
    if rows.len() == 0 {
        return String::new();
    }
    let mut table = Table::new(&[
        heading,
        "AGREED",
        "SAME",
        "EQUIVALENT",
        "DIFFERENT",
        "NOTHING",
    ]);
    for (name, counts) in rows.take(MOST) {
        table.row([
            name.to_string(),
            counts.agreement_permille.map_or("–".to_owned(), percent),
            counts.same.to_string(),
            counts.equivalent.to_string(),
            counts.different.to_string(),
            counts.nothing.to_string(),
        ]);
    }
    format!("\n{}", table.render(screen, &[0]))
}

/// Thousandths as people read them.
pub(super) fn percent(permille: impl Into<u64>) -> String {
    let permille = permille.into();
    format!("{}.{} %", permille / 10, permille % 10)
}

#[cfg(test)]
mod tests {
    use contracts::proposal::PairingOutcome;

    use super::*;

    #[test]
    fn figures_are_told_with_what_they_are_made_of() {
        let mut told = LedgerFigures {
            agreement_permille: 722,
            acts: 4,
            overridden: 1,
            overridden_permille: 250,
            overridden_how: [("taken_off".parse().unwrap(), 1)].into(),
            saved_seconds: Some(90),
            ..LedgerFigures::default()
        };
        told.unseen.add(PairingOutcome::Same, 10);
        let text = figures(&told, Screen::PIPE);
        assert!(text.contains("10 unseen (10 same"), "{text}");
        assert!(text.contains("100.0 %, at least 72.2 % (95 %)"), "{text}");
        assert!(text.contains("1 of 4 acts (25.0 %): 1 taken_off"), "{text}");
    }
}
