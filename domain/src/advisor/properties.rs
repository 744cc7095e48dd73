//! What holds of every advice: it is the same for the same input, in whatever order the choices
//! stand there; a score is the sum of its factors; what is excluded breaks exactly what is named,
//! told by rules that are written here once more; and what is ranked breaks nothing.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ContactId, Operation, Priority, Role,
    approval::Verdict,
    event::WaitingFor,
    proposal::*,
    schedule::{GeoPoint, TimeWindow, WorkCalendar},
    sla::{SlaRecordKey, SlaRecordKind},
    ticket::{InvoiceLine, Part},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::testing::{monday, office, slug as word, technician, uuid};

const SITE: GeoPoint = GeoPoint {
    lat_e6: 52_370_000,
    lon_e6: 4_890_000,
};

fn minutes(n: i64) -> DateTime<Utc> {
    monday() + TimeDelta::minutes(n)
}

fn a_priority() -> impl Strategy<Value = Priority> {
    select(vec![Priority::P1, Priority::P2, Priority::P3, Priority::P4])
}

/// Within a week of Monday morning, by the quarter of an hour.
fn a_moment() -> impl Strategy<Value = DateTime<Utc>> {
    (-8..600_i64).prop_map(|quarters| minutes(15 * quarters))
}

fn a_window() -> impl Strategy<Value = TimeWindow> {
    (a_moment(), 1..6_i64).prop_map(|(start, hours)| TimeWindow {
        start,
        end: start + TimeDelta::hours(hours),
    })
}

fn a_calendar() -> impl Strategy<Value = WorkCalendar> {
    let always = WorkCalendar {
        week: vec![vec![(0, 1440)]; 7],
        ..office()
    };
    let never = WorkCalendar {
        week: vec![Vec::new(); 7],
        ..office()
    };
    select(vec![office(), always, never])
}

fn a_candidate(n: u128) -> impl Strategy<Value = Candidate> {
    (
        select(vec![vec![word("glazing")], Vec::new()]),
        0..400_i32,
        a_calendar(),
        vec(a_window(), 0..3),
        vec(a_window(), 0..3),
        0..3_u32,
    )
        .prop_map(
            move |(skills, north, calendar, busy, absent, open_visits)| Candidate {
                technician_id: technician(n),
                skills,
                base: Some(GeoPoint {
                    lat_e6: SITE.lat_e6 + north * 1000,
                    ..SITE
                }),
                calendar,
                busy,
                absent,
                open_visits,
            },
        )
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    (a_candidate(1), a_candidate(2), a_candidate(3), 0..4_usize).prop_map(|(a, b, c, count)| {
        let mut all = vec![a, b, c];
        all.truncate(count);
        all
    })
}

fn slots() -> impl Strategy<Value = SlotInput> {
    let windows = vec(a_window(), 0..12).prop_map(|mut windows| {
        windows.sort_by_key(|w| (w.start, w.end));
        windows.dedup();
        windows
    });
    (
        a_priority(),
        a_calendar(),
        option::of(a_moment()),
        windows,
        candidates(),
    )
        .prop_map(
            |(priority, office, due_at, windows, candidates)| SlotInput {
                version: 2,
                at: monday(),
                priority,
                site: SITE,
                office,
                notice_minutes: notice_minutes(priority),
                visit_minutes: 60,
                required_skills: vec![word("glazing")],
                due_at,
                windows,
                candidates,
            },
        )
}

fn reminders() -> impl Strategy<Value = ReminderInput> {
    (
        a_priority(),
        any::<bool>(),
        0..3000_i64,
        option::of(0..3000_i64),
        option::of(a_moment()),
        a_calendar(),
        vec(a_moment(), 0..10),
    )
        .prop_map(|(priority, known, since, told, window, office, moments)| {
            let since = minutes(-since);
            let moments: BTreeSet<_> = moments.into_iter().collect();
            ReminderInput {
                version: 3,
                at: monday(),
                priority,
                waits_for: WaitingFor::Confirmation,
                contact_id: known.then(|| ContactId::from_uuid(uuid(5))),
                since,
                last_told_at: told
                    .map(|told| minutes(-told))
                    .filter(|told| *told >= since),
                window_starts_at: window,
                office,
                moments: moments.into_iter().collect(),
            }
        })
}

