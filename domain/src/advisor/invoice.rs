//! Invoice advice: what to charge.
//!
//! A trip for each visit that took place, its begun hours of work, the change orders that were
//! approved, and the parts that return visits brought, at the prices of the template. A change
//! costs no more than what was approved for it, and just that when the template has no price.
//! Nothing above the not-to-exceed amount is charged: lines are taken in this order, hours as many
//! as fit, everything else whole or not at all. What does not fit, and a part without a price, is
//! excluded and says so. Next to it stands the invoice without parts, for work whose parts are
//! charged otherwise.

use std::collections::BTreeMap;

use contracts::{
    Slug,
    proposal::{Advice, Choice, Considered, Excluded, InvoiceInput, Ranked},
    ticket::{InvoiceLine, Part},
};

use super::{factor, ranked, slug};

pub(super) fn advise(input: &InvoiceInput) -> Advice {
    let mut excluded = Vec::new();
    let mut work = work(input);
    work.extend(changes(input));
    let parts = parts(input, &mut excluded);
    let mut good = Vec::new();
    let all: Vec<_> = work.iter().chain(&parts).cloned().collect();
    let full = within(input.nte_cents, &all, &mut excluded);
    good.extend(assess(input, &all, &full, 0));
    if !parts.is_empty() {
        // What falls out of it fell out of the full one, too.
        let without = within(input.nte_cents, &work, &mut Vec::new());
        if without != full {
            good.extend(assess(input, &all, &without, 1));
        }
    }
    Advice {
        advisor: slug("invoice_v1"),
        ranked: good,
        excluded,
    }
}

fn assess(
    input: &InvoiceInput,
    all: &[InvoiceLine],
    lines: &[InvoiceLine],
    parts_left_out: i64,
) -> Option<Ranked> {
    if lines.is_empty() {
        return None;
    }
    let (whole, amount) = (sum(all), sum(lines));
    let beyond = (whole - i128::from(input.nte_cents)).max(0);
    let factors = vec![
        factor("amount_cents", cents(amount), 0),
        factor("beyond_nte_cents", cents(beyond), 0),
        factor("lines", i64::try_from(lines.len()).unwrap_or(i64::MAX), 0),
        factor("parts_left_out", parts_left_out, -100 * parts_left_out),
    ];
    let lines = lines.to_vec();
    Some(ranked(Choice::Invoice { lines }, factors))
}

/// Trips and hours. A visit of unknown length took as long as planned.
fn work(input: &InvoiceInput) -> Vec<InvoiceLine> {
    let trips = u32::try_from(input.visits.len()).unwrap_or(u32::MAX);
    let hours = input
        .visits
        .iter()
        .map(|visit| visit.minutes.unwrap_or(input.visit_minutes).div_ceil(60))
        .fold(0, u32::saturating_add);
    [
        ("call_out", trips, input.call_out_cents),
        ("labour_hour", hours, input.labour_per_hour_cents),
    ]
    .into_iter()
    .filter(|(_, quantity, unit_cents)| *quantity > 0 && *unit_cents > 0)
    .map(|(item, quantity, unit_cents)| InvoiceLine {
        item: slug(item),
        quantity,
        unit_cents,
    })
    .collect()
}

/// Approved changes, one line each.
fn changes(input: &InvoiceInput) -> Vec<InvoiceLine> {
    let mut lines: Vec<_> = input
        .changes
        .iter()
        .map(|change| {
            let approved = change.price_delta_cents;
            let listed = input.price_list.get(&change.scope);
            InvoiceLine {
                item: change.scope.clone(),
                quantity: 1,
                unit_cents: listed.map_or(approved, |price| approved.min(*price)),
            }
        })
        .collect();
    lines.sort_by(|a, b| (&a.item, a.unit_cents).cmp(&(&b.item, b.unit_cents)));
    lines
}

/// Parts at their prices, one line each.
fn parts(input: &InvoiceInput, excluded: &mut Vec<Excluded>) -> Vec<InvoiceLine> {
    let mut wanted: BTreeMap<&Slug, u32> = BTreeMap::new();
    for part in &input.parts {
        let quantity = wanted.entry(&part.sku).or_default();
        *quantity = quantity.saturating_add(part.quantity);
    }
    let mut lines = Vec::new();
    for (sku, quantity) in wanted {
        match input.price_list.get(sku) {
            Some(&unit_cents) => lines.push(InvoiceLine {
                item: sku.clone(),
                quantity,
                unit_cents,
            }),
            None => excluded.push(Excluded {
                what: Considered::Part(Part {
                    sku: sku.clone(),
                    quantity,
                }),
                failed: vec![slug("no_price")],
            }),
        }
    }
    lines
}

