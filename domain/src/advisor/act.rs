//! Advice as a command: what software does when its stage lets it follow its own advice.
//!
//! Only advice that leaves no doubt is followed. Where the advisor names nobody, where a second
//! priority is nearly as near or a detail has to be asked for, where a part has no price or a visit no
//! known length, nothing is done and a person decides, as in SHADOW: policy would deny what lacks a
//! detail, and software's record is no place for what it knew it could not do. An approval is never
//! decided here, nor is work sent back.

use contracts::{
    Command,
    command::{Dispatch, GenerateInvoice, ProposeSchedule, QaVerify, Triage},
    proposal::{Advice, AdvisorInput, Choice},
};

use super::triage::missing;

/// The command that follows this advice on this input; `None` where a person has to decide.
pub fn command_of(advice: &Advice, input: &AdvisorInput) -> Option<Command> {
    let command = match (input, advice.best()?) {
        (AdvisorInput::Triage(input), Choice::Triage { template, priority })
            if advice.ranked.len() == 1 && missing(input).next().is_none() =>
        {
            Command::Triage(Triage {
                priority: *priority,
                template: Some(template.clone()),
                details: Default::default(),
            })
        }
        (AdvisorInput::Technician(_), Choice::Dispatch { technician_id, eta }) => {
            Command::Dispatch(Dispatch {
                technician_id: *technician_id,
                eta: Some(*eta),
            })
        }
        (AdvisorInput::Slot(_), Choice::ProposeWindow { window }) => {
            Command::ProposeSchedule(ProposeSchedule { window: *window })
        }
        (AdvisorInput::Closeout(_), Choice::Verify) => Command::QaVerify(QaVerify {}),
        (AdvisorInput::InvoiceLines(input), Choice::Invoice { lines })
            if advice.excluded.is_empty()
                && input.visits.iter().all(|visit| visit.minutes.is_some()) =>
        {
            Command::GenerateInvoice(GenerateInvoice {
                lines: lines.clone(),
            })
        }
        _ => return None,
    };
    Some(command)
}