fn escalations() -> impl Strategy<Value = EscalationInput> {
    (
        a_priority(),
        select(<WaitingFor as strum::VariantArray>::VARIANTS.to_vec()),
        select(vec![SlaRecordKind::Warning, SlaRecordKind::Breach]),
        0..5_u32,
        option::of(1..500_i64),
        a_calendar(),
        a_moment(),
    )
        .prop_map(
            |(priority, waits_for, kind, breaches, next, office, at)| EscalationInput {
                version: 4,
                at,
                priority,
                waits_for,
                record: SlaRecordKey {
                    clock: word("response"),
                    kind,
                    revision: 1,
                },
                due_at: at,
                next_deadline: next.map(|next| at + TimeDelta::minutes(next)),
                breaches,
                office,
            },
        )
}

fn changes() -> impl Strategy<Value = ChangeInput> {
    let amount = prop_oneof![0..200_000_i64, Just(0), Just(i64::MAX), Just(1)];
    (1..=1_000_000_000_i64, amount.clone(), amount, any::<bool>()).prop_map(
        |(price_delta_cents, nte_cents, initial_nte_cents, scope_known)| ChangeInput {
            version: 7,
            at: monday(),
            approval_id: contracts::ApprovalId::from_uuid(uuid(9)),
            scope: word("second_pane"),
            scope_known,
            price_delta_cents,
            nte_cents,
            initial_nte_cents,
        },
    )
}

fn closeouts() -> impl Strategy<Value = CloseoutInput> {
    let kinds = || {
        let all = ["photo_before", "photo_after", "signature"];
        proptest::sample::subsequence(all.map(word).to_vec(), 0..=3)
    };
    let fact = (
        select(vec!["photo_before", "photo_after", "signature"]),
        any::<bool>(),
    );
    let fact = fact.prop_map(|(kind, verified)| DocumentedFact {
        kind: word(kind),
        verified,
    });
    (
        kinds(),
        kinds(),
        vec(fact, 0..5),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(required, files_demanded, evidence, change_open, customer_awaited)| CloseoutInput {
                version: 8,
                at: monday(),
                required,
                files_demanded,
                evidence,
                change_open,
                customer_awaited,
            },
        )
}

fn invoices() -> impl Strategy<Value = InvoiceInput> {
    let visit = (1..4_u32, option::of(0..400_u32))
        .prop_map(|(number, minutes)| VisitMade { number, minutes });
    let part =
        (select(vec!["pane", "bead", "unheard_of"]), 1..4_u32).prop_map(|(sku, quantity)| Part {
            sku: word(sku),
            quantity,
        });
    let change =
        (select(vec!["pane", "scaffold"]), 1..30_000_i64).prop_map(|(scope, price_delta_cents)| {
            ApprovedChange {
                scope: word(scope),
                price_delta_cents,
            }
        });
    (
        0..120_000_i64,
        0..12_000_i64,
        0..10_000_i64,
        vec(visit, 0..4),
        vec(part, 0..5),
        vec(change, 0..4),
    )
        .prop_map(
            |(nte_cents, call_out_cents, labour_per_hour_cents, visits, parts, changes)| {
                InvoiceInput {
                    version: 9,
                    at: monday(),
                    nte_cents,
                    call_out_cents,
                    labour_per_hour_cents,
                    price_list: [(word("pane"), 12_000), (word("bead"), 1_500)].into(),
                    visit_minutes: 60,
                    visits,
                    parts,
                    changes,
                }
            },
        )
}