/// What fits, in order: hours as many as fit, everything else whole or not at all.
fn within(most: i64, lines: &[InvoiceLine], excluded: &mut Vec<Excluded>) -> Vec<InvoiceLine> {
    let mut left = i128::from(most);
    let mut fitting = Vec::new();
    for line in lines {
        let unit = i128::from(line.unit_cents);
        let fits = match line.item.as_str() {
            "labour_hour" => u32::try_from(left.max(0) / unit.max(1))
                .unwrap_or(u32::MAX)
                .min(line.quantity),
            _ if sum(std::slice::from_ref(line)) <= left => line.quantity,
            _ => 0,
        };
        let part = |quantity| InvoiceLine {
            quantity,
            ..line.clone()
        };
        if fits > 0 {
            left -= unit * i128::from(fits);
            fitting.push(part(fits));
        }
        if fits < line.quantity {
            excluded.push(Excluded {
                what: Considered::Line(part(line.quantity - fits)),
                failed: vec![slug("above_nte")],
            });
        }
    }
    fitting
}

fn sum(lines: &[InvoiceLine]) -> i128 {
    let amount = |line: &InvoiceLine| i128::from(line.unit_cents) * i128::from(line.quantity);
    lines.iter().map(amount).sum()
}

fn cents(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use contracts::proposal::{ApprovedChange, VisitMade};

    use super::*;
    use crate::testing::{monday, slug as word};

    /// One visit of an hour and three changes: listed below, listed above and not listed.
    fn input() -> InvoiceInput {
        let change = |scope, price_delta_cents| ApprovedChange {
            scope: word(scope),
            price_delta_cents,
        };
        InvoiceInput {
            version: 9,
            at: monday(),
            nte_cents: 60_000,
            call_out_cents: 9_000,
            labour_per_hour_cents: 6_000,
            price_list: [(word("pane"), 12_000), (word("bead"), 1_500)].into(),
            visit_minutes: 60,
            visits: vec![VisitMade {
                number: 1,
                minutes: Some(60),
            }],
            parts: Vec::new(),
            changes: vec![
                change("pane", 15_000),
                change("bead", 1_000),
                change("scaffold", 20_000),
            ],
        }
    }

    fn line(item: &str, unit_cents: i64) -> InvoiceLine {
        InvoiceLine {
            item: word(item),
            quantity: 1,
            unit_cents,
        }
    }

    fn best(input: &InvoiceInput) -> Vec<InvoiceLine> {
        match advise(input).best() {
            Some(Choice::Invoice { lines }) => lines.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_approved_change_is_charged_at_its_price_and_never_above_what_was_approved() {
        let work = [line("call_out", 9_000), line("labour_hour", 6_000)];
        let changes = [
            line("bead", 1_000),
            line("pane", 12_000),
            line("scaffold", 20_000),
        ];
        assert_eq!(best(&input()), [work.as_slice(), &changes].concat());
        assert!(advise(&input()).excluded.is_empty());
    }

    #[test]
    fn a_change_above_the_limit_falls_out_and_says_so() {
        let input = InvoiceInput {
            nte_cents: 47_999,
            ..input()
        };
        assert!(!best(&input).contains(&line("scaffold", 20_000)));
        let excluded = Excluded {
            what: Considered::Line(line("scaffold", 20_000)),
            failed: vec![word("above_nte")],
        };
        assert_eq!(advise(&input).excluded, [excluded]);
    }

    #[test]
    fn the_invoice_without_parts_keeps_the_changes() {
        let part = Part {
            sku: word("pane"),
            quantity: 1,
        };
        let with = InvoiceInput {
            parts: vec![part],
            ..input()
        };
        let advice = advise(&with);
        let lines = best(&input());
        assert_eq!(advice.ranked.len(), 2);
        assert_eq!(advice.ranked[1].choice, Choice::Invoice { lines });
    }
}
