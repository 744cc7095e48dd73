//! The replay for people: one page without anything to load, every word of the record escaped.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contracts::{
    TicketId,
    proposal::{Choice, OutcomeCounts, PairingOutcome},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::{
    AdviceChange, DecisionChange, DecisionLine, ProposalLine, shadow::Shown, summary::Summary,
};

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
dl { display: grid; grid-template-columns: max-content auto; gap: .2rem 1.5rem; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8884; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: .9em; overflow-wrap: anywhere; }
.differs { font-weight: 600; }
";

/// The whole page.
pub(crate) fn page(summary: &Summary, shown: &Shown) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Shadow replay" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Shadow replay" }
                p { "What software would have proposed and the policy decided, beside what was \
                     recorded and what people did." }
                (facts(summary))
                h2 { "Proposals" }
                (proposals(summary))
                h2 { "Decisions" }
                (decisions(&summary.decisions))
                @if !summary.unreadable.is_empty() {
                    h2 { "Timelines that could not be walked to their end" }
                    ul {
                        @for lost in &summary.unreadable {
                            li { code { (lost.stream) } " " (lost.reason) }
                        }
                    }
                }
                h2 { "Advice that differs" }
                (advice(summary, &shown.proposals))
                h2 { "Decisions that differ" }
                (differing(summary, &shown.decisions))
            }
        }
    };
    page.into_string() + "\n"
}

fn facts(summary: &Summary) -> Markup {
    let (range, seen) = (&summary.range, &summary.looked_at);
    html! {
        dl {
            dt { "program" } dd { (summary.code_version) }
            dt { "bundle" } dd { (summary.bundle.version) ", sha256 " code { (summary.bundle.sha256) } }
            dt { "tenants" }
            dd { @for tenant in &range.tenants { code { (tenant) } " " } }
            @if let Some(ticket) = range.ticket { dt { "ticket" } dd { code { (ticket) } } }
            dt { "from" } dd { (time(range.since)) }
            dt { "to" } dd { (range.until.map_or_else(|| "the end of the record".to_owned(), time)) }
            dt { "looked at" }
            dd {
                (seen.tickets) " tickets, " (seen.other_chains) " other chains, "
                (seen.attempts) " attempts"
                @if let (Some(first), Some(last)) = (seen.first_at, seen.last_at) {
                    ", from " (time(first)) " to " (time(last))
                }
            }
        }
    }
}

fn proposals(summary: &Summary) -> Markup {
    if summary.proposals.is_empty() {
        return html! { p { "No advice was due or recorded in this range." } };
    }
    html! {
        div.wide { table {
            thead { tr {
                th { "kind" } th.n { "due" } th.n { "not due" }
                @for change in AdviceChange::ALL { th.n { (change.words()) } }
                th { "people, against then" } th { "people, against now" }
            } }
            tbody { @for (kind, of) in &summary.proposals { tr {
                td { (kind) } td.n { (of.due) } td.n { (of.not_due) }
                @for change in AdviceChange::ALL { td.n { (count(&of.compared, change)) } }
                td { (met(of.recorded.open, of.recorded.all, of.recorded.unseen)) }
                td { (met(of.replayed.open, of.replayed.all, of.replayed.unseen)) }
            } } }
        } }
        p { "Agreement is the share of same and equivalent among what people did about it; unseen \
             counts only where they had not read the recorded proposal. “Not due” was recorded \
             although today's rules do not ask for it." }
    }
}

fn met(open: u64, all: OutcomeCounts, unseen: OutcomeCounts) -> String {
    let percent = |counts: OutcomeCounts| match counts.agreement_permille {
        Some(share) => format!("{}.{} %", share / 10, share % 10),
        None => "–".to_owned(),
    };
    format!(
        "{} same, {} equivalent, {} different, {} nothing, {open} open; agreement {}, unseen {}",
        all.same,
        all.equivalent,
        all.different,
        all.nothing,
        percent(all),
        percent(unseen),
    )
}

fn decisions(counts: &BTreeMap<DecisionChange, u64>) -> Markup {
    html! {
        div.wide { table {
            thead { tr { @for change in DecisionChange::ALL { th.n { (change.words()) } } } }
            tbody { tr { @for change in DecisionChange::ALL { td.n { (count(counts, change)) } } } }
        } }
    }
}

fn advice(summary: &Summary, shown: &[ProposalLine]) -> Markup {
    let differing: u64 = summary
        .proposals
        .values()
        .flat_map(|of| &of.compared)
        .filter(|(change, _)| !matches!(change, AdviceChange::Same | AdviceChange::NotRecorded))
        .map(|(_, count)| count)
        .sum();
    html! {
        (first_of(shown.len(), differing, crate::artifact::PROPOSALS))
        @if !shown.is_empty() { div.wide { table {
            thead { tr {
                th { "ticket" } th.n { "#" } th { "kind" } th { "differs" } th { "then" } th { "now" }
                th { "people" }
            } }
            tbody { @for line in shown { tr {
                td { (ticket(line.ticket_id)) } td.n { (line.position) } td { (line.kind) }
                td.differs { (line.compared.words()) }
                td { (choice(line.recorded_choice())) } td { (choice(line.replayed_choice())) }
                td {
                    (outcome(line.recorded.as_ref().and_then(|of| of.outcome))) " → "
                    (outcome(line.replayed.as_ref().and_then(|of| of.outcome)))
                }
            } } }
        } } }
    }
}

fn differing(summary: &Summary, shown: &[DecisionLine]) -> Markup {
    let differing: u64 = summary
        .decisions
        .iter()
        .filter(|(change, _)| **change != DecisionChange::Same)
        .map(|(_, count)| count)
        .sum();
    html! {
        (first_of(shown.len(), differing, crate::artifact::DECISIONS))
        @if !shown.is_empty() { div.wide { table {
            thead { tr {
                th { "decision" } th { "at" } th { "command" } th { "ticket" } th { "differs" }
                th { "was" } th { "would be" }
            } }
            tbody { @for line in shown { tr {
                td { code { (line.decision_id) } } td { (time(line.at)) } td { (line.operation) }
                td { @if let Some(id) = line.ticket_id { (ticket(id)) } }
                td.differs { (line.compared.words()) }
                td {
                    (line.recorded.result)
                    @for reason in &line.recorded.reasons { br; (reason.code) ": " (reason.message) }
                }
                td {
                    @if let Some(now) = &line.replayed {
                        (now.result)
                        @for reason in &now.reasons {
                            br; (reason.code) ": " (reason.message) " To pass: " (reason.to_pass)
                        }
                    }
                    @if let Some(error) = &line.error { (error) }
                }
            } } }
        } } }
    }
}

fn first_of(shown: usize, all: u64, file: &str) -> Markup {
    html! {
        p {
            @if all == 0 { "None." }
            @else if shown as u64 == all { (all) ", all of them here." }
            @else { (all) ", the first " (shown) " of them here; all are in " code { (file) } "." }
        }
    }
}

fn count<K: Ord>(counts: &BTreeMap<K, u64>, key: K) -> u64 {
    counts.get(&key).copied().unwrap_or_default()
}

fn ticket(id: TicketId) -> Markup {
    html! { code title=(id) { (id.short()) } }
}

fn outcome(outcome: Option<PairingOutcome>) -> String {
    outcome.map_or_else(|| "open".to_owned(), |outcome| outcome.to_string())
}

/// A choice as its document says it: ids and words, no names.
fn choice(choice: Option<&Choice>) -> Markup {
    match choice.map(serde_json::to_string) {
        Some(Ok(text)) => html! { code { (text) } },
        _ => html! { "nothing" },
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