/// Two inputs that differ in the order of their choices only.
fn shuffled() -> impl Strategy<Value = (AdvisorInput, AdvisorInput)> {
    let slot = slots().prop_flat_map(|input| {
        let others = (
            Just(input.windows.clone()).prop_shuffle(),
            Just(input.candidates.clone()).prop_shuffle(),
        );
        others.prop_map(move |(windows, candidates)| {
            let other = SlotInput {
                windows,
                candidates,
                ..input.clone()
            };
            (AdvisorInput::Slot(input.clone()), AdvisorInput::Slot(other))
        })
    });
    let technician = slots().prop_flat_map(|input| {
        let of = |input: &SlotInput, candidates| TechnicianInput {
            version: 1,
            at: input.at,
            priority: input.priority,
            site: input.site,
            window: input.windows.first().copied(),
            visit_minutes: input.visit_minutes,
            required_skills: input.required_skills.clone(),
            due_at: input.due_at,
            candidates,
        };
        let others = Just(input.candidates.clone()).prop_shuffle();
        others.prop_map(move |others| {
            let one = of(&input, input.candidates.clone());
            (
                AdvisorInput::Technician(one),
                AdvisorInput::Technician(of(&input, others)),
            )
        })
    });
    let reminder = reminders().prop_flat_map(|input| {
        let others = Just(input.moments.clone()).prop_shuffle();
        others.prop_map(move |moments| {
            let other = ReminderInput {
                moments,
                ..input.clone()
            };
            (
                AdvisorInput::Reminder(input.clone()),
                AdvisorInput::Reminder(other),
            )
        })
    });
    let closeout = closeouts().prop_flat_map(|input| {
        let others = (
            Just(input.evidence.clone()).prop_shuffle(),
            Just(input.required.clone()).prop_shuffle(),
        );
        others.prop_map(move |(evidence, required)| {
            let other = CloseoutInput {
                evidence,
                required,
                ..input.clone()
            };
            (
                AdvisorInput::Closeout(input.clone()),
                AdvisorInput::Closeout(other),
            )
        })
    });
    let invoice = invoices().prop_flat_map(|input| {
        let others = (
            Just(input.visits.clone()).prop_shuffle(),
            Just(input.parts.clone()).prop_shuffle(),
            Just(input.changes.clone()).prop_shuffle(),
        );
        others.prop_map(move |(visits, parts, changes)| {
            let other = InvoiceInput {
                visits,
                parts,
                changes,
                ..input.clone()
            };
            (
                AdvisorInput::InvoiceLines(input.clone()),
                AdvisorInput::InvoiceLines(other),
            )
        })
    });
    let twice = |input: AdvisorInput| (input.clone(), input);
    prop_oneof![
        slot,
        technician,
        reminder,
        closeout,
        invoice,
        escalations().prop_map(move |input| twice(AdvisorInput::Escalation(input))),
        changes().prop_map(move |input| twice(AdvisorInput::ChangeDecision(input))),
    ]
}

