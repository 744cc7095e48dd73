//! Charges for the work. Whether the sum stays within the not-to-exceed amount is policy's
//! business; that it is a sum at all is checked here.

use contracts::{
    command::GenerateInvoice,
    event::TicketEvent,
    ticket::{Invoice, InvoiceLine},
};

use super::{Plan, check};
use crate::{Facts, Rejection};

pub(super) fn plan(body: &GenerateInvoice, facts: &Facts) -> Result<Plan, Rejection> {
    if body.lines.is_empty() {
        return Err(Rejection::invalid("/lines", "must have at least one line"));
    }
    for (i, line) in body.lines.iter().enumerate() {
        check::within(line.quantity, (1, 100_000), || {
            format!("/lines/{i}/quantity")
        })?;
        check::within(line.unit_cents, (0, 1_000_000_000), || {
            format!("/lines/{i}/unit_cents")
        })?;
    }
    let amount_cents = sum(&body.lines)
        .ok_or_else(|| Rejection::invalid("/lines", "add up to more than can be stored"))?;
    let number = facts.invoice_number.clone().ok_or(Rejection::Broken {
        what: "the next invoice number",
    })?;
    Ok(Plan::from(TicketEvent::Invoiced {
        invoice: Invoice {
            id: facts.ids.invoice,
            number,
            amount_cents,
            lines: body.lines.clone(),
            issued_at: facts.now,
            credit_note: None,
        },
    }))
}

fn sum(lines: &[InvoiceLine]) -> Option<i64> {
    lines.iter().try_fold(0_i64, |sum, line| {
        sum.checked_add(line.unit_cents.checked_mul(line.quantity.into())?)
    })
}
