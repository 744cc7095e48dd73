//! Escalation advice: who should be told that a promise is near its end, or broken.
//!
//! Three could be told: whoever has to make the next step, the account manager, the head of the
//! tenant. A warning goes to the first, who can still keep the promise; a breach is for the account
//! manager, who has to tell the customer. The head is told of the second broken promise and not
//! before, and neither of the two is called outside office hours, except for a P1.

use chrono::TimeDelta;
use contracts::{
    Priority, Role, Slug,
    event::WaitingFor,
    proposal::{Advice, Choice, Considered, EscalationInput, Excluded, Ranked},
    sla::SlaRecordKind,
};

use super::{factor, ranked, slug};
use crate::calendar::Calendar;

/// The head of the tenant hears of so many broken promises.
const BREACHES_FOR_THE_HEAD: u32 = 2;
/// With less time than this, whoever is nearest to the work comes first.
const SHORT_MINUTES: i64 = 30;

/// Who has to make the next step.
const fn next_step(waits_for: WaitingFor) -> Role {
    match waits_for {
        WaitingFor::Triage
        | WaitingFor::Schedule
        | WaitingFor::Confirmation
        | WaitingFor::Assignment
        | WaitingFor::Arrival
        | WaitingFor::Completion
        | WaitingFor::Nothing => Role::Dispatcher,
        WaitingFor::ChangeApproval => Role::Approver,
        WaitingFor::Customer => Role::AccountManager,
        WaitingFor::Qa => Role::Qa,
        WaitingFor::Invoice | WaitingFor::Closing => Role::Billing,
    }
}

pub(super) fn advise(input: &EscalationInput) -> Advice {
    let mut roles = vec![
        next_step(input.waits_for),
        Role::AccountManager,
        Role::TenantAdmin,
    ];
    roles.dedup();
    let (mut good, mut excluded) = (Vec::new(), Vec::new());
    for role in roles {
        match assess(input, role) {
            Ok(ranked) => good.push(ranked),
            Err(failed) => excluded.push(Excluded {
                what: Considered::Role(role),
                failed,
            }),
        }
    }
    // Sorting is stable: of two with equal scores the one nearer to the work is first.
    good.sort_by_key(|ranked| -ranked.score);
    Advice {
        advisor: slug("escalation_v1"),
        ranked: good,
        excluded,
    }
}

/// A role's score, or every hard constraint that fails.
fn assess(input: &EscalationInput, role: Role) -> Result<Ranked, Vec<Slug>> {
    let nearest = role == next_step(input.waits_for);
    let mut failed = Vec::new();
    if role == Role::TenantAdmin && input.breaches < BREACHES_FOR_THE_HEAD {
        failed.push(slug("too_few_breaches"));
    }
    if !nearest && input.priority != Priority::P1 && !office_is_open(input) {
        failed.push(slug("office_closed"));
    }
    if !failed.is_empty() {
        return Err(failed);
    }
    let breached = input.record.kind == SlaRecordKind::Breach;
    let mut factors = vec![match (nearest, breached) {
        (true, true) => factor("makes_the_next_step", 1, 30),
        (true, false) => factor("makes_the_next_step", 1, 60),
        (false, _) => factor("makes_the_next_step", 0, 0),
    }];
    if role == Role::AccountManager {
        factors.push(factor(
            "tells_the_customer",
            i64::from(breached),
            if breached { 50 } else { 20 },
        ));
    }
    if role == Role::TenantAdmin {
        let breaches = i64::from(input.breaches);
        factors.push(factor("breaches", breaches, 15 * breaches.min(6)));
    }
    if let Some(next) = input.next_deadline {
        let left = (next - input.at).num_minutes();
        let short = nearest && left < SHORT_MINUTES;
        factors.push(factor("minutes_left", left, if short { 25 } else { 0 }));
    }
    let choice = Choice::Escalate {
        to: role,
        about: input.record.clone(),
        before: input.next_deadline,
    };
    Ok(ranked(choice, factors))
}

fn office_is_open(input: &EscalationInput) -> bool {
    let minute = TimeDelta::minutes(1);
    Calendar::new(&input.office)
        .is_ok_and(|office| office.open_time(input.at, input.at + minute) == minute)
}
