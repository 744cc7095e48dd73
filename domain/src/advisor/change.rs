//! Advice on a change order: approve it or not.
//!
//! Approving is excluded when the change alone exceeds half of the amount that was agreed, or when
//! all changes of the ticket together would more than double the amount that it began with: that is
//! another job, not a change of this one. Otherwise both are ranked: work that waits at the site
//! speaks for approving, the share of the amount and of what was added before speak against it, and
//! work that the price list knows is trusted more than work that it does not.

use contracts::{
    Slug,
    approval::Verdict,
    proposal::{Advice, ChangeInput, Choice, Considered, Excluded, Factor, Ranked},
};

use super::{factor, ranked, slug};

/// One change is at most this share of the amount agreed, in percent.
const MOST_AT_ONCE: i64 = 50;
/// All changes together are at most this share of the first amount, in percent.
const MOST_IN_ALL: i64 = 100;
/// No share is worth more points.
const MOST_PERCENT: i64 = 1_000;

pub(super) fn advise(input: &ChangeInput) -> Advice {
    let facts = Shares::of(input);
    let failed = facts.against_approving();
    let mut excluded = Vec::new();
    let mut good = vec![facts.judge(Verdict::Reject)];
    if failed.is_empty() {
        good.push(facts.judge(Verdict::Approve));
    } else {
        excluded.push(Excluded {
            what: Considered::Verdict(Verdict::Approve),
            failed,
        });
    }
    // Sorting is stable: when there is as much against it as for it, it is not approved.
    good.sort_by_key(|ranked| -ranked.score);
    Advice {
        advisor: slug("change_v1"),
        ranked: good,
        excluded,
    }
}

struct Shares {
    at_once: i64,
    in_all: i64,
    scope_known: bool,
}

impl Shares {
    fn of(input: &ChangeInput) -> Self {
        let added = i128::from(input.nte_cents) - i128::from(input.initial_nte_cents)
            + i128::from(input.price_delta_cents);
        Self {
            at_once: percent(input.price_delta_cents.into(), input.nte_cents),
            in_all: percent(added, input.initial_nte_cents),
            scope_known: input.scope_known,
        }
    }

    fn against_approving(&self) -> Vec<Slug> {
        let mut failed = Vec::new();
        if self.at_once > MOST_AT_ONCE {
            failed.push(slug("above_single_limit"));
        }
        if self.in_all > MOST_IN_ALL {
            failed.push(slug("above_total_limit"));
        }
        failed
    }

    fn judge(&self, verdict: Verdict) -> Ranked {
        let sign = match verdict {
            Verdict::Approve => 1,
            Verdict::Reject => -1,
        };
        let mut factors: Vec<Factor> = vec![
            factor("percent_of_nte", self.at_once, -sign * self.at_once),
            factor("percent_added_in_all", self.in_all, -sign * self.in_all / 2),
            match self.scope_known {
                true => factor("scope_known", 1, sign * 30),
                false => factor("scope_known", 0, -sign * 10),
            },
        ];
        if verdict == Verdict::Approve {
            factors.push(factor("work_waits_at_the_site", 1, 60));
        }
        ranked(Choice::DecideChange { verdict }, factors)
    }
}

/// A share in begun percent; of nothing, all is too much.
fn percent(part: i128, of: i64) -> i64 {
    if of <= 0 {
        return MOST_PERCENT;
    }
    let of = i128::from(of);
    let begun = (part * 100 + of - 1).div_euclid(of);
    i64::try_from(begun.clamp(0, i128::from(MOST_PERCENT))).unwrap_or(MOST_PERCENT)
}