fn names(rules: impl IntoIterator<Item = (&'static str, bool)>) -> BTreeSet<String> {
    let broken = rules.into_iter().filter(|(_, broken)| *broken);
    broken.map(|(name, _)| name.to_owned()).collect()
}

/// Whether every minute of the window is one in which the office is open.
fn is_open(calendar: &WorkCalendar, window: TimeWindow) -> bool {
    let calendar = crate::calendar::Calendar::new(calendar).unwrap();
    let mut minute = window.start;
    while minute < window.end {
        let next = minute + TimeDelta::minutes(1);
        if calendar.open_time(minute, next) != TimeDelta::minutes(1) {
            return false;
        }
        minute = next;
    }
    true
}

/// The rules that a window breaks, technicians as one.
fn broken_by_window(input: &SlotInput, window: TimeWindow) -> BTreeSet<String> {
    let technicians = advise(&AdvisorInput::Technician(TechnicianInput {
        version: 1,
        at: input.at,
        priority: input.priority,
        site: input.site,
        window: Some(window),
        visit_minutes: input.visit_minutes,
        required_skills: input.required_skills.clone(),
        due_at: None,
        candidates: input.candidates.clone(),
    }));
    let calm = input.priority >= Priority::P3;
    let notice = (window.start - input.at).num_minutes() < input.notice_minutes.into();
    names([
        ("notice_too_short", notice),
        (
            "after_deadline",
            input
                .due_at
                .is_some_and(|due_at| due_at > input.at && due_at <= window.start),
        ),
        ("office_closed", calm && !is_open(&input.office, window)),
        ("nobody_free", technicians.ranked.is_empty()),
    ])
}

fn broken_by_moment(input: &ReminderInput, moment: DateTime<Utc>) -> BTreeSet<String> {
    let told = input.last_told_at.unwrap_or(input.since);
    let least = match input.priority {
        Priority::P1 => 15,
        Priority::P2 => 60,
        Priority::P3 => 12 * 60,
        Priority::P4 => 24 * 60,
    };
    let minute = TimeWindow {
        start: moment,
        end: moment + TimeDelta::minutes(1),
    };
    let begun = input.window_starts_at.is_some_and(|start| moment >= start);
    names([
        ("past", moment < input.at),
        ("too_soon", moment < told + TimeDelta::minutes(least)),
        (
            "quiet_time",
            input.priority >= Priority::P3 && !is_open(&input.office, minute),
        ),
        ("window_begun", begun),
        ("no_contact", input.contact_id.is_none()),
    ])
}

fn broken_by_role(input: &EscalationInput, role: Role, nearest: Role) -> BTreeSet<String> {
    let minute = TimeWindow {
        start: input.at,
        end: input.at + TimeDelta::minutes(1),
    };
    let closed = !is_open(&input.office, minute);
    names([
        (
            "too_few_breaches",
            role == Role::TenantAdmin && input.breaches < 2,
        ),
        (
            "office_closed",
            closed && input.priority != Priority::P1 && role != nearest,
        ),
    ])
}

fn failed(excluded: &Excluded) -> BTreeSet<String> {
    excluded.failed.iter().map(ToString::to_string).collect()
}

fn total(lines: &[InvoiceLine]) -> i64 {
    lines
        .iter()
        .map(|line| line.unit_cents * i64::from(line.quantity))
        .sum()
}

proptest! {
    #[test]
    fn the_order_of_the_choices_changes_nothing((one, other) in shuffled()) {
        let advice = advise(&one);
        prop_assert_eq!(&advice, &advise(&other));
        // What is stored comes back as it was.
        let stored = serde_json::to_string(&one).unwrap();
        let again: AdvisorInput = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&advice, &advise(&again));
        let stored = serde_json::to_string(&advice).unwrap();
        prop_assert_eq!(&advice, &serde_json::from_str::<Advice>(&stored).unwrap());
        prop_assert!(advice.ranked.is_sorted_by_key(|ranked| -ranked.score));
        for ranked in &advice.ranked {
            let sum: i64 = ranked.factors.iter().map(|factor| factor.points).sum();
            prop_assert_eq!(ranked.score, sum);
            prop_assert_eq!(ranked.choice.kind(), one.kind());
        }
        for excluded in &advice.excluded {
            prop_assert!(!excluded.failed.is_empty(), "{:?}", excluded);
        }
    }

    #[test]
    fn a_window_is_excluded_for_what_it_breaks(input in slots()) {
        let advice = advise(&AdvisorInput::Slot(input.clone()));
        let own = ["notice_too_short", "after_deadline", "office_closed", "nobody_free"];
        let mut seen = 0;
        for excluded in &advice.excluded {
            let Considered::Window(window) = excluded.what else { panic!("{excluded:?}") };
            let named = failed(excluded);
            let broken = broken_by_window(&input, window);
            prop_assert!(!broken.is_empty());
            let (named, causes): (BTreeSet<_>, BTreeSet<_>) =
                named.into_iter().partition(|name| own.contains(&name.as_str()));
            prop_assert_eq!(&named, &broken);
            // Why nobody is free is said of each technician by the advisor on technicians.
            prop_assert!(causes.is_empty() || broken.contains("nobody_free"));
            prop_assert!(!broken.contains("nobody_free") || input.candidates.is_empty() || !causes.is_empty());
            seen += 1;
        }
        for ranked in &advice.ranked {
            let Choice::ProposeWindow { window } = ranked.choice else { panic!("{ranked:?}") };
            prop_assert!(broken_by_window(&input, window).is_empty());
            prop_assert!(input.windows.contains(&window));
        }
        let fitting = input.windows.len() - seen;
        prop_assert_eq!(advice.ranked.len(), fitting.min(5));
    }

    #[test]
    fn a_moment_is_excluded_for_what_it_breaks(input in reminders()) {
        let advice = advise(&AdvisorInput::Reminder(input.clone()));
        for excluded in &advice.excluded {
            let Considered::Moment(moment) = excluded.what else { panic!("{excluded:?}") };
            prop_assert_eq!(failed(excluded), broken_by_moment(&input, moment));
        }
        for ranked in &advice.ranked {
            let Choice::Remind { at, .. } = ranked.choice else { panic!("{ranked:?}") };
            prop_assert!(broken_by_moment(&input, at).is_empty());
        }
        prop_assert_eq!(advice.ranked.len() + advice.excluded.len(), input.moments.len());
    }

    #[test]
    fn the_moments_to_choose_from_hold_one_that_fits(priority in a_priority(), told in 0..3000_i64) {
        let input = ReminderInput {
            version: 3,
            at: monday(),
            priority,
            waits_for: WaitingFor::Customer,
            contact_id: Some(ContactId::from_uuid(uuid(5))),
            since: minutes(-told),
            last_told_at: None,
            window_starts_at: None,
            office: office(),
            moments: moments(monday(), minutes(-told), priority, &office()),
        };
        let advice = advise(&AdvisorInput::Reminder(input));
        prop_assert!(advice.best().is_some(), "{:?}", advice.excluded);
    }

    #[test]
    fn a_role_is_excluded_for_what_it_breaks(input in escalations()) {
        let advice = advise(&AdvisorInput::Escalation(input.clone()));
        let nearest = match input.waits_for {
            WaitingFor::ChangeApproval => Role::Approver,
            WaitingFor::Customer => Role::AccountManager,
            WaitingFor::Qa => Role::Qa,
            WaitingFor::Invoice | WaitingFor::Closing => Role::Billing,
            _ => Role::Dispatcher,
        };
        for excluded in &advice.excluded {
            let Considered::Role(role) = excluded.what else { panic!("{excluded:?}") };
            prop_assert_eq!(failed(excluded), broken_by_role(&input, role, nearest));
        }
        let mut told = Vec::new();
        for ranked in &advice.ranked {
            let Choice::Escalate { to, .. } = &ranked.choice else { panic!("{ranked:?}") };
            prop_assert!(broken_by_role(&input, *to, nearest).is_empty());
            told.push(*to);
        }
        prop_assert!(told.contains(&nearest), "somebody can always be told");
        if input.record.kind == SlaRecordKind::Warning && input.breaches < 2 {
            prop_assert_eq!(told[0], nearest);
        }
    }

    #[test]
    fn approving_is_excluded_for_what_it_breaks(input in changes()) {
        let advice = advise(&AdvisorInput::ChangeDecision(input.clone()));
        let wide = |n: i64| i128::from(n);
        let delta = wide(input.price_delta_cents);
        let added = wide(input.nte_cents) - wide(input.initial_nte_cents) + delta;
        let broken = names([
            ("above_single_limit", input.nte_cents <= 0 || delta * 2 > wide(input.nte_cents)),
            (
                "above_total_limit",
                input.initial_nte_cents <= 0 || added > wide(input.initial_nte_cents),
            ),
        ]);
        let approved = |ranked: &Ranked| {
            ranked.choice == Choice::DecideChange { verdict: Verdict::Approve }
        };
        prop_assert_eq!(advice.ranked.iter().any(approved), broken.is_empty());
        for excluded in &advice.excluded {
            prop_assert_eq!(&excluded.what, &Considered::Verdict(Verdict::Approve));
            prop_assert_eq!(&failed(excluded), &broken);
        }
        prop_assert_eq!(advice.ranked.len() + advice.excluded.len(), 2);
    }

    #[test]
    fn work_is_rejected_for_all_that_is_missing_and_for_nothing_else(input in closeouts()) {
        let advice = advise(&AdvisorInput::Closeout(input.clone()));
        let mut missing = BTreeSet::new();
        for kind in &input.required {
            let facts: Vec<_> = input.evidence.iter().filter(|f| f.kind == *kind).collect();
            if facts.is_empty() {
                missing.insert(format!("missing_{kind}"));
            } else if input.files_demanded.contains(kind) && facts.iter().all(|f| !f.verified) {
                missing.insert(format!("unverified_{kind}"));
            }
        }
        missing.extend(input.change_open.then(|| "change_open".to_owned()));
        missing.extend(input.customer_awaited.then(|| "customer_awaited".to_owned()));
        let [out] = advice.excluded.as_slice() else { panic!("{advice:?}") };
        match advice.best() {
            Some(Choice::Verify) => {
                prop_assert!(missing.is_empty());
                prop_assert_eq!(&out.what, &Considered::Operation(Operation::QaReject));
            }
            Some(Choice::Reject { reasons }) => {
                let reasons: BTreeSet<_> = reasons.iter().map(ToString::to_string).collect();
                prop_assert_eq!(&reasons, &missing);
                prop_assert_eq!(&out.what, &Considered::Operation(Operation::QaVerify));
                prop_assert_eq!(&failed(out), &missing);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_invoice_stays_within_its_limit_and_says_what_fell_out(input in invoices()) {
        let advice = advise(&AdvisorInput::InvoiceLines(input.clone()));
        let mut best: &[InvoiceLine] = &[];
        for (n, ranked) in advice.ranked.iter().enumerate() {
            let Choice::Invoice { lines } = &ranked.choice else { panic!("{ranked:?}") };
            prop_assert!(!lines.is_empty() && total(lines) <= input.nte_cents);
            if n == 0 {
                best = lines;
            }
        }
        let mut all = total(best);
        for excluded in &advice.excluded {
            match &excluded.what {
                Considered::Line(line) => {
                    prop_assert_eq!(failed(excluded), names([("above_nte", true)]));
                    let one_more = match line.item.as_str() {
                        "labour_hour" => line.unit_cents,
                        _ => total(std::slice::from_ref(line)),
                    };
                    prop_assert!(total(best) + one_more > input.nte_cents);
                    all += total(std::slice::from_ref(line));
                }
                Considered::Part(part) => {
                    prop_assert_eq!(failed(excluded), names([("no_price", true)]));
                    prop_assert!(!input.price_list.contains_key(&part.sku));
                }
                other => panic!("{other:?}"),
            }
        }
        // Charged and left out together are all that was done.
        let hours = input.visits.iter().map(|v| v.minutes.unwrap_or(60).div_ceil(60));
        let hours: i64 = hours.map(i64::from).sum();
        let trips = i64::try_from(input.visits.len()).unwrap();
        let parts = input.parts.iter().map(|part| {
            input.price_list.get(&part.sku).unwrap_or(&0) * i64::from(part.quantity)
        });
        let parts: i64 = parts.sum();
        let changes = input.changes.iter().map(|change| match change.scope.as_str() {
            "pane" => change.price_delta_cents.min(12_000),
            _ => change.price_delta_cents,
        });
        let changes: i64 = changes.sum();
        let work = trips * input.call_out_cents + hours * input.labour_per_hour_cents;
        let done = work + changes + parts;
        prop_assert_eq!(all, done);
    }
}