/// Whether two commands of software come to the same: the arrival that is promised may differ.
pub fn is_same_act(one: &Command, other: &Command) -> bool {
    match (one, other) {
        (Command::Dispatch(one), Command::Dispatch(other)) => {
            one.technician_id == other.technician_id
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use contracts::{
        Operation, Priority, Slug, TechnicianId,
        proposal::{
            ApprovedChange, CloseoutInput, Considered, Excluded, InvoiceInput, ProposalKind,
            Ranked, VisitMade,
        },
        ticket::Part,
        value::DetailValue,
    };
    use strum::VariantArray;
    use uuid::Uuid;

    use super::*;
    use crate::{advise, autonomy::operation_of, testing::triage_input};

    fn slug(word: &str) -> Slug {
        Slug::new(word).unwrap()
    }

    fn advice(choices: impl IntoIterator<Item = Choice>) -> Advice {
        let ranked = choices.into_iter().map(|choice| Ranked {
            choice,
            score: 0,
            factors: Vec::new(),
        });
        Advice {
            advisor: slug("test_v1"),
            ranked: ranked.collect(),
            excluded: Vec::new(),
        }
    }

    fn closeout(evidence: bool) -> AdvisorInput {
        AdvisorInput::Closeout(CloseoutInput {
            version: 1,
            at: DateTime::UNIX_EPOCH,
            required: match evidence {
                true => Vec::new(),
                false => vec![slug("photo_after")],
            },
            files_demanded: Vec::new(),
            evidence: Vec::new(),
            change_open: false,
            customer_awaited: false,
        })
    }

    fn invoice(minutes: Option<u32>, part: Option<&str>) -> AdvisorInput {
        AdvisorInput::InvoiceLines(InvoiceInput {
            version: 1,
            at: DateTime::UNIX_EPOCH,
            nte_cents: 100_000,
            call_out_cents: 4_500,
            labour_per_hour_cents: 6_000,
            price_list: Default::default(),
            visit_minutes: 60,
            visits: vec![VisitMade { number: 1, minutes }],
            parts: part
                .map(|sku| Part {
                    sku: slug(sku),
                    quantity: 1,
                })
                .into_iter()
                .collect(),
            changes: Vec::<ApprovedChange>::new(),
        })
    }

    fn followed(input: &AdvisorInput) -> Option<Operation> {
        command_of(&advise(input), input).map(|command| command.operation())
    }

    #[test]
    fn finished_work_is_verified_and_never_sent_back() {
        assert_eq!(followed(&closeout(true)), Some(Operation::QaVerify));
        assert_eq!(followed(&closeout(false)), None);
    }

    #[test]
    fn an_invoice_with_a_doubt_is_left_to_a_person() {
        let charged = Some(Operation::GenerateInvoice);
        assert_eq!(followed(&invoice(Some(50), None)), charged);
        assert_eq!(followed(&invoice(None, None)), None);
        assert_eq!(followed(&invoice(Some(50), Some("pane"))), None);
    }

    #[test]
    fn a_second_priority_is_a_doubt() {
        let input = AdvisorInput::Triage(triage_input(1));
        let choice = |priority| Choice::Triage {
            template: triage_input(1).template,
            priority,
        };
        let sure = command_of(&advice([choice(Priority::P2)]), &input).unwrap();
        let Command::Triage(body) = &sure else {
            panic!("{sure:?}");
        };
        assert_eq!(body.priority, Priority::P2);
        let doubt = advice([choice(Priority::P2), choice(Priority::P1)]);
        assert_eq!(command_of(&doubt, &input), None);
        assert_eq!(command_of(&advice([]), &input), None);
    }

    #[test]
    fn a_detail_that_has_to_be_asked_for_is_a_doubt() {
        let asked = |known: &[&str]| {
            let mut input = triage_input(1);
            input.required_details = vec![slug("pane_count"), slug("occupied")];
            let known = known
                .iter()
                .map(|name| (slug(name), DetailValue::Number(1)));
            input.details = known.collect();
            followed(&AdvisorInput::Triage(input))
        };
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&["pane_count"]), None);
        assert_eq!(asked(&["pane_count", "occupied"]), Some(Operation::Triage));
    }

    #[test]
    fn advice_is_followed_by_the_command_of_its_kind_only() {
        let input = closeout(true);
        let about_another = Choice::Invoice { lines: Vec::new() };
        assert_eq!(command_of(&advice([about_another]), &input), None);
        let mut excluded = advice([Choice::Verify]);
        excluded.excluded.push(Excluded {
            what: Considered::Operation(Operation::QaReject),
            failed: vec![slug("nothing_is_missing")],
        });
        let command = command_of(&excluded, &input).unwrap();
        let of_kind = operation_of(ProposalKind::Closeout);
        assert_eq!(Some(command.operation()), of_kind);
        let all = ProposalKind::VARIANTS.iter();
        let approvals = all.filter(|kind| operation_of(**kind) == Some(Operation::DecideApproval));
        assert_eq!(approvals.count(), 0);
    }

    #[test]
    fn the_same_technician_at_another_hour_is_the_same_act() {
        let goes = |n: u128, hours| {
            Command::from(Dispatch {
                technician_id: TechnicianId::from_uuid(Uuid::from_u128(n)),
                eta: Some(DateTime::UNIX_EPOCH + TimeDelta::hours(hours)),
            })
        };
        assert!(is_same_act(&goes(1, 1), &goes(1, 2)));
        assert!(!is_same_act(&goes(1, 1), &goes(2, 1)));
        assert!(is_same_act(&QaVerify {}.into(), &QaVerify {}.into()));
        assert!(!is_same_act(&QaVerify {}.into(), &goes(1, 1)));
    }
}
