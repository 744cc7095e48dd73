//! Closeout advice: whether finished work is ready to be verified.
//!
//! It is not while evidence that the template wants is missing, while a file that has to be seen
//! was not, while a change order is open or the customer is awaited. Each of these is a reason to
//! reject, and rejecting without a reason is excluded.

use contracts::{
    Operation, Slug,
    proposal::{Advice, Choice, CloseoutInput, Considered, Excluded},
};

use super::{factor, ranked, slug, slug_of};

pub(super) fn advise(input: &CloseoutInput) -> Advice {
    let reasons = reasons(input);
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX / 100);
    let (good, out, failed) = if reasons.is_empty() {
        let on_record = count(input.required.len());
        let factors = vec![factor("evidence_on_record", on_record, 10 * on_record)];
        let nothing = vec![slug("nothing_is_missing")];
        (
            ranked(Choice::Verify, factors),
            Operation::QaReject,
            nothing,
        )
    } else {
        let missing = count(reasons.len());
        let factors = vec![factor("reasons", missing, 10 * missing)];
        let choice = Choice::Reject {
            reasons: reasons.clone(),
        };
        (ranked(choice, factors), Operation::QaVerify, reasons)
    };
    Advice {
        advisor: slug("closeout_v1"),
        ranked: vec![good],
        excluded: vec![Excluded {
            what: Considered::Operation(out),
            failed,
        }],
    }
}

/// All that stands against verifying, in alphabetical order.
fn reasons(input: &CloseoutInput) -> Vec<Slug> {
    let mut reasons = Vec::new();
    for kind in &input.required {
        let mut of_kind = input.evidence.iter().filter(|fact| fact.kind == *kind);
        if !of_kind.clone().any(|_| true) {
            reasons.push(slug_of("missing", kind));
        } else if input.files_demanded.contains(kind) && !of_kind.any(|fact| fact.verified) {
            reasons.push(slug_of("unverified", kind));
        }
    }
    if input.change_open {
        reasons.push(slug("change_open"));
    }
    if input.customer_awaited {
        reasons.push(slug("customer_awaited"));
    }
    reasons.sort();
    reasons.dedup();
    reasons
}
